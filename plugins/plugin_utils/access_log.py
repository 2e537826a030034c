# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads where the access log goes, and how much of it is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import (
    Reader,
    address_of,
    endpoint,
    is_name,
)

TARGETS = ("file", "syslog", "stdout", "off")
SYSLOG_SOCKET = re.compile(r"unix:(/[A-Za-z0-9_.-]+)+")
REMEDY = "give ADDRESS:PORT or unix:/dev/log."
JOURNAL = "unix:/dev/log"
"""Where the standard output of a unit of systemd ends: nginx, as a daemon, has none of its own."""
SAMPLE = {"jvm": 1, "keep_alive": 1}
"""Percentages where nothing is said: what every agent sends all the time would drown the rest."""
_PERCENT = re.compile(r"(100|[0-9]{1,2}(\.[0-9]{1,2})?)")


def read_access_log(
    reader: Reader, given: Mapping[str, Any], known: Sequence[str], name: str
) -> dict[str, Any]:
    """Return target, address of the syslog server, and the percentage kept by kind of method."""
    variable = "grpc_proxy_access_log"
    to = given.get("to", TARGETS[0])
    # A bare off is false in YAML.
    target = reader.choice(f"{variable}.to", "off" if to is False else to, TARGETS)
    server = given.get("syslog_server") or ""
    if target == "syslog" and not server:
        reader.refuse(
            f"{variable}.syslog_server", "is missing; give ADDRESS:PORT or unix:/dev/log."
        )
    if server and target != "syslog":
        reader.complain(f"{variable}.syslog_server", server, "it is used with to: syslog only.")
    sample = {}
    for kind, percent in reader.dictionary(
        f"{variable}.sample", given.get("sample", SAMPLE)
    ).items():
        place = f"{variable}.sample.{kind}"
        if kind not in known:
            reader.complain(place, percent, f"choose among {', '.join(known)}.")
        if isinstance(percent, bool) or not _PERCENT.fullmatch(str(percent)):
            reader.complain(place, percent, "give a percentage from 0 to 100, such as 0.5 or 10.")
        elif float(percent) < 100:
            sample[str(kind)] = str(percent)
    return {
        "to": target,
        "syslog": _syslog(reader, f"{variable}.syslog_server", server),
        "journal": JOURNAL,
        # A tag of syslog knows letters, digits and '_'.
        "tag": name.replace("-", "_"),
        "sample": sample,
    }


def _syslog(reader: Reader, variable: str, server: Any) -> str:
    if not server:
        return ""
    if SYSLOG_SOCKET.fullmatch(str(server)):
        return str(server)
    host, _colon, port = str(server).rpartition(":")
    inner = re.fullmatch(r"\[(.*:.*)\]|([^:]*)", host)
    address = address_of(inner.group(1) or inner.group(2)) if inner else None
    # nginx would have to resolve a name when it starts, and would not start where it cannot.
    at = int(port) if re.fullmatch("[1-9][0-9]{0,4}", port) else 0
    if address is None or is_name(address) or not 0 < at <= 65535:
        reader.complain(variable, server, REMEDY)
        return ""
    return endpoint(address, at)
