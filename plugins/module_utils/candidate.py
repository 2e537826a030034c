# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the words of a configuration tell: the servers that it names, and where it logs."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

_UPSTREAM = re.compile(r"\bupstream\s+([^\s{;]+)\s*\{")
_SERVER = re.compile(
    r"(?:\bserver\s+|_pass\s+(?:\w+://)?|(?P<syslog>syslog:server=))"
    r"(?:\[(?P<address6>[^\]]+)\]|(?P<name>[^\s:;/{}\[\]$,]+))"
)
_ERROR_LOG = re.compile(r"\berror_log\s+([^\s;]+)\s*(\w*)")
_TERSE = ("crit", "alert", "emerg")
_COMMENT = re.compile(r"^\s*#.*$", re.MULTILINE)


def text_of(candidate: Path) -> str:
    """Return all that a configuration says, lines of comment left out."""
    texts = (
        path.read_text(encoding="utf-8", errors="replace")
        for path in sorted(candidate.rglob("*.conf"))
    )
    return "\n".join(_COMMENT.sub("", text) for text in texts)


def is_frank(text: str, *places: Path | str) -> bool:
    """Tell whether a configuration writes every error to one log, or to several that are one."""
    logs = _ERROR_LOG.findall(text)
    known = [str(place) for place in places]
    return bool(logs) and all(place in known and level not in _TERSE for place, level in logs)


def addresses_of(text: str) -> dict[str, list[str]]:
    """Return the addresses of every server that a configuration names, by what it is called.

    Names are resolved as nginx does when it reads them; one that cannot be resolved has none.
    """
    return {name: _resolved(name) for name in _called(text, syslog=True)}


def hosts_file(addresses: Mapping[str, Sequence[str]]) -> str:
    """Return the host's /etc/hosts and every name of the configuration that only DNS knows.

    :param addresses: as :func:`addresses_of` returns them.
    """
    lines = [Path("/etc/hosts").read_text(encoding="utf-8", errors="replace")]
    for name, found in addresses.items():
        lines += [f"{address} {name}" for address in found if address != name]
    return "\n".join(lines) + "\n"


def called_by(text: str, addresses: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the addresses of servers that answer calls; where logs go is not among them."""
    names = _called(text, syslog=False)
    return sorted({address for name in names for address in addresses.get(name, ())})


def _called(text: str, syslog: bool) -> list[str]:
    known = {"unix", *_UPSTREAM.findall(text)}
    found = {
        one["address6"] or one["name"]
        for one in _SERVER.finditer(text)
        if syslog or not one["syslog"]
    }
    return sorted(found - known)


def _resolved(name: str) -> list[str]:
    if _is_address(name):
        return [name]
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return []  # nginx will say so, where it is a name
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
