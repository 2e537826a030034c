"""A stand-in for a server with TLS, on this machine: no real OAP can be told to show what is wrong.

It answers every method with OK and one message, counts its handshakes, and resumes sessions.
"""

import contextlib
import socket
import ssl
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from tests.hosts.pki import Identity

SECONDS = 10.0
SIZE = 65536
HEAD = ((":status", "200"), ("content-type", "application/grpc"))
# What a health service says: SERVING.
MESSAGE = b"\x00\x00\x00\x00\x02\x08\x01"
TRAILERS = (("grpc-status", "0"),)


class TlsStandIn:
    """Listens from its creation, and serves within a ``with``."""

    def __init__(self, address: str, port: int, shown: Identity, client_ca: str = "") -> None:
        """Take what it shows, and whose clients alone it takes."""
        self._listening = socket.create_server((address, port))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_alpn_protocols(["h2"])
        if client_ca:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(cadata=client_ca)
        self.show(shown)
        self._open: set[ssl.SSLSocket] = set()
        self._changing = threading.Lock()
        self._thread = threading.Thread(target=self._accept)
        self.handshakes: list[bool] = []
        """Of each that succeeded, whether it resumed a session."""

    def show(self, shown: Identity) -> None:
        """Show another certificate from now on; sessions of before can still be resumed."""
        with tempfile.TemporaryDirectory() as work:
            chain, key = Path(work) / "chain.pem", Path(work) / "key.pem"
            chain.write_text(shown.chain, encoding="ascii")
            key.write_text(shown.private_key, encoding="ascii")
            self._context.load_cert_chain(chain, key)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # It wakes the thread that waits in accept().
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(SECONDS)
        self.drop()

    def drop(self) -> None:
        """Close every connection, so that the next call makes a new one."""
        with self._changing:
            for connected in self._open:
                with contextlib.suppress(OSError):
                    connected.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connected, _address = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._secure, args=(connected,), daemon=True).start()

    def _secure(self, plain: socket.socket) -> None:
        plain.settimeout(None)
        try:
            with self._context.wrap_socket(
                plain, server_side=True, do_handshake_on_connect=False
            ) as connected:
                _shake_hands(connected)
                with self._changing:
                    self._open.add(connected)
                    self.handshakes.append(bool(connected.session_reused))
                try:
                    _serve(connected)
                finally:
                    with self._changing:
                        self._open.discard(connected)
        except (OSError, h2.exceptions.ProtocolError):
            plain.close()  # the proxy has refused or left


def _shake_hands(connected: ssl.SSLSocket) -> None:
    """Agree on TLS; where that fails, let the other side read why.

    Closed with bytes unread, TCP would take the alert back.
    """
    try:
        connected.do_handshake()
    except OSError:
        connected.settimeout(SECONDS)
        socket.socket.shutdown(connected, socket.SHUT_WR)
        while socket.socket.recv(connected, SIZE):
            pass
        raise


def _serve(connected: ssl.SSLSocket) -> None:
    configuration = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
    http2 = h2.connection.H2Connection(configuration)
    http2.initiate_connection()
    connected.sendall(http2.data_to_send())
    while received := connected.recv(SIZE):
        for event in http2.receive_data(received):
            if isinstance(event, h2.events.DataReceived):
                http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                http2.send_headers(event.stream_id, HEAD)
                http2.send_data(event.stream_id, MESSAGE)
                http2.send_headers(event.stream_id, TRAILERS, end_stream=True)
        connected.sendall(http2.data_to_send())
