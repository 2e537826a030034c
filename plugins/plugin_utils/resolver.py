# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads whom nginx asks for the names of servers while it runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import (
    Reader,
    address_of,
    endpoint,
    is_name,
)

VARIABLE = "grpc_proxy_resolver"
LIFETIME = re.compile(r"[1-9][0-9]{0,8}[smhd]")
WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([^:]+))(?::([0-9]{1,5}))?")
DNS_PORT = 53


def read_resolver(reader: Reader, given: Mapping[str, Any], ipv6: bool) -> dict[str, Any]:
    """Return the name servers and how they are asked; empty where there are none to be asked.

    :param ipv6: whether the proxy has IPv6: without it, addresses of IPv6 are not asked for.
    """
    if not given:
        return {}
    addresses = given.get("addresses")
    if not isinstance(addresses, list) or not addresses:
        reader.complain(f"{VARIABLE}.addresses", addresses, "give a list such as [192.0.2.53].")
        addresses = []
    found = [
        _name_server(reader, f"{VARIABLE}.addresses[{index}]", one)
        for index, one in enumerate(addresses)
    ]
    servers = [one for one in found if one]
    valid = given.get("valid")
    if valid:
        valid = reader.matching(
            f"{VARIABLE}.valid", valid, LIFETIME, "give a time such as 10s or 5m."
        )
    return {
        "servers": servers,
        "endpoints": [endpoint(one["address"], one["port"]) for one in servers],
        "valid": valid or "",
        "ipv6": reader.boolean(f"{VARIABLE}.ipv6", given.get("ipv6", ipv6)),
    }


def _name_server(reader: Reader, variable: str, given: Any) -> dict[str, Any] | None:
    """Return address and port of one name server, or None after a complaint."""
    text = given if isinstance(given, str) else ""
    parts = WITH_PORT.fullmatch(text)
    bare, port = text, DNS_PORT
    if parts and not (parts.group(1) and ":" not in parts.group(1)):
        bare = parts.group(1) or parts.group(2)
        port = int(parts.group(3) or DNS_PORT)
    address = address_of(bare)
    # A name would have to be resolved before anything can be.
    if address is None or is_name(address) or not 1 <= port <= 65535:
        remedy = "give an address, with a port by choice: 192.0.2.53, 192.0.2.53:5353, [::1]:53."
        reader.complain(variable, given, remedy)
        return None
    return {"address": address, "port": port}
