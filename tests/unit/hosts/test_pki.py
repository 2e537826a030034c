"""The laboratory's certificates are what their names say, by OpenSSL's own judgement."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from tests.hosts import pki

if TYPE_CHECKING:
    from pathlib import Path

    from tests.hosts.pki import Authority, Identity

NAME = "oap.example"


@pytest.fixture(scope="module")
def root() -> Authority:
    """An authority."""
    return pki.authority("root")


class Handshake:
    """A server and a client that meet in memory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def loaded(self, side: ssl.SSLContext, identity: Identity, password: str = "") -> None:
        """Give a side its certificate."""
        chain, key = self.directory / "chain.pem", self.directory / "key.pem"
        chain.write_text(identity.chain, encoding="ascii")
        key.write_text(identity.private_key, encoding="ascii")
        side.load_cert_chain(chain, key, password=lambda: password)

    def run(
        self,
        ca: str,
        server: Identity,
        *,
        name: str = NAME,
        client: Identity | None = None,
        client_ca: str = "",
        crl: str = "",
        password: str = "",
    ) -> str:
        """Return why the two do not trust one another, or an empty string."""
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.loaded(serving, server, password)
        if client_ca:
            serving.load_verify_locations(cadata=client_ca)
            serving.verify_mode = ssl.CERT_REQUIRED
        if crl:
            listed = self.directory / "crl.pem"
            listed.write_text(crl, encoding="ascii")
            serving.load_verify_locations(listed)
            serving.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
        asking = ssl.create_default_context(cadata=ca)
        if client:
            self.loaded(asking, client)
        there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
        sides = [
            asking.wrap_bio(back, there, server_hostname=name),
            serving.wrap_bio(there, back, server_side=True),
        ]
        try:
            for _turn in range(4):
                for side in sides:
                    with contextlib.suppress(ssl.SSLWantReadError):
                        side.do_handshake()
        except ssl.SSLCertVerificationError as error:
            return error.verify_message
        except ssl.SSLError as error:
            return error.reason
        return ""


@pytest.fixture
def handshake(tmp_path: Path) -> Handshake:
    """What tries them."""
    return Handshake(tmp_path)


@pytest.mark.parametrize("key", ["ec", "rsa"])
@pytest.mark.parametrize("name", [NAME, "10.118.6.21", "fd00:118:6::21"])
def test_names_and_keys(handshake: Handshake, root: Authority, key: pki.KeyKind, name: str) -> None:
    """Every name and address of a server is its own, with either kind of key."""
    server = root.server(NAME, "10.118.6.21", "fd00:118:6::21", key=key)
    assert handshake.run(root.certificate, server, name=name) == ""


def test_wrong_ones(handshake: Handshake, root: Authority) -> None:
    """Each is refused for what it is."""
    good = root.server(NAME)
    assert "Hostname mismatch" in handshake.run(root.certificate, root.server("other.example"))
    assert "IP address mismatch" in handshake.run(root.certificate, good, name="10.118.6.21")
    past = root.server(NAME, validity="past")
    assert handshake.run(root.certificate, past) == "certificate has expired"
    future = root.server(NAME, validity="future")
    assert handshake.run(root.certificate, future) == "certificate is not yet valid"
    other = pki.authority("root")
    assert handshake.run(other.certificate, good) != ""
    assert "purpose" in handshake.run(root.certificate, root.client(NAME))


def test_clients(handshake: Handshake, root: Authority) -> None:
    """A client is let in by the authority that signed it, unless it is on the list."""
    server, first, second = root.server(NAME), root.client("first"), root.client("second")

    def let_in(client: Identity | None, crl: str = "") -> str:
        return handshake.run(
            root.certificate, server, client=client, client_ca=root.certificate, crl=crl
        )

    assert let_in(first) == ""
    assert let_in(None) == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    assert let_in(pki.authority("root").client("first")) != ""
    assert let_in(root.client("first", validity="past")) == "certificate has expired"
    crl = root.revocation_list(first)
    assert let_in(first, crl) == "certificate revoked"
    assert let_in(second, crl) == ""
    assert let_in(second, root.revocation_list(validity="past")) == "CRL has expired"


def test_intermediates(handshake: Handshake, root: Authority) -> None:
    """The chain leads to the root, through as many as there are, and not without them."""
    second = root.intermediate("first").intermediate("second", key="rsa")
    server = second.server(NAME)
    assert server.chain.count("BEGIN CERTIFICATE") == 3
    assert handshake.run(root.certificate, server) == ""
    alone = pki.Identity(server.certificate, server.private_key)
    assert handshake.run(root.certificate, alone) != ""


@pytest.mark.parametrize("key", ["ec", "rsa"])
def test_encrypted_keys(handshake: Handshake, root: Authority, key: pki.KeyKind) -> None:
    """A key with a password opens with it alone."""
    server = root.server(NAME, key=key, password="of the laboratory")  # noqa: S106
    assert "ENCRYPTED PRIVATE KEY" in server.private_key
    assert handshake.run(root.certificate, server, password="of the laboratory") == ""  # noqa: S106
    with pytest.raises(ssl.SSLError):
        handshake.run(root.certificate, server, password="another")  # noqa: S106


def test_nothing_secret_is_shown(root: Authority) -> None:
    """A failed assertion prints no key."""
    assert "PRIVATE" not in repr(root)
    assert "PRIVATE" not in repr(root.client("first"))
