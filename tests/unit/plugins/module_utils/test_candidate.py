"""The words of a configuration: servers that it names."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import candidate

TEXT = """
    upstream oaps { server oap1.example:11800 weight=2; server 10.0.0.1:1;
        server [fd00::1]:11800; server unix:/run/x; server oap-2; server unknown.example; }
    server { listen 1; server_name web.example; location / { grpc_pass grpc://oaps; } }
    location /a { proxy_pass http://auth.example/x; } location /b { grpc_pass $chosen; }
    location /c { grpc_pass grpcs://[fd00::2]; }
    access_log syslog:server=log.example:514,tag=x main;
"""
REAL = socket.getaddrinfo
KNOWN = {
    "auth.example": ["10.1.0.1"],
    "log.example": ["10.1.0.2"],
    "oap-2": ["10.1.0.3", "fd01::3"],
    "oap1.example": ["10.1.0.4"],
}


@pytest.fixture(autouse=True)
def resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are known, each address told twice, as getaddrinfo may."""

    def resolve(name: str, *_given: object, **_named: object) -> list[tuple[object, ...]]:
        if name not in KNOWN:
            raise OSError("unknown")
        return [(2, 1, 6, "", (address, 0)) for address in KNOWN[name] * 2]

    monkeypatch.setattr("socket.getaddrinfo", resolve)


def test_addresses() -> None:
    """Servers that a configuration names; not upstreams, sockets, variables."""
    itself = {one: [one] for one in ("10.0.0.1", "fd00::1", "fd00::2")}
    assert candidate.addresses_of(TEXT) == {**KNOWN, **itself, "unknown.example": []}


def test_what_is_no_name() -> None:
    """Words that look like a server, in a comment say, have no address, and stop nothing."""
    text = "gzip off; # it asks the server ... or the server " + "x" * 64 + " for it;"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("socket.getaddrinfo", REAL)
        assert candidate.addresses_of(text) == {"...": [], "x" * 64: []}


def test_called() -> None:
    """Servers that answer calls; a log goes elsewhere, and a name without an address nowhere."""
    assert candidate.called_by(TEXT, candidate.addresses_of(TEXT)) == [
        "10.0.0.1", "10.1.0.1", "10.1.0.3", "10.1.0.4", "fd00::1", "fd00::2", "fd01::3",
    ]  # fmt: skip


def test_hosts(tmp_path: Path) -> None:
    """What only the host can resolve stands in the rehearsal's /etc/hosts, each address once."""
    (tmp_path / "http.d").mkdir()
    (tmp_path / "http.d" / "a.conf").write_text(
        "upstream a { server oap-2:1; server unknown.example; server 10.0.0.1; }\n"
        "  # server commented.example;\n"
    )
    known = candidate.addresses_of(candidate.text_of(tmp_path))
    lines = candidate.hosts_file(known).splitlines()
    assert lines[-2:] == ["10.1.0.3 oap-2", "fd01::3 oap-2"]
    assert lines[0] == Path("/etc/hosts").read_text().splitlines()[0]
    assert not any("10.0.0.1" in line for line in lines)
