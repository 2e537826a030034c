"""What a client needs to speak TLS: PEM text, and the same as files."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.pki import Identity


@dataclass(frozen=True)
class Tls:
    """Whom a client trusts, what it shows, and by which name it knows the server.

    The name is what the certificate must say, and what is sent as SNI and as ``:authority``;
    without one it is that of the target.
    """

    ca: str
    client: Identity | None = None
    server_name: str = ""


@contextmanager
def options(tls: Tls | None) -> Iterator[list[str]]:
    """Return the options that the client programs share, their files in place for as long."""
    if tls is None:
        yield []
        return
    with tempfile.TemporaryDirectory() as work:
        texts = {"ca": tls.ca}
        if tls.client:
            texts |= {"certificate": tls.client.chain, "key": tls.client.private_key}
        asked = []
        for name, text in texts.items():
            path = Path(work) / f"{name}.pem"
            path.write_text(text, encoding="ascii")
            asked += [f"-{name}", str(path)]
        if tls.server_name:
            asked += ["-server-name", tls.server_name]
        yield asked
