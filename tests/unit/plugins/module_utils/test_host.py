"""What a host is and has, read from real files; the commands are stand-ins."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.host import (
    Host,
    certificate,
    path,
    resolution,
)

BEGIN, END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
PEM = f"{BEGIN}\nMIIB\n{END}\n"
LOOPBACK = "00000000000000000000000000000001 01 80 10 80       lo\n"
LINK_LOCAL = "fe800000000000000000000000000001 02 40 20 80     eth0\n"
SHOWN = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\nNeedDaemonReload={}\n"


class Commands:
    """Answers by the name of a program, and notes what was run; any other is not there."""

    def __init__(self, answers: Mapping[str, tuple[int, str, str]] | None = None) -> None:
        self.answers = answers or {}
        self.made: list[list[str]] = []

    def __call__(self, command: list[str]) -> tuple[int, str, str]:
        """Run nothing."""
        self.made.append(command)
        if command[0] not in self.answers:
            raise FileNotFoundError(2, "No such file or directory", command[0])
        return self.answers[command[0]]


def having(root: Path, files: Mapping[str, str]) -> Host:
    """Return a host that has these files and no programs."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return Host(Commands(), str(root))


# What the host is


@pytest.mark.parametrize(
    ("files", "ipv6"),
    [
        ({"proc/net/if_inet6": LINK_LOCAL + LOOPBACK}, True),
        ({"proc/net/if_inet6": LINK_LOCAL}, False),
        ({"proc/net/if_inet6": ""}, False),
        ({}, False),
    ],
)
def test_ipv6(tmp_path: Path, files: dict[str, str], ipv6: bool) -> None:
    """IPv6 is at work where its loopback address is; without it in the kernel there is no file."""
    assert having(tmp_path, files).ipv6() is ipv6


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"run/systemd/system/x": "", "proc/1/comm": "init\n"}, "systemd"),
        ({"proc/1/comm": "sleep\n"}, "sleep"),
        ({"run/systemd/system": "", "proc/1/comm": "runit\n"}, "runit"),
        ({"proc/1/comm": "systemd\n"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_service_manager(tmp_path: Path, files: dict[str, str], name: str) -> None:
    """It is systemd where systemd has booted the host, by its directory and no name."""
    assert having(tmp_path, files).service_manager() == name


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (
            {"etc/os-release": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n'},
            ("debian", "12", "Debian GNU/Linux 12"),
        ),
        ({"usr/lib/os-release": "ID='debian'\n"}, ("debian", "", "")),
        (
            {"etc/os-release": "# a\n\nID=mine\n", "usr/lib/os-release": "ID=other\n"},
            ("mine", "", ""),
        ),
        ({"etc/os-release": 'PRETTY_NAME="open\nID=x\n'}, ("x", "", "")),
        ({}, ("", "", "")),
    ],
)
def test_distribution(tmp_path: Path, files: dict[str, str], told: tuple[str, str, str]) -> None:
    """What os-release says, quoted or not, in the one place or the other."""
    found = having(tmp_path, files).distribution()
    assert (found["id"], found["version"], found["name"]) == told


def test_codename(tmp_path: Path) -> None:
    """Its code name is what repositories call it; where it is not told there is none."""
    assert having(tmp_path, {}).distribution()["codename"] == ""
    told = {"etc/os-release": "VERSION_CODENAME=bookworm\n"}
    assert having(tmp_path, told).distribution()["codename"] == "bookworm"


# Paths


def test_path_of_a_file(tmp_path: Path) -> None:
    """A file has its mode and owner, and its checksum where that is asked for."""
    one = tmp_path / "one"
    one.write_bytes(b"\xff text\n")
    one.chmod(0o640)
    found = path(str(one), checksum=True)
    assert found == {
        "type": "file", "mode": "0640", "uid": os.getuid(), "gid": one.stat().st_gid,
        "target": None, "sha256": hashlib.sha256(b"\xff text\n").hexdigest(),
    }  # fmt: skip
    assert path(str(one), checksum=False) == {**found, "sha256": None}


def test_path_of_all_else(tmp_path: Path) -> None:
    """A directory, a link that is not followed, a pipe, and what is not there."""
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("/dev/../nowhere")
    os.mkfifo(tmp_path / "pipe")
    types = {
        name: path(str(tmp_path / name), checksum=True)["type"]
        for name in (".", "link", "dangling", "pipe", "none", "file/below")
    }
    assert types == {
        ".": "directory", "link": "link", "dangling": "link", "pipe": "other", "none": "absent",
        "file/below": "absent",
    }  # fmt: skip
    assert path(str(tmp_path / "dangling"), checksum=True)["target"] == "/dev/../nowhere"
    absent = path(str(tmp_path / "none"), checksum=True)
    assert {name for name, value in absent.items() if value is not None} == {"type"}


# Packages, the build, the unit


def test_packages() -> None:
    """Installed is what dpkg says is installed: not what is unknown, left over or like it."""
    told = "nginx installed hold 1.22.1-9\nold config-files deinstall 1\nmore installed install 2\n"
    run = Commands({"dpkg-query": (1, told, "?")})
    asked = ["nginx", "old", "none", "mor", "more"]
    assert Host(run).packages(asked) == {
        "nginx": {"version": "1.22.1-9", "held": True},
        "more": {"version": "2", "held": False},
    }
    assert run.made[0][-6:] == ["--", *asked]


def test_packages_of_a_host_without_dpkg() -> None:
    """A host without dpkg has none of them; without a question nothing is run."""
    run = Commands()
    assert Host(run).packages(["nginx"]) == {}
    assert len(run.made) == 1
    assert Host(run).packages([]) == {}
    assert len(run.made) == 1


def test_build(tmp_path: Path) -> None:
    """What the binary prints, on whichever stream; None where there is no such file."""
    binary = tmp_path / "nginx"
    run = Commands({str(binary): (0, "out\n", "nginx version: nginx/1.22.1\n")})
    assert Host(run).build(str(binary)) is None
    assert Host(run).build(str(tmp_path)) is None
    assert run.made == []
    binary.write_text("")
    assert Host(run).build(str(binary)) == "nginx version: nginx/1.22.1\nout\n"
    assert run.made == [[str(binary), "-V"]]


def test_build_of_what_cannot_be_run(tmp_path: Path) -> None:
    """A file that is no program is not a missing one: it is told why it cannot be run."""
    binary = tmp_path / "nginx"
    binary.write_text("")
    assert "No such file" in (Host(Commands()).build(str(binary)) or "")


@pytest.mark.parametrize(("word", "needed"), [("yes", True), ("no", False)])
def test_unit(word: str, needed: bool) -> None:
    """One question to systemd, and its answer by our names."""
    run = Commands({"systemctl": (0, SHOWN.format(word), "")})
    assert Host(run).unit("oap-proxy.service") == {
        "load_state": "loaded",
        "file_state": "enabled",
        "active_state": "active",
        "need_daemon_reload": needed,
    }
    (command,) = run.made
    assert command[-1] == "oap-proxy.service"
    assert "LoadState,UnitFileState,ActiveState,NeedDaemonReload" in " ".join(command)


def test_unit_without_systemd() -> None:
    """Where systemd is not there, or does not answer, nothing is known of a unit."""
    assert Host(Commands()).unit("oap-proxy.service") is None
    silent = Commands({"systemctl": (1, "", "System has not been booted with systemd")})
    assert Host(silent).unit("oap-proxy.service") is None


# Names


def test_resolution_as_nginx_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is asked for as nginx does: addresses of kinds alone that the host has."""
    asked = []

    def getaddrinfo(*arguments: object, **options: object) -> list[object]:
        asked.append((arguments, options))
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert resolution("oap1") == {"name": "oap1", "error": None}
    kind = {"type": socket.SOCK_STREAM, "flags": socket.AI_ADDRCONFIG}
    assert asked == [(("oap1", None), kind)]


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".example", "no such name"])
def test_resolution_of_what_is_none(name: str) -> None:
    """What does not resolve says why, also where it cannot be a name."""
    found = resolution(name)
    assert found["name"] == name
    assert found["error"]


def test_resolution_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's own words are told."""

    def getaddrinfo(*_arguments: object, **_options: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert resolution("oap1")["error"] == "Temporary failure in name resolution"


# Certificates


def test_certificate(tmp_path: Path) -> None:
    """The text of a chain of certificates, through a link too."""
    chain = tmp_path / "chain.pem"
    chain.write_text(PEM + PEM)
    link = tmp_path / "link.pem"
    link.symlink_to(chain)
    for name in (str(chain), str(link)):
        assert certificate(name) == {"path": name, "content": PEM + PEM, "error": None}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (PEM.encode() + b"-----BEGIN PRIVATE KEY-----\nMIIE\n", "it holds a private key"),
        (PEM.encode() + b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "it holds a private key"),
        (b"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", "it holds a private key"),
        (
            b"root:*:19000:0:99999:7:::\n",
            "it holds no certificate and no list of revoked ones in PEM",
        ),
        (b"", "it holds no certificate and no list of revoked ones in PEM"),
        (b"\x30\x82\xff\xff", "it is no text"),
    ],
)
def test_certificate_that_is_not_shown(tmp_path: Path, content: bytes, error: str) -> None:
    """Nothing of a file that holds a key, or no certificate, is ever shown."""
    name = tmp_path / "file.pem"
    name.write_bytes(content)
    assert certificate(str(name)) == {"path": str(name), "content": None, "error": error}


def test_certificate_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing there, no file, and a file that cannot be read are told apart."""
    none = tmp_path / "none.pem"
    assert certificate(str(none))["error"] == "it is not there"
    assert certificate(str(tmp_path))["error"] == "it is no file"
    none.write_text(PEM)

    def closed(*_arguments: object, **_options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", closed)
    assert certificate(str(none))["error"] == "it cannot be read: Permission denied"
