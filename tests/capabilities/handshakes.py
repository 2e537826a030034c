"""TLS handshakes with a listener, below what gRPC libraries let a caller choose."""

import contextlib
import ssl
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import create_connection

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import Connection, Reply

from tests.hosts.pki import Identity

SECONDS = 10.0
# Every version and cipher that the library has, so that a refusal is the server's.
ALL_CIPHERS = "ALL:@SECLEVEL=0"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@dataclass(frozen=True)
class Shown:
    """What a handshake came to."""

    version: str
    certificate: bytes
    """The server's, in DER."""
    resumed: bool
    session: ssl.SSLSession | None


def context_of(version: ssl.TLSVersion | None = None, ciphers: str = "") -> ssl.SSLContext:
    """Return a client that trusts everyone, and speaks one version where one is named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if ciphers:
        context.set_ciphers(ciphers)
    if version:
        with warnings.catch_warnings():
            # TLS 1.1 is what is to be refused.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
    return context


def handshake(
    address: str,
    port: int,
    name: str = "",
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
) -> Shown:
    """Connect, and stay until the server has said its first words, which may bring a ticket.

    :raises OSError: where the server refuses.
    """
    with (
        create_connection((address, port), SECONDS) as plain,
        (context or context_of()).wrap_socket(
            plain, server_hostname=name or None, session=session
        ) as secured,
    ):
        secured.sendall(PREFACE)
        assert secured.recv(1)
        return Shown(
            secured.version() or "",
            secured.getpeercert(binary_form=True) or b"",
            secured.session_reused or False,
            secured.session,
        )


@contextlib.contextmanager
def files_of(identity: Identity) -> Iterator[tuple[str, str]]:
    """Keep a client's certificate and key in files for a while, and tell their paths."""
    with tempfile.TemporaryDirectory() as work:
        paths = []
        for name, text in (("chain", identity.chain), ("key", identity.private_key)):
            path = Path(work) / f"{name}.pem"
            path.touch(mode=0o600)
            path.write_text(text, encoding="ascii")
            paths.append(str(path))
        yield paths[0], paths[1]


def call_by_name(
    endpoint: tuple[str, int],
    method: str,
    metadata: dict[str, str],
    *,
    asked: str = "",
    authority: str = "",
    client: Identity | None = None,
) -> Reply:
    """Make a call whose authority is not the name that was asked for in the handshake."""
    with contextlib.ExitStack() as stack:
        chain, key = stack.enter_context(files_of(client)) if client else ("", "")
        tls = Tls(asked, verify=False, certificate=chain, private_key=key)
        where = Endpoint(*endpoint, authority=authority, tls=tls)
        return stack.enter_context(Connection(where, SECONDS)).call(method, metadata)
