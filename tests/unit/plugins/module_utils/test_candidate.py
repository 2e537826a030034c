"""The words of a configuration: servers that it names."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import candidate


def test_names() -> None:
    """Servers that nginx resolves when it starts; not upstreams, addresses, sockets, variables."""
    text = """
        upstream oaps { server oap1.example:11800 weight=2; server 10.0.0.1:1;
            server [fd00::1]:11800; server unix:/run/x; server oap-2; }
        server { listen 1; server_name web.example; location / { grpc_pass grpc://oaps; } }
        location /a { proxy_pass http://auth.example/x; } location /b { grpc_pass $chosen; }
        access_log syslog:server=log.example:514,tag=x main;
    """
    assert candidate.names_in(text) == ["auth.example", "log.example", "oap-2", "oap1.example"]


def test_hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What only the host can resolve stands in the rehearsal's /etc/hosts, each address once."""
    asked: list[str] = []

    def resolve(name: str, *_given: object, **_named: object) -> list[tuple[object, ...]]:
        asked.append(name)
        if name == "unknown.example":
            raise OSError("unknown")
        return [(2, 1, 6, "", ("10.0.0.1", 0)), (2, 1, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr("socket.getaddrinfo", resolve)
    (tmp_path / "http.d").mkdir()
    (tmp_path / "http.d" / "a.conf").write_text(
        "upstream a { server oap.example:1; server unknown.example; }\n"
        "  # server commented.example;\n"
    )
    lines = candidate.hosts_file(candidate.text_of(tmp_path)).splitlines()
    assert lines[-1] == "10.0.0.1 oap.example"
    assert lines[0] == Path("/etc/hosts").read_text().splitlines()[0]
    assert asked == ["oap.example", "unknown.example"]
