"""Connections over real sockets, secured: who is verified, who is shown, and what is refused."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    CallError,
    Connection,
    Reply,
)

from tests.hosts import pki
from tests.unit.h2_server import Peer, Request, StagedServer
from tests.unit.inventories import authority, server
from tests.unit.tls_files import ca, pair, serving_context

METHOD = "/skywalking.v3.ManagementService/keepAlive"
TIMEOUT_S = 10.0


def call(endpoint: Endpoint, timeout: float = TIMEOUT_S) -> Reply:
    """Make one call on a connection of its own."""
    with Connection(endpoint, timeout) as connection:
        return connection.call(METHOD)


def answering_over_tls(peer: Peer) -> None:
    """Answer calls until the client leaves; a client that never speaks HTTP/2 is none."""
    with suppress(OSError, EOFError):
        while True:
            peer.unavailable(peer.request().stream)


def over_tls(context: ssl.SSLContext, tls: Tls) -> tuple[Connection, Reply]:
    """Make one call to a server on this context."""
    with StagedServer(answering_over_tls, tls=context) as staged:
        endpoint = Endpoint(staged.address, staged.port, tls=tls)
        with Connection(endpoint, TIMEOUT_S) as connection:
            return connection, connection.call(METHOD)


def refused_over_tls(context: ssl.SSLContext, tls: Tls) -> str:
    """Make one call that must come to nothing, and return why it did."""
    with pytest.raises(CallError) as caught:
        over_tls(context, tls)
    return str(caught.value)


def test_tls(tmp_path: Path) -> None:
    """A server that is verified: its name is asked for, HTTP/2 agreed on, its certificate kept."""
    names: list[str | None] = []
    seen: list[Request] = []
    context = serving_context(tmp_path, server())
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def script(peer: Peer) -> None:
        seen.append(peer.request())
        peer.unavailable(seen[0].stream)
        peer.until_closed()

    with StagedServer(script, tls=context) as staged:
        tls = Tls("proxy.example", ca=ca(tmp_path))
        endpoint = Endpoint(staged.address, staged.port, tls=tls)
        with Connection(endpoint, TIMEOUT_S) as connection:
            assert connection.call(METHOD).grpc_status == 14
    assert names == ["proxy.example"]
    assert connection.alpn == "h2"
    assert connection.peer_certificate == ssl.PEM_cert_to_DER_cert(server().certificate)
    assert seen[0].headers[":scheme"] == "https"
    assert seen[0].headers[":authority"] == endpoint.name


def test_clear_text_shows_no_certificate() -> None:
    """Nothing was agreed on, and nothing shown."""
    with StagedServer(answering_over_tls) as staged:
        endpoint = Endpoint(staged.address, staged.port)
        with Connection(endpoint, TIMEOUT_S) as connection:
            connection.call(METHOD)
    assert (connection.alpn, connection.peer_certificate) == (None, b"")


@pytest.mark.parametrize("name", ["127.0.0.1", "fd00::1"])
def test_tls_by_address(tmp_path: Path, name: str) -> None:
    """An address is verified like a name."""
    context = serving_context(tmp_path, server("127.0.0.1", "fd00::1"))
    _connection, reply = over_tls(context, Tls(name, ca=ca(tmp_path)))
    assert reply.grpc_status == 14


def test_tls_chain(tmp_path: Path) -> None:
    """A server below an intermediate authority is verified by the root; its own comes first."""
    shown = authority().intermediate("below").server("proxy.example")
    context = serving_context(tmp_path, shown)
    connection, reply = over_tls(context, Tls("proxy.example", ca=ca(tmp_path)))
    assert reply.grpc_status == 14
    assert connection.peer_certificate == ssl.PEM_cert_to_DER_cert(shown.certificate)


@pytest.mark.parametrize("name", ["", "proxy.example", "other.example"])
def test_tls_that_is_not_verified(tmp_path: Path, name: str) -> None:
    """Whatever is shown is kept, and a name is asked for where there is one."""
    names: list[str | None] = []
    expired = server("proxy.example", validity="past")
    context = serving_context(tmp_path, expired)
    context.sni_callback = lambda _socket, asked, _context: names.append(asked)
    connection, reply = over_tls(context, Tls(name, verify=False))
    assert reply.grpc_status == 14
    assert names == [name or None]
    assert connection.peer_certificate == ssl.PEM_cert_to_DER_cert(expired.certificate)


@pytest.mark.parametrize(
    ("names", "validity", "asked", "issuer", "reason"),
    [
        (("proxy.example",), "now", "proxy.example", "other", "unable to get local issuer"),
        (("proxy.example",), "now", "other.example", "root", "Hostname mismatch"),
        (("proxy.example",), "now", "127.0.0.1", "root", "IP address mismatch"),
        (("proxy.example",), "past", "proxy.example", "root", "has expired"),
        (("proxy.example",), "future", "proxy.example", "root", "not yet valid"),
        (("proxy.example",), "now", "proxy.example", "", "unable to get local issuer"),
        (("proxy.example",), "now", "", "root", "check_hostname requires server_hostname"),
        (("proxy.example",), "now", ".example", "root", ""),
    ],
)
def test_tls_verification(
    tmp_path: Path,
    names: tuple[str, ...],
    validity: pki.Validity,
    asked: str,
    issuer: str,
    reason: str,
) -> None:
    """A server that is not the one that was asked for is told with endpoint and reason."""
    context = serving_context(tmp_path, server(*names, validity=validity))
    tls = Tls(asked, ca=ca(tmp_path, issuer) if issuer else "")
    told = refused_over_tls(context, tls)
    assert told.startswith("no TLS with 127.0.0.1:")
    assert reason in told


@pytest.mark.parametrize("lacking", ["ca", "certificate", "private_key"])
def test_tls_files_that_are_not_there(tmp_path: Path, lacking: str) -> None:
    """A file that cannot be read is told like a server that cannot be verified."""
    certificate, key = pair(tmp_path, authority().client("agent"), "client")
    files = {"ca": ca(tmp_path), "certificate": certificate, "private_key": key}
    for wrong in (str(tmp_path / "none"), str(tmp_path), ca(tmp_path, "other")):
        if (lacking, wrong) == ("ca", ca(tmp_path, "other")):
            continue
        tls = Tls("proxy.example", **{**files, lacking: wrong})  # type: ignore[arg-type]
        told = refused_over_tls(serving_context(tmp_path, server()), tls)
        assert told.startswith("no TLS with 127.0.0.1:")


def test_tls_client(tmp_path: Path) -> None:
    """A client certificate is shown, from two files or from one, and what it is called is seen."""
    seen: list[Any] = []
    shown = authority().client("agent")
    certificate, key = pair(tmp_path, shown, "client")
    one_file = tmp_path / "both.pem"
    one_file.write_text(shown.certificate + shown.private_key)

    def script(peer: Peer) -> None:
        assert isinstance(peer.socket, ssl.SSLSocket)
        seen.append((peer.socket.getpeercert() or {}).get("subject"))
        answering_over_tls(peer)

    context = serving_context(tmp_path, server(), clients=ca(tmp_path))
    for files in ((certificate, key), (str(one_file), "")):
        tls = Tls("proxy.example", True, ca(tmp_path), *files)
        with StagedServer(script, tls=context) as staged:
            endpoint = Endpoint(staged.address, staged.port, tls=tls)
            assert call(endpoint).grpc_status == 14
    assert seen == 2 * [((("commonName", "agent"),),)]


@pytest.mark.parametrize("client", ["none", "stranger"])
def test_tls_client_that_is_not_let_in(tmp_path: Path, client: str) -> None:
    """A server that demands a certificate of its own authority's gives the connection up."""
    files = ("", "")
    if client == "stranger":
        files = pair(tmp_path, authority("other").client("agent"), "client")
    context = serving_context(tmp_path, server(), clients=ca(tmp_path))
    with StagedServer(answering_over_tls, tls=context) as staged:
        tls = Tls("proxy.example", True, ca(tmp_path), *files)
        endpoint = Endpoint(staged.address, staged.port, tls=tls)
        with pytest.raises(CallError, match=f"{staged.address}:{staged.port}"):
            call(endpoint)
    assert len(staged.refused) == 1


def test_tls_key_with_a_passphrase(tmp_path: Path) -> None:
    """Nobody is asked for it at a terminal."""
    shown = authority().client("agent", password="s3cret")  # noqa: S106
    certificate, key = pair(tmp_path, shown, "client")
    tls = Tls("proxy.example", True, ca(tmp_path), certificate, key)
    told = refused_over_tls(serving_context(tmp_path, server()), tls)
    assert told.startswith("no TLS with 127.0.0.1:")


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
def test_tls_without_http2(tmp_path: Path, protocols: tuple[str, ...]) -> None:
    """A server that agrees on no protocol is told by what was agreed on."""
    context = serving_context(tmp_path, server(), protocols=protocols)
    connection, reply = over_tls(context, Tls("proxy.example", ca=ca(tmp_path)))
    assert (connection.alpn, reply.grpc_status) == (None, 14)


def test_tls_of_a_server_in_clear_text(tmp_path: Path) -> None:
    """Told as such, at once."""

    def script(peer: Peer) -> None:
        with suppress(Exception):
            peer.until_closed()

    with StagedServer(script) as staged:
        tls = Tls("proxy.example", ca=ca(tmp_path))
        endpoint = Endpoint(staged.address, staged.port, tls=tls)
        with pytest.raises(CallError, match=f"no TLS with {endpoint.name}: "):
            call(endpoint)


def test_clear_text_to_a_server_with_tls(tmp_path: Path) -> None:
    """The other way round."""
    with StagedServer(answering_over_tls, tls=serving_context(tmp_path, server())) as staged:
        endpoint = Endpoint(staged.address, staged.port)
        with pytest.raises(CallError, match=f"{endpoint.name} broke the connection"):
            call(endpoint)


def test_tls_of_a_server_that_is_silent() -> None:
    """The handshake has no longer than the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
        endpoint = Endpoint("127.0.0.1", port, tls=Tls("proxy.example", verify=False))
        began = time.monotonic()
        with pytest.raises(CallError, match=f"no TLS with 127.0.0.1:{port}: .*timed out"):
            call(endpoint, 0.2)
    assert time.monotonic() - began < TIMEOUT_S / 2
