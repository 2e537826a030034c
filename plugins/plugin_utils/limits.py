# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads limits: how often, how many at a time, how large."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import SIZE, Reader

RATE = re.compile(r"([1-9][0-9]{0,5})/(s|m)")
KEYS = {
    "client_address": "$binary_remote_addr",
    "token": "$oap_proxy_token_name",
    "service": "$oap_proxy_grpc_service",
}


def _zone(name: str, key: str) -> str:
    """Name a zone by its key: nginx refuses another key under the same name, in silence."""
    return f"oap_proxy_{name}_{zlib.crc32(key.encode()):08x}"


def _kinds(reader: Reader, variable: str, value: Any, known: Sequence[str]) -> list[str]:
    """Return the kinds of method that a limit is for; all of them when none is given."""
    if value in (None, "", []):
        return list(known)
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        reader.complain(variable, value, "give a list of kinds of method.")
        return list(known)
    for item in items:
        if item not in known:
            reader.complain(variable, item, f"choose among {', '.join(known)}.")
    return [str(item) for item in items]


def _key(reader: Reader, variable: str, given: Mapping[str, Any], tokens: bool) -> str:
    key = reader.choice(f"{variable}.key", given.get("key", "client_address"), tuple(KEYS))
    if key == "token" and not tokens:
        reader.complain(f"{variable}.key", key, "there is no grpc_proxy_token to count by.")
    return key


def read_rate_limits(
    reader: Reader,
    variable: str,
    value: Any,
    known: Sequence[str],
    tokens: bool,
    name: str = "rate",
) -> list[dict[str, Any]]:
    """Return limits on how often calls may begin."""
    limits = []
    for index, given in enumerate(reader.dictionaries(variable, value)):
        place = f"{variable}[{index}]" if isinstance(value, list) else variable
        rate = given.get("rate")
        if not isinstance(rate, str) or not RATE.fullmatch(rate):
            reader.complain(f"{place}.rate", rate, "give calls and a unit such as 100/s or 600/m.")
        key = _key(reader, place, given, tokens)
        limits.append(
            {
                "key": KEYS[key],
                "zone": _zone(f"{name}_{index}", key),
                "rate": f"{rate}".replace("/", "r/"),
                "burst": reader.integer(f"{place}.burst", given.get("burst", 0), 0, 1000000),
                "kinds": _kinds(reader, f"{place}.methods", given.get("methods"), known),
            }
        )
    return limits


def read_stream_limits(
    reader: Reader,
    variable: str,
    value: Any,
    known: Sequence[str],
    tokens: bool,
    name: str = "conn",
) -> list[dict[str, Any]]:
    """Return limits on how many calls may be open at a time."""
    limits = []
    for index, given in enumerate(reader.dictionaries(variable, value)):
        place = f"{variable}[{index}]" if isinstance(value, list) else variable
        key = _key(reader, place, given, tokens)
        limits.append(
            {
                "key": KEYS[key],
                "zone": _zone(f"{name}_{index}", key),
                "streams": reader.integer(f"{place}.streams", given.get("streams"), 1, 65535),
                "kinds": _kinds(reader, f"{place}.methods", given.get("methods"), known),
            }
        )
    return limits


def read_sizes(reader: Reader, variable: str, value: Any, known: Sequence[str]) -> dict[str, str]:
    """Return the largest body by kind of method; 0 is no limit."""
    sizes = {}
    for kind, size in reader.dictionary(variable, value).items():
        if kind not in known:
            reader.complain(f"{variable}.{kind}", size, f"choose among {', '.join(known)}.")
        sizes[str(kind)] = read_size(reader, f"{variable}.{kind}", size)
    return sizes


def read_size(reader: Reader, variable: str, value: Any) -> str:
    """Return the largest body of one kind; 0 is no limit."""
    return reader.matching(variable, value, SIZE, "give a size such as 512k or 10m, or 0.")
