"""The module ``nginx_facts``: everything in one execution, of this machine and of real files."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.modules import nginx_facts

from tests.unit.plugins.modules.documented import (
    ANSIBLES,
    options,
    returned,
    run,
    specification,
    without_no_log,
)

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
NGINX = "#!/bin/sh\necho 'nginx version: nginx/1.22.1' >&2\necho \"asked $*\"\n"
SYSTEMCTL = """\
#!/bin/sh
echo LoadState=loaded
echo UnitFileState=enabled
echo ActiveState=active
echo NeedDaemonReload=yes
"""
DPKG = "#!/bin/sh\necho nginx installed install 1.22.1-9\nexit 1\n"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of programs that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def program(folder: Path, name: str, text: str) -> str:
    """Write a program, and return its path."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return str(folder / name)


def contained(name: str) -> set[str]:
    """Return the documented fields of one returned value."""
    found: dict[str, Any] = yaml.safe_load(nginx_facts.RETURN)[name]["contains"]
    return set(found)


def test_arguments_are_documented() -> None:
    """The specification is what the documentation says."""
    documented = yaml.safe_load(nginx_facts.DOCUMENTATION)
    assert documented["module"] == "nginx_facts"
    assert specification(options(nginx_facts.DOCUMENTATION)) == without_no_log(
        nginx_facts.ARGUMENTS
    )


@pytest.mark.parametrize("check_mode", [False, True])
def test_everything_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, programs: Path, check_mode: bool
) -> None:
    """Each question has its answer, in check mode too; nothing is changed."""
    certificate = tmp_path / "ca.pem"
    certificate.write_text(PEM)
    program(programs, "systemctl", SYSTEMCTL)
    program(programs, "dpkg-query", DPKG)
    asked = {
        "paths": [str(tmp_path), str(certificate)],
        "checksums": [str(certificate), str(tmp_path / "none")],
        "packages": ["nginx", "python3-h2"],
        "binary": program(programs, "nginx", NGINX),
        "unit": "oap-proxy.service",
        "names": ["127.0.0.1", ".example"],
        "certificates": [str(certificate), str(tmp_path / "none")],
    }
    result = run(nginx_facts.main, capsys, asked, check_mode=check_mode)
    assert result["changed"] is False
    assert set(result) - ANSIBLES == returned(nginx_facts.RETURN, {"success"})
    types = {name: row["type"] for name, row in result["paths"].items()}
    assert types == {
        str(tmp_path): "directory", str(certificate): "file", str(tmp_path / "none"): "absent"
    }  # fmt: skip
    assert result["paths"][str(certificate)]["sha256"]
    assert result["packages"] == {"nginx": {"version": "1.22.1-9", "held": False}}
    assert result["build"] == "nginx version: nginx/1.22.1\nasked -V\n"
    assert (result["unit"]["file_state"], result["unit"]["need_daemon_reload"]) == ("enabled", True)
    assert [bool(row["error"]) for row in result["names"]] == [False, True]
    assert [row["content"] for row in result["certificates"]] == [PEM, None]
    for name in ("paths", "packages", "names", "certificates"):
        rows = result[name].values() if isinstance(result[name], dict) else result[name]
        assert all(set(row) == contained(name) for row in rows)
    for name in ("distribution", "unit"):
        assert set(result[name]) == contained(name)


def test_nothing_is_asked(capsys: pytest.CaptureFixture[str], programs: Path) -> None:
    """Without questions the host itself is told, and no program is run."""
    for name in ("systemctl", "dpkg-query"):
        program(programs, name, "#!/bin/sh\nexec false\n")
    result = run(nginx_facts.main, capsys, {})
    assert set(result) - ANSIBLES == returned(nginx_facts.RETURN, {"success"})
    assert (result["paths"], result["packages"], result["names"]) == ({}, {}, [])
    assert (result["build"], result["unit"], result["certificates"]) == (None, None, [])
    assert isinstance(result["ipv6"], bool)


def test_programs_that_are_not_there(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, programs: Path
) -> None:
    """A host without dpkg, systemd or nginx is an answer, not a failure."""
    assert list(programs.iterdir()) == []
    asked = {"packages": ["nginx"], "unit": "x.service", "binary": str(tmp_path / "nginx")}
    result = run(nginx_facts.main, capsys, asked)
    assert "failed" not in result
    assert (result["packages"], result["unit"], result["build"]) == ({}, None, None)


def test_binary_that_is_no_program(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A file that cannot be run does not end the module."""
    text = tmp_path / "nginx"
    text.write_text("text")
    result = run(nginx_facts.main, capsys, {"binary": str(text)})
    assert "failed" not in result
    assert "Permission denied" in result["build"]


def test_a_private_key_is_never_shown(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A key beside a certificate keeps the whole file out of the result."""
    both = tmp_path / "both.pem"
    both.write_text(PEM + "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----\n")
    result = run(nginx_facts.main, capsys, {"certificates": [str(both)]})
    assert result["certificates"][0]["error"] == "it holds a private key"
    assert "SECRET" not in str(result)


def test_path_that_cannot_be_looked_at(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the host does not let be looked at is a failure in words: it is no answer."""

    def closed(_name: str) -> os.stat_result:
        raise PermissionError(13, "Permission denied", "/root/x")

    monkeypatch.setattr(os, "lstat", closed)
    result = run(nginx_facts.main, capsys, {"paths": ["/root/x"]})
    assert result["failed"] is True
    assert "cannot look at the host" in result["msg"]
    assert "/root/x" in result["msg"]


def test_names_of_name_servers(capsys: pytest.CaptureFixture[str]) -> None:
    """With name servers it is they who are asked: a name of /etc/hosts is none of theirs."""
    # A port at which nothing answers is told at once by the kernel.
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    server = {"address": "127.0.0.1", "port": port}
    asked = {"names": ["localhost"], "name_servers": [server]}
    result = run(nginx_facts.main, capsys, asked)
    assert result["names"] == [
        {"name": "localhost", "error": "127.0.0.1 says nothing: Connection refused"}
    ]
