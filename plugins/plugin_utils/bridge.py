# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what network a container has, and judges what cannot work behind published ports.

The engine publishes a port for the whole container, which listens on all of its own addresses. The
host itself comes from the engine's gateway, or from the address that it goes to. Nobody else may:
so nothing is published on addresses of IPv6, whose clients would all come from the gateway.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader, endpoint

VARIABLE = "grpc_proxy_container_network"
NETWORKS = ("host", "bridge")
NO_IPV6 = f"with {VARIABLE} bridge nothing is published on addresses of IPv6."
_WILDCARD = "0.0.0.0"
_CLIENT_ADDRESS = "$binary_remote_addr"


def is_bridge(given: Mapping[str, Any]) -> bool:
    """Tell whether the engine publishes the ports of this proxy."""
    return bool(given["grpc_proxy_install"] == "container" and given[VARIABLE] == "bridge")


def read_network(
    reader: Reader, given: Mapping[str, Any], plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Return how connections come to nginx.

    :param given: the variables of the proxy.
    :param plan: what has been read of them so far.
    :returns: ``bridge``, ``opened`` (the sockets of nginx, by the name of an entry),
        ``published`` (what the engine publishes) and ``own`` (addresses of the host that its own
        calls come from).
    """
    network = reader.choice(VARIABLE, given[VARIABLE], NETWORKS)
    listeners = plan["listeners"]
    if not is_bridge(given):
        opened = {entry["name"]: entry["sockets"] for entry in listeners}
        return {"bridge": False, "opened": opened, "published": [], "own": []}
    _refuse_shared_ports(reader, listeners)
    for sentence in (*_by_client_address(plan), *_unreachable(plan)):
        reader.complain(VARIABLE, network, f"{sentence} Take host.")
    sockets = [socket for entry in listeners for socket in entry["sockets"]]
    return {
        "bridge": True,
        "opened": {
            entry["name"]: [{"address": _WILDCARD, "port": entry["sockets"][0]["port"]}]
            for entry in listeners
            if entry["sockets"]
        },
        "published": [f"{endpoint(one['address'], one['port'])}:{one['port']}" for one in sockets],
        "own": sorted({one["address"] for one in sockets} - {_WILDCARD}),
    }


def _refuse_shared_ports(reader: Reader, listeners: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a port of two entries, which are one within the container."""
    seen: dict[int, int] = {}
    for index, entry in enumerate(listeners):
        for port in {socket["port"] for socket in entry["sockets"]}:
            other = seen.setdefault(port, index)
            if other != index:
                reader.complain(
                    f"grpc_proxy_listen[{index}].port",
                    port,
                    f"with {VARIABLE} bridge it is that of grpc_proxy_listen[{other}] within the "
                    "container; give each entry a port of its own.",
                )


def _by_client_address(plan: Mapping[str, Any]) -> Iterator[str]:
    """Say what goes by addresses of clients."""
    parts = [plan, *plan["listeners"], *plan["services"]]
    if any(lists for part in parts for lists in part["access"].values()):
        yield (
            "allow and deny go by the addresses of clients, and the engine may put its own in "
            "their place."
        )
    limits = [
        limit
        for part in (plan, *plan["services"])
        for limit in (*part["rate_limits"], *part["stream_limits"])
    ]
    if any(limit["key"] == _CLIENT_ADDRESS for limit in limits):
        yield (
            "a limit with the key client_address counts by the addresses of clients, and the "
            "engine may put its own in their place."
        )


def _unreachable(plan: Mapping[str, Any]) -> Iterator[str]:
    """Say what a container with a network of its own does not reach."""
    pools = [plan["servers"], *(service["servers"] for service in plan["services"])]
    places = {server["endpoint"]: str(server["address"]) for servers in pools for server in servers}
    resolver = plan["resolver"].get("servers") or []
    places.update({endpoint(one["address"], one["port"]): one["address"] for one in resolver})
    syslog = plan["log"]["syslog"]
    if not syslog.startswith("unix:"):
        places.update({syslog: syslog.rpartition(":")[0].strip("[]")} if syslog else {})
    lost = [place for place, address in places.items() if _is_out_of_reach(address)]
    if lost:
        yield (
            f"{', '.join(lost)} is out of the container's reach: its network has no IPv6, and its "
            "loopback is its own."
        )


def _is_out_of_reach(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address == "localhost"
    return parsed.version == 6 or parsed.is_loopback
