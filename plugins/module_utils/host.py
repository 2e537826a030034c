# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host is and has: read, and never changed."""

from __future__ import annotations

import hashlib
import os
import shlex
import socket
import stat
from pathlib import Path
from typing import Any, Callable

Run = Callable[[list[str]], tuple[int, str, str]]
"""Runs a command, returns its exit status, standard output and standard error.

:raises OSError: where there is no such program, or it cannot be run.
"""

_LOOPBACK = "00000000000000000000000000000001 "
_TYPES = (
    (stat.S_ISREG, "file"),
    (stat.S_ISDIR, "directory"),
    (stat.S_ISLNK, "link"),
)
_UNIT = ("LoadState", "UnitFileState", "ActiveState", "NeedDaemonReload")
_PUBLIC = ("-----BEGIN CERTIFICATE-----", "-----BEGIN X509 CRL-----")
_SECRET = "PRIVATE KEY"  # noqa: S105


class Host:
    """The host that this runs on.

    :param run: how to run a command.
    :param root: where its file system begins.
    """

    def __init__(self, run: Run, root: str = "/") -> None:
        self._run = run
        self._root = Path(root)

    def _read(self, path: str) -> str:
        """Return the text of a file, none where there is no such file."""
        try:
            return (self._root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def ipv6(self) -> bool:
        """Tell whether IPv6 is at work: then it has its loopback address."""
        return _LOOPBACK in self._read("proc/net/if_inet6")

    def service_manager(self) -> str:
        """Return ``systemd`` where that has booted the host, else the name of process 1."""
        if (self._root / "run/systemd/system").is_dir():
            return "systemd"
        name = self._read("proc/1/comm").strip()
        return name if name not in ("", "systemd") else "unknown"

    def distribution(self) -> dict[str, str]:
        """Return id, version, code name and full name from os-release; empty where not told."""
        told = {}
        text = self._read("etc/os-release") or self._read("usr/lib/os-release")
        for line in text.splitlines():
            key, _equals, value = line.partition("=")
            try:
                told[key] = "".join(shlex.split(value))
            except ValueError:
                continue  # a quote that nobody closed
        return {
            "id": told.get("ID", ""),
            "version": told.get("VERSION_ID", ""),
            "codename": told.get("VERSION_CODENAME", ""),
            "name": told.get("PRETTY_NAME", ""),
        }

    def packages(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Return those of the packages that are installed; none where there is no dpkg."""
        if not names:
            return {}
        shape = "--showformat=${Package} ${db:Status-Status} ${db:Status-Want} ${Version}\n"
        try:
            # Its status tells that one of them is unknown, which is an answer too.
            _status, out, _error = self._run(["dpkg-query", "--show", shape, "--", *names])
        except OSError:
            return {}
        found = {}
        for line in out.splitlines():
            name, state, want, version = [*line.split(" "), "", "", ""][:4]
            if state == "installed":
                found[name] = {"version": version, "held": want == "hold"}
        return {name: found[name] for name in names if name in found}

    def build(self, binary: str) -> str | None:
        """Return what ``BINARY -V`` prints, or why it cannot be run; None where there is none."""
        if not os.path.isfile(binary):
            return None
        try:
            _status, out, error = self._run([binary, "-V"])
        except OSError as failed:
            return str(failed)
        return error + out

    def unit(self, name: str) -> dict[str, Any] | None:
        """Return what systemd tells of a unit; None where systemd does not answer."""
        wanted = f"--property={','.join(_UNIT)}"
        try:
            status, out, _error = self._run(["systemctl", "show", wanted, "--", name])
        except OSError:
            return None
        if status != 0:
            return None
        told = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        return {
            "load_state": told.get("LoadState", ""),
            "file_state": told.get("UnitFileState", ""),
            "active_state": told.get("ActiveState", ""),
            "need_daemon_reload": told.get("NeedDaemonReload") == "yes",
        }


def path(name: str, checksum: bool) -> dict[str, Any]:
    """Return what a path is; a link is not followed.

    :param name: the path.
    :param checksum: whether to read a regular file for its SHA-256.
    """
    found: dict[str, Any] = {
        "type": "absent", "mode": None, "uid": None, "gid": None, "target": None, "sha256": None
    }  # fmt: skip
    try:
        state = os.lstat(name)
        kind = next((told for judge, told in _TYPES if judge(state.st_mode)), "other")
        found.update(
            type=kind, mode=f"{stat.S_IMODE(state.st_mode):04o}", uid=state.st_uid, gid=state.st_gid
        )
        if kind == "link":
            found["target"] = os.readlink(name)
        if kind == "file" and checksum:
            found["sha256"] = hashlib.sha256(Path(name).read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return {**found, "type": "absent"}
    return found


def resolution(name: str) -> dict[str, str | None]:
    """Return whether a name resolves, asked as nginx asks: ``error`` is None where it does."""
    try:
        socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
    except OSError as error:
        return {"name": name, "error": error.strerror or str(error)}
    except UnicodeError:
        return {"name": name, "error": "not a host name"}
    return {"name": name, "error": None}


def certificate(name: str) -> dict[str, str | None]:
    """Return the text of a file of certificates in PEM; else ``error`` says why not.

    A file that holds a private key, or no certificate, is never shown.
    """
    try:
        return {"path": name, "content": _public(name), "error": None}
    except ValueError as error:
        return {"path": name, "content": None, "error": str(error)}


def _public(name: str) -> str:
    """Return the text of a file of certificates.

    :raises ValueError: why it is not to be had.
    """
    if not os.path.exists(name):
        raise ValueError("it is not there")
    if not os.path.isfile(name):
        raise ValueError("it is no file")
    try:
        text = Path(name).read_text(encoding="utf-8")
    except UnicodeError as error:
        raise ValueError("it is no text") from error
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from error
    if _SECRET in text:
        raise ValueError("it holds a private key")
    if not any(kind in text for kind in _PUBLIC):
        raise ValueError("it holds no certificate and no list of revoked ones in PEM")
    return text
