"""A real HTTP/2 server on a loopback socket, which answers each connection as it is told to."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Callable

import h2.config
import h2.connection
import h2.events
from hyperframe.frame import GoAwayFrame

Headers = Sequence[tuple[str, str]]
HEADERS: list[tuple[str, str]] = [(":status", "200"), ("content-type", "application/grpc")]
SHORT_S = 10.0
"""A bound on what a peer may take: only a test that fails anyway ever waits for it."""


class Request:
    """One request, read to its end.

    :ivar stream: number of the HTTP/2 stream.
    :ivar headers: the request headers.
    :ivar body: all bytes of its DATA frames.
    """

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.headers: dict[str, str] = {}
        self.body = b""


class Peer:
    """The server's side of one connection.

    :param connected: the accepted socket.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # What is sent may be wrong on purpose.
        self.http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(
                client_side=False,
                header_encoding="latin-1",
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.http2.initiate_connection()
        self._held = b""
        self._closed = False
        self._owed = 0
        self._requests: dict[int, Request] = {}
        self._whole: list[Request] = []
        self.flush()

    def prepend(self, data: bytes) -> None:
        """Send these bytes before those that are held, in one segment with them."""
        self._held = data + self._held

    def flush(self, segment: int = 0) -> None:
        """Send what HTTP/2 has ready, in segments of so many bytes where that is given."""
        data = self._held + self.http2.data_to_send()
        self._held = b""
        for start in range(0, len(data), segment or len(data) or 1):
            self.socket.sendall(data[start : start + (segment or len(data))])

    def pump(self) -> bool:
        """Read once; tell whether the client is still there."""
        data = self.socket.recv(65536)
        if not data:
            return False
        for event in self.http2.receive_data(data):
            self._take(event)
        self.flush()
        return True

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            request = Request(event.stream_id)
            request.headers = {str(name): str(value) for name, value in event.headers}
            self._requests[event.stream_id] = request
        elif isinstance(event, h2.events.DataReceived):
            self._received(event)
        elif isinstance(event, h2.events.StreamEnded):
            self._whole.append(self._requests.pop(event.stream_id))

    def _received(self, event: Any) -> None:
        request = self._requests.get(event.stream_id)
        if request is None:
            return  # what was on its way when the stream was given up
        request.body += event.data
        if self._closed:
            self._owed += event.flow_controlled_length
        else:
            self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def begun(self) -> int:
        """Return the stream of a request of which something has come."""
        while not self._requests:
            if not self.pump():
                raise EOFError("the client left before its request began")
        return next(iter(self._requests))

    def forget(self, stream: int) -> None:
        """Read no more of a request."""
        self._requests.pop(stream, None)

    def full(self) -> bytes:
        """Return as much of a request as comes while its window is not opened again."""
        self._closed = True
        stream = self.begun()
        while self.http2.remote_flow_control_window(stream) > 0:
            self.pump()
        return bytes(self._requests[stream].body)

    def reopen(self) -> None:
        """Open the window of the one request again, and keep it open."""
        self._closed = False
        stream = self.begun()
        self.http2.acknowledge_received_data(self._owed, stream)
        self.flush()

    def request(self) -> Request:
        """Return the next request when it has been read to its end."""
        while not self._whole:
            if not self.pump():
                raise EOFError("the client left before its request was whole")
        return self._whole.pop(0)

    def until_closed(self) -> None:
        """Read on until the client closes the connection."""
        while self.pump():
            pass

    def headers(self, stream: int, headers: Headers, end: bool = False, segment: int = 0) -> None:
        """Send one HEADERS frame."""
        self.http2.send_headers(stream, headers, end_stream=end)
        self.flush(segment)

    def data(self, stream: int, data: bytes, segment: int = 0) -> None:
        """Send bytes of a body, as fast as the client's flow control lets them through."""
        while data:
            window = self.http2.local_flow_control_window(stream)
            size = min(window, self.http2.max_outbound_frame_size, len(data))
            if not size:
                if not self.pump():
                    raise EOFError("the client left in the middle of an answer")
                continue
            self.http2.send_data(stream, data[:size])
            data = data[size:]
            self.flush(segment)

    def unavailable(self, stream: int) -> None:
        """Answer as the fallback must: UNAVAILABLE on one HEADERS frame."""
        self.headers(stream, [*HEADERS, ("grpc-status", "14")], end=True)

    def going_away(self, error: int, last: int, held: bool = False) -> None:
        """Send a GOAWAY, after which this side goes on answering what is in flight.

        Held, it goes out in one segment with what is sent next.
        """
        self.flush()
        self._held = GoAwayFrame(0, last_stream_id=last, error_code=error).serialize()
        if not held:
            self.flush()


Script = Callable[[Peer], None]


class StagedServer:
    """Accepts connections one after another and plays the script on each.

    :param script: what to do with a connection; it is closed when the script returns.
    :param address: loopback address to listen on.
    :param tls: how connections are secured; clear text when None.
    :ivar refused: why connections were given up in the TLS handshake.
    """

    def __init__(
        self, script: Script, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> None:
        self._script = script
        self._tls = tls
        self.refused: list[str] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listening = socket.create_server((address, 0), family=family)
        self.address = address
        self.port = int(self._listening.getsockname()[1])
        self.connections = 0
        self._troubles: list[BaseException] = []
        self._ending = False
        self._thread = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        while True:
            connected, _address = self._listening.accept()
            with connected:
                if self._ending:
                    return
                self.connections += 1
                connected.settimeout(SHORT_S)
                self._serve(connected)

    def _serve(self, connected: socket.socket) -> None:
        if self._tls:
            try:
                connected = self._tls.wrap_socket(connected, server_side=True)
            except OSError as error:
                self.refused.append(str(error))
                return
        with connected:
            try:
                self._script(Peer(connected))
            except Exception as error:  # noqa: BLE001 - told to the test at the end
                self._troubles.append(error)

    def __enter__(self) -> StagedServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending = True
        socket.create_connection((self.address, self.port), SHORT_S).close()
        self._thread.join(SHORT_S)
        self._listening.close()
        assert not self._thread.is_alive(), "the script waits for something that never came"
        if error is None and self._troubles:
            raise AssertionError("the staged server failed") from self._troubles[0]


def ipv6_loopback() -> str:
    """Return an IPv6 address of this machine alone, on kernels without ::1 too."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return "::ffff:127.0.0.1"
    return "::1"
