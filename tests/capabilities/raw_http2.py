"""A client that sends what no gRPC library would, and a server that stages how calls end.

The server is a stand-in, because a real OAP cannot be told to fail in the middle of an answer.
It answers as the last part of the path says, and keeps the header fields that it was sent.
"""

import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

Fields = Sequence[tuple[bytes, bytes]]
SECONDS = 20.0
SIZE = 65536
MESSAGE = b"\x00\x00\x00\x00\x03abc"
"""One message of three bytes, framed as gRPC does."""
EMPTY = b"\x00\x00\x00\x00\x00"
PLAIN: dict[bytes, bytes] = {
    b":method": b"POST",
    b":scheme": b"http",
    b":path": b"/grpc.health.v1.Health/Check",
    b":authority": b"oap",
    b"te": b"trailers",
    b"content-type": b"application/grpc",
}
PSEUDO = frozenset({"method", "scheme", "path", "authority"})


def plain(**more: str | bytes) -> list[tuple[bytes, bytes]]:
    """Return the header fields of a plain call, some of them changed or added.

    :param more: header fields, with '_' for '-'; those of HTTP/2 itself without their colon.
    """
    fields = dict(PLAIN)
    for name, value in more.items():
        key = f":{name}" if name in PSEUDO else name.replace("_", "-")
        fields[key.encode()] = value.encode() if isinstance(value, str) else value
    return list(fields.items())


def _configuration(*, client_side: bool) -> h2.config.H2Configuration:
    return h2.config.H2Configuration(
        client_side=client_side,
        header_encoding=None,
        validate_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )


@dataclass
class Answer:
    """What came back for one call."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    """Headers and trailers."""
    data: bytes = b""
    reset: bool = False
    whole: bool = False
    """It came to its end, by END_STREAM."""

    @property
    def http_status(self) -> int | None:
        """The status of HTTP; None when there was no answer at all."""
        status = self.fields.get(b":status")
        return None if status is None else int(status)

    @property
    def grpc_code(self) -> str:
        """The status of gRPC, as the access log names it."""
        return self.fields.get(b"grpc-status", b"none").decode()


class Caller:
    """Makes calls one after another, on a new connection whenever the last one is gone."""

    def __init__(self, address: str, port: int, context: ssl.SSLContext | None = None) -> None:
        """Name the proxy's listener."""
        self._where = (address, port)
        self._context = context
        self._socket: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection up."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def call(self, fields: Fields, body: bytes = EMPTY) -> Answer:
        """Make one call by all of its header fields."""
        answer = Answer()
        try:
            stream = self._send(fields, body)
            while not (answer.whole or answer.reset):
                self._receive(stream, answer)
        except (ConnectionError, h2.exceptions.ProtocolError):
            self.close()
        return answer

    def leave(self, fields: Fields, body: bytes = EMPTY) -> None:
        """Make a call, take it back once the other side has read it, and go."""
        stream = self._send(fields, body)
        assert self._socket is not None
        self._http2.ping(b"isthere?")
        self._socket.sendall(self._http2.data_to_send())
        answered = False
        while not answered:
            events = self._http2.receive_data(self._socket.recv(SIZE))
            answered = any(isinstance(one, h2.events.PingAckReceived) for one in events)
        self._http2.reset_stream(stream, error_code=8)
        self._socket.sendall(self._http2.data_to_send())
        self.close()

    def _send(self, fields: Fields, body: bytes) -> int:
        if self._socket is None:
            connected = socket.create_connection(self._where, SECONDS)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connected = self._context.wrap_socket(connected, server_hostname="oap")
            self._socket = connected
            self._http2 = h2.connection.H2Connection(_configuration(client_side=True))
            self._http2.initiate_connection()
        stream = self._http2.get_next_available_stream_id()
        self._http2.send_headers(stream, fields)
        self._http2.send_data(stream, body, end_stream=True)
        self._socket.sendall(self._http2.data_to_send())
        return stream

    def _receive(self, stream: int, answer: Answer) -> None:
        assert self._socket is not None
        received = self._socket.recv(SIZE)
        if not received:
            raise ConnectionError("closed before the end of an answer")
        for event in self._http2.receive_data(received):
            if isinstance(event, h2.events.ConnectionTerminated):
                # What came before it counts; what has not ended by now never will.
                self.close()
                answer.reset = not answer.whole
                return
            if getattr(event, "stream_id", None) == stream:
                _take(event, answer)
            if isinstance(event, h2.events.DataReceived):
                self._http2.acknowledge_received_data(event.flow_controlled_length, stream)
        self._socket.sendall(self._http2.data_to_send())


def _take(event: Any, answer: Answer) -> None:
    if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
        answer.fields.update(event.headers or ())
    elif isinstance(event, h2.events.DataReceived):
        answer.data += event.data or b""
    elif isinstance(event, h2.events.StreamReset):
        answer.reset = True
    elif isinstance(event, h2.events.StreamEnded):
        answer.whole = True


class StagedServer:
    """A stand-in that answers as the last part of the path says.

    ``missing``: an error without a message (trailers-only); ``late``: one after a message;
    ``cut``: the stream is reset after a message; ``dropped``: the connection is closed before an
    answer; ``silent``: no answer; all else: a message and OK.
    """

    def __init__(self, address: str, port: int) -> None:
        """Listen."""
        self._listening = socket.create_server((address, port))
        self._open: list[socket.socket] = []
        self._requests: list[Fields] = []
        self._thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # It wakes the thread that waits for a connection.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(SECONDS)
        self._listening.close()
        for connected in self._open:
            connected.close()

    def sent(self, path: str, name: str) -> list[str]:
        """Return what calls of a path had in the header fields of a name."""
        return [
            value.decode("latin-1")
            for fields in list(self._requests)
            if (b":path", path.encode()) in fields
            for key, value in fields
            if key == name.encode()
        ]

    def _accept(self) -> None:
        while True:
            try:
                connected, _address = self._listening.accept()
            except OSError:
                return
            self._open.append(connected)
            threading.Thread(target=self._serve, args=(connected,), daemon=True).start()

    def _serve(self, connected: socket.socket) -> None:
        http2 = h2.connection.H2Connection(_configuration(client_side=False))
        http2.initiate_connection()
        how: dict[int, bytes] = {}
        try:
            connected.sendall(http2.data_to_send())
            while received := connected.recv(SIZE):
                for event in http2.receive_data(received):
                    self._react(http2, event, how)
                connected.sendall(http2.data_to_send())
        except (OSError, h2.exceptions.ProtocolError):
            pass  # the proxy has left, or the test has ended
        finally:
            connected.close()

    def _react(
        self, http2: h2.connection.H2Connection, event: h2.events.Event, how: dict[int, bytes]
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            fields = [(bytes(name), bytes(value)) for name, value in event.headers or ()]
            self._requests.append(fields)
            how[event.stream_id] = dict(fields)[b":path"].rpartition(b"/")[2]
        elif isinstance(event, h2.events.DataReceived):
            http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            _answer(http2, event.stream_id, how.pop(event.stream_id))


def _answer(http2: h2.connection.H2Connection, stream: int, how: bytes) -> None:
    head = [(b":status", b"200"), (b"content-type", b"application/grpc")]
    if how == b"silent":
        return
    if how == b"dropped":
        raise ConnectionAbortedError
    if how == b"missing":
        http2.send_headers(stream, [*head, (b"grpc-status", b"5")], end_stream=True)
        return
    http2.send_headers(stream, head)
    http2.send_data(stream, MESSAGE)
    if how == b"cut":
        http2.reset_stream(stream, error_code=2)
        return
    status = b"15" if how == b"late" else b"0"
    http2.send_headers(stream, [(b"grpc-status", status)], end_stream=True)
