# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the words of a configuration tell: the servers that it names, and where it logs."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path

_UPSTREAM = re.compile(r"\bupstream\s+([^\s{;]+)\s*\{")
_NAMED = re.compile(r"(?:\bserver\s+|_pass\s+(?:\w+://)?|syslog:server=)([^\s:;/{}\[\]$,]+)")
_ERROR_LOG = re.compile(r"\berror_log\s+([^\s;]+)\s*(\w*)")
_TERSE = ("crit", "alert", "emerg")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


def text_of(candidate: Path) -> str:
    """Return all that a configuration says, comments left out."""
    texts = (
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(candidate.rglob("*.conf"))
    )
    return "\n".join(_COMMENT.sub("", text) for text in texts)


def is_frank(text: str, error_log: Path) -> bool:
    """Tell whether a configuration writes every error to one log."""
    logs = _ERROR_LOG.findall(text)
    return bool(logs) and all(
        place == str(error_log) and level not in _TERSE for place, level in logs
    )


def hosts_file(text: str) -> str:
    """Return the host's /etc/hosts and every name of the configuration that only DNS knows."""
    lines = [Path("/etc/hosts").read_text(encoding="utf-8", errors="replace")]
    for name in names_in(text):
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError:
            continue  # nginx will say so
        lines += [f"{address} {name}" for address in dict.fromkeys(str(one[4][0]) for one in found)]
    return "\n".join(lines) + "\n"


def names_in(text: str) -> list[str]:
    """Return the names of servers that nginx resolves when it reads a configuration."""
    known = {"unix", *_UPSTREAM.findall(text)}
    return sorted(name for name in set(_NAMED.findall(text)) - known if not _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
