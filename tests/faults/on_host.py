"""What tests do in a host: ask a listener, hold ports.

Nothing of the collection is used here: these are the eyes of the tests.
"""

from __future__ import annotations

import os
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

SECONDS = 5.0
HOLD_SECONDS = 600.0
GENERATION = "/-/oap-proxy/generation"
TURNS = 5


class EndedError(ConnectionError):
    """The connection ended without an answer, as nginx ends those of a worker that it ends."""


@dataclass
class Answer:
    """What came back for one call."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers_only: bool = False
    """The headers ended the stream."""
    body: bool = False

    @property
    def generation(self) -> str:
        """The id that the running configuration told, or what came instead of one."""
        if self.body:
            return "a body where none belongs"
        status = self.headers.get(":status")
        return self.headers.get("oap-proxy-generation", f"no id, HTTP status {status}")


def ask(
    address: str,
    port: int,
    path: str = GENERATION,
    metadata: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
    seconds: float = SECONDS,
) -> Answer:
    """Make one call, on another connection where a worker that ends has accepted the first.

    :raises OSError: where there is no answer.
    """
    for _turn in range(TURNS - 1):
        with suppress(EndedError, ConnectionResetError):
            return _ask(address, port, path, metadata, tls, server_name, seconds)
    return _ask(address, port, path, metadata, tls, server_name, seconds)


def _ask(
    address: str,
    port: int,
    path: str,
    metadata: dict[str, str] | None,
    tls: ssl.SSLContext | None,
    server_name: str,
    seconds: float,
) -> Answer:
    from h2.config import H2Configuration  # noqa: PLC0415 - a bare host does not have it yet
    from h2.connection import H2Connection  # noqa: PLC0415
    from h2.events import DataReceived, ResponseReceived, StreamEnded  # noqa: PLC0415
    from h2.exceptions import ProtocolError  # noqa: PLC0415

    client = H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    headers = {
        ":method": "POST",
        ":scheme": "https" if tls else "http",
        ":path": path,
        ":authority": server_name or (f"[{address}]" if ":" in address else address) + f":{port}",
        "content-type": "application/grpc",
        "te": "trailers",
        **(metadata or {}),
    }
    client.send_headers(1, list(headers.items()), end_stream=True)
    answer = Answer()
    with ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((address, port), seconds))
        if tls:
            wrapped = tls.wrap_socket(connection, server_hostname=server_name)
            connection = stack.enter_context(wrapped)
        connection.sendall(client.data_to_send())
        while data := connection.recv(65536):
            try:
                events = client.receive_data(data)
            except ProtocolError as error:
                # After a GOAWAY h2 takes nothing more, also of a call that nginx still answers.
                raise EndedError(f"{address}:{port}: {error}") from error
            connection.sendall(client.data_to_send())
            for event in events:
                if isinstance(event, ResponseReceived):
                    answer.headers = {str(name): str(value) for name, value in event.headers}
                    answer.trailers_only = event.stream_ended is not None
                elif isinstance(event, DataReceived):
                    answer.body = True
            if any(isinstance(event, StreamEnded) for event in events):
                return answer
    raise EndedError(f"{address}:{port} closed the connection without an answer")


@contextmanager
def held(ports: list[int]) -> Iterator[None]:
    """Hold ports on every address of IPv4, answering nobody."""
    with ExitStack() as stack:
        for port in ports:
            listener = stack.enter_context(socket.socket())
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(("0.0.0.0", port))
            listener.listen()
        yield


def hold(port: int) -> None:
    """Hold a port for a bounded time, and tell the process that does."""
    with held([port]):
        with open(f"/run/holder-{port}.pid", "w", encoding="ascii") as stream:  # noqa: PTH123
            stream.write(str(os.getpid()))
        time.sleep(HOLD_SECONDS)


if __name__ == "__main__":
    hold(int(sys.argv[1]))
