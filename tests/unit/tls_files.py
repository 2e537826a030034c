"""Keys and certificates as files, and a server's side of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.hosts import pki
from tests.unit.inventories import authority


def pair(place: Path, shown: pki.Identity, name: str = "server") -> tuple[str, str]:
    """Write certificate, with its chain, and key; return their paths."""
    certificate, key = place / f"{name}.pem", place / f"{name}.key"
    certificate.write_text(shown.chain)
    key.write_text(shown.private_key)
    return str(certificate), str(key)


def ca(place: Path, name: str = "root") -> str:
    """Write the certificate of an authority; return its path."""
    path = place / f"ca-{name}.pem"
    path.write_text(authority(name).certificate)
    return str(path)


def serving_context(
    place: Path, shown: pki.Identity, clients: str = "", protocols: tuple[str, ...] = ("h2",)
) -> ssl.SSLContext:
    """Return a server's side of TLS.

    :param clients: path of the authority whose clients alone may call; anyone when empty.
    :param protocols: what is offered in the handshake.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair(place, shown))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    if clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context
