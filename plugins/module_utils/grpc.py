# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""gRPC calls as a client puts them on the wire, over the h2 library.

A gRPC client library hides what the proof has to see: on which frame the status came,
with which HTTP status and content type. So this speaks HTTP/2 and keeps every header.
Protocol: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from urllib.parse import unquote

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls

try:
    import h2.config
    import h2.connection
    import h2.events
    import h2.exceptions
except ImportError:
    H2_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    H2_IMPORT_ERROR = None

UNAVAILABLE = 14
STATUS_NAMES = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
"""Names of the gRPC status codes, by number (grpc/doc/statuscodes.md)."""


class CallError(Exception):
    """A call that got no answer; the message says where and why."""


class BrokenError(CallError):
    """The connection ended before an answer.

    So ends one that nginx has accepted in the moment in which it tells the worker to end: a client
    connects again.
    """


@dataclass
class Reply:
    """What came back for one call.

    :ivar http_status: HTTP status of the first HEADERS frame; None when none came.
    :ivar headers: response headers, names in lower case.
    :ivar trailers: trailing headers; empty for a trailers-only response.
    :ivar trailers_only: the first HEADERS frame ended the stream.
    :ivar messages: decoded messages, each without its five-byte prefix.
    :ivar reset: HTTP/2 error code when the stream was reset.
    :ivar duration_ms: milliseconds from the connection's start of this call to its end.
    """

    http_status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    trailers_only: bool = False
    messages: list[bytes] = field(default_factory=list)
    reset: int | None = None
    duration_ms: float = 0.0

    @property
    def grpc_status(self) -> int | None:
        """The gRPC status as sent, trailers before headers; None when there was none."""
        text = self.trailers.get("grpc-status", self.headers.get("grpc-status", ""))
        return int(text) if text.isascii() and text.isdigit() else None

    @property
    def grpc_message(self) -> str:
        """The gRPC message, percent-decoded."""
        text = self.trailers.get("grpc-message", self.headers.get("grpc-message", ""))
        return unquote(text)

    @property
    def status_name(self) -> str:
        """Name of the gRPC status, or what came instead of one."""
        if self.grpc_status is not None and self.grpc_status < len(STATUS_NAMES):
            return STATUS_NAMES[self.grpc_status]
        if self.reset is not None:
            return f"no gRPC status (stream reset, HTTP/2 error {self.reset})"
        return f"no gRPC status (HTTP {self.http_status})"


def frame(message: bytes) -> bytes:
    """Return a message with its gRPC prefix: not compressed, length in four bytes."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


def unframe(data: bytes) -> tuple[list[bytes], bytes]:
    """Split received bytes into whole messages and the rest."""
    messages = []
    while len(data) >= 5:
        length = int.from_bytes(data[1:5], "big")
        if len(data) < 5 + length:
            break
        messages.append(data[5 : 5 + length])
        data = data[5 + length :]
    return messages, data


class Connection:
    """One fresh HTTP/2 connection, for calls one after another.

    When the other side says that it is going away, h2 gives the connection up: a call that
    was not answered by then ends as a :class:`CallError`.

    :param endpoint: where to connect.
    :param timeout: seconds for the connection, and again for each call.
    :ivar alpn: protocol agreed on in the TLS handshake; None in clear text.
    :ivar peer_certificate: the server's certificate in DER; empty in clear text.
    :raises CallError: when the connection cannot be made.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self._data = b""
        self._unsent = b""
        self.alpn: str | None = None
        self.peer_certificate = b""
        if H2_IMPORT_ERROR:
            raise CallError(f"cannot ask {endpoint.name}: python3-h2 is missing on this host")
        source = (endpoint.source, 0) if endpoint.source else None
        try:
            self._socket = socket.create_connection(
                (endpoint.address, endpoint.port), timeout, source
            )
        except (OSError, UnicodeError) as error:
            raise CallError(f"cannot connect to {endpoint.name}: {error}") from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if endpoint.tls:
            self._secure(endpoint.tls)
        self._http2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="latin-1")
        )
        self._http2.initiate_connection()

    def _secure(self, tls: Tls) -> None:
        plain = self._socket
        try:
            secured = tls.context().wrap_socket(plain, server_hostname=tls.server_name or None)
        except (OSError, ValueError) as error:
            plain.close()
            raise CallError(f"no TLS with {self.endpoint.name}: {error}") from error
        self._socket = secured
        self.alpn = secured.selected_alpn_protocol()
        self.peer_certificate = secured.getpeercert(binary_form=True) or b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def call(
        self, method: str, metadata: Mapping[str, str] | None = None, message: bytes = b""
    ) -> Reply:
        """Make one call with one message and return what came back.

        :param method: ``/package.Service/Method``.
        :param metadata: further request headers, names in lower case.
        :param message: the serialized request; empty bytes are a valid empty message.
        :raises CallError: when the connection breaks or the time is up before an answer.
        """
        began = time.monotonic()
        stream = self._http2.get_next_available_stream_id()
        headers = [
            (":method", "POST"),
            (":scheme", "https" if self.endpoint.tls else "http"),
            (":path", method),
            (":authority", self.endpoint.authority or self.endpoint.name),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "skywalking.oap_proxy"),
            *(metadata or {}).items(),
        ]
        reply = Reply()
        self._data = b""
        try:
            self._http2.send_headers(stream, headers)
            self._unsent = frame(message)
            self._receive(stream, reply, began + self.timeout)
        except socket.timeout as error:
            raise CallError(
                f"{self.endpoint.name} gave no answer to {method} within {self.timeout:g} s"
            ) from error
        except (OSError, h2.exceptions.ProtocolError) as error:
            raise BrokenError(
                f"{self.endpoint.name} broke the connection during {method}: {error}"
            ) from error
        reply.messages, self._data = unframe(self._data)
        reply.duration_ms = round((time.monotonic() - began) * 1000, 3)
        return reply

    def _send(self, stream: int) -> None:
        """Put as much of the request into frames as the other side takes now."""
        while self._unsent:
            window = self._http2.local_flow_control_window(stream)
            size = min(window, self._http2.max_outbound_frame_size, len(self._unsent))
            if size <= 0:
                return
            piece, self._unsent = self._unsent[:size], self._unsent[size:]
            self._http2.send_data(stream, piece, end_stream=not self._unsent)

    def _receive(self, stream: int, reply: Reply, deadline: float) -> None:
        ended = False
        while not ended:
            self._send(stream)
            self._socket.sendall(self._http2.data_to_send())
            left = deadline - time.monotonic()
            if left <= 0:
                raise socket.timeout()
            self._socket.settimeout(left)
            received = self._socket.recv(65536)
            if not received:
                raise OSError("closed by the other side before an answer; is this port HTTP/2?")
            for event in self._http2.receive_data(received):
                ended = self._take(event, stream, reply) or ended
        self._socket.sendall(self._http2.data_to_send())

    def _take(self, event: Any, stream: int, reply: Reply) -> bool:
        """Note one event of h2; tell whether it ends the call."""
        if isinstance(event, h2.events.ConnectionTerminated):
            if event.error_code:
                raise OSError(f"GOAWAY with HTTP/2 error {int(event.error_code)}")
            return False
        if getattr(event, "stream_id", None) != stream:
            return False
        if isinstance(event, h2.events.ResponseReceived):
            reply.headers = _fields(event.headers)
            reply.http_status = int(reply.headers.pop(":status"))
            reply.trailers_only = event.stream_ended is not None
        elif isinstance(event, h2.events.TrailersReceived):
            reply.trailers = _fields(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            self._data += event.data
            self._http2.acknowledge_received_data(event.flow_controlled_length, stream)
        elif isinstance(event, h2.events.StreamReset):
            if reply.http_status is None or not _status_given(reply):
                reply.reset = int(event.error_code)
            return True
        return isinstance(event, h2.events.StreamEnded)


def _fields(headers: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Header fields as text, which h2 decodes as it was told to."""
    return {str(name): str(value) for name, value in headers}


def _status_given(reply: Reply) -> bool:
    """A reset that follows a complete answer (NO_ERROR, say) does not undo the answer."""
    return reply.grpc_status is not None
