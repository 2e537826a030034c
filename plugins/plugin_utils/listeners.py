# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads where the proxy listens."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.access import read_access
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader, endpoint

HOST_WITHOUT_IPV6 = "this host has IPv6 switched off."


def read_listeners(
    reader: Reader, value: Any, ipv6: bool, no_ipv6: str = HOST_WITHOUT_IPV6
) -> list[dict[str, Any]]:
    """Return each entry of grpc_proxy_listen with the sockets that it stands for.

    An entry without an address listens on all addresses, of IPv6 too where there is IPv6.

    :param no_ipv6: why there is none.
    """
    entries: list[dict[str, Any]] = []
    seen: dict[tuple[str, int], int] = {}
    listed = isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
    if not value or not listed:
        reader.complain("grpc_proxy_listen", value, "give a list such as [{port: 11800}].")
        return entries
    for index, item in enumerate(value):
        variable = f"grpc_proxy_listen[{index}]"
        port = reader.integer(f"{variable}.port", item.get("port"), 1, 65535)
        addresses = _listen_addresses(
            reader, variable, item.get("address"), "" if ipv6 else no_ipv6
        )
        sockets = []
        for address in addresses if port is not None else ():
            other = seen.setdefault((address, port or 0), index)
            if other != index:
                remedy = f"grpc_proxy_listen[{other}] listens there already; leave one out."
                reader.complain(variable, endpoint(address, port or 0), remedy)
            sockets.append({"address": address, "port": port})
        entries.append(
            {
                "name": f"listen_{index}",
                "sockets": sockets,
                "tls": reader.boolean(f"{variable}.tls", item.get("tls", False)),
                "access": read_access(reader, f"{variable}.", item),
            }
        )
    return entries


def _listen_addresses(reader: Reader, variable: str, value: Any, no_ipv6: str) -> list[str]:
    if value in (None, ""):
        return ["0.0.0.0"] if no_ipv6 else ["0.0.0.0", "::"]
    try:
        parsed = ipaddress.ip_address(str(value))
    except ValueError:
        reader.complain(f"{variable}.address", value, "give an IPv4 or IPv6 address of the host.")
        return []
    if "%" in str(value) or parsed.is_multicast:
        reader.complain(f"{variable}.address", value, "give an address without a scope.")
        return []
    if parsed.version == 6 and no_ipv6:
        reader.complain(f"{variable}.address", value, no_ipv6)
        return []
    return [str(parsed)]
