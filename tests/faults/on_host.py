"""What runs inside a host, on its own Python: ask the proxy, list files, hold a port.

Nothing of the collection is used here: these are the eyes of the tests.
"""

import hashlib
import json
import os
import socket
import stat
import sys
import time

SECONDS = 5.0
HOLD_SECONDS = 120.0


def generation(address: str, port: int) -> str:
    """Return the id that the running configuration tells on a fresh connection, or why not."""
    from h2.config import H2Configuration  # noqa: PLC0415 - a bare host does not have it yet
    from h2.connection import H2Connection  # noqa: PLC0415
    from h2.events import DataReceived, ResponseReceived, StreamEnded  # noqa: PLC0415

    client = H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    client.send_headers(
        1,
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/-/oap-proxy/generation"),
            (":authority", f"{address}:{port}"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ],
        end_stream=True,
    )
    headers: dict[str, str] = {}
    with socket.create_connection((address, port), SECONDS) as connection:
        connection.sendall(client.data_to_send())
        while data := connection.recv(65536):
            events = client.receive_data(data)
            connection.sendall(client.data_to_send())
            for event in events:
                if isinstance(event, ResponseReceived):
                    headers = {str(name): str(value) for name, value in event.headers}
                elif isinstance(event, DataReceived):
                    return "a body where none belongs"
            if any(isinstance(event, StreamEnded) for event in events):
                break
    return headers.get("oap-proxy-generation", f"no id, HTTP status {headers.get(':status')}")


def listing(places: list[str]) -> dict[str, str]:
    """Return mode, owner and content of everything below some places."""
    found = {}
    for place in places:
        found[place] = _entry(place)
        for folder, folders, names in os.walk(place):
            for name in folders + names:
                path = os.path.join(folder, name)  # noqa: PTH118 - links are not to be followed
                found[path] = _entry(path)
    return found


def _entry(path: str) -> str:
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return "absent"
    about = f"{state.st_mode:o} {state.st_uid} {state.st_gid}"
    if stat.S_ISLNK(state.st_mode):
        return f"{about} -> {os.readlink(path)}"  # noqa: PTH115
    if stat.S_ISREG(state.st_mode):
        with open(path, "rb") as stream:  # noqa: PTH123
            return f"{about} {hashlib.sha256(stream.read()).hexdigest()}"
    return about


def hold(port: int) -> None:
    """Hold a port on every address of IPv4, answering nobody, for a bounded time."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen()
        with open(f"/run/holder-{port}.pid", "w", encoding="ascii") as stream:  # noqa: PTH123
            stream.write(str(os.getpid()))
        time.sleep(HOLD_SECONDS)


def main(arguments: list[str]) -> None:
    """Do one of them."""
    what, rest = arguments[0], arguments[1:]
    if what == "generation":
        try:
            print(generation(rest[0], int(rest[1])))
        except OSError as error:
            print(f"no answer: {error}")
    elif what == "listing":
        print(json.dumps(listing(rest)))
    else:
        hold(int(rest[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
