# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts together what the templates and the proof are made of, from what people set.

Names that occur in a configuration: a *pool* is the servers that calls of one service go to, a
*site* is a name that clients ask for, an *access list* and a *limit* belong to all calls, to one
listener or to one service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

HEALTH = "/grpc.health.v1.Health/Check"
BUS = "/RemoteService/call"
UNKNOWN_METHOD = "/oap_proxy.Proof/AnyOtherMethod"
_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def arrange(plan: Mapping[str, Any], classes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what follows from a plan without complaints.

    :param plan: what :class:`Inventory` has read.
    :param classes: SkyWalking's methods by kind.
    :returns: ``pools``, ``reached`` (every server, to be asked for its health), ``sites``,
        ``affine``, ``access_lists``, ``limits`` and ``proof``.
    """
    services = plan["services"]
    sites = _sites(plan)
    pools = _pools(plan)
    return {
        "pools": pools,
        "reached": [
            {
                **{key: server[key] for key in ("name", "address", "endpoint", "resolve", "state")},
                "kind": "oap" if pool is pools[0] else "service",
                "tls": bool(pool["tls"]),
            }
            for pool in pools
            for server in pool["servers"]
        ],
        "sites": sites,
        # Hashing knows no backup, and a second upstream would let an OAP exceed its max_conns.
        "affine": not any(item["backup"] or item["max_conns"] for item in plan["servers"]),
        "access_lists": _access_lists(plan),
        "limits": [
            limit
            for item in (plan, *services)
            for limit in (*item["rate_limits"], *item["stream_limits"])
        ],
        "proof": {
            "methods": _forced(classes, services),
            "listeners": [
                {
                    **socket,
                    "tls": entry["tls"],
                    "server_name": site["server_name"],
                    "certificate": _certificate(plan, site) if entry["tls"] else "",
                    "refusals": _refusals(plan, entry, socket["address"], site),
                }
                for entry in plan["listeners"]
                for socket in entry["sockets"]
                for site in sites
            ],
        },
    }


def _pools(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the pools, SkyWalking's first."""
    oaps = {
        "name": "skywalking",
        "what": "SkyWalking's OAPs",
        "upstream": "oap_proxy_oaps",
        "servers": plan["servers"],
        "balance": plan["balance"],
        "tls": plan["upstream_tls"],
        "token": "ours" if plan["oap_token"] else "client",
    }
    return [
        oaps,
        *(
            {
                "name": item["name"],
                "what": f"The service {item['name']}",
                "upstream": f"oap_proxy_service_{item['name']}",
                "servers": item["servers"],
                "balance": item["balance"],
                "tls": item["tls"],
                # Where the proxy demands a token, it is SkyWalking's and not this service's.
                "token": "none" if plan["tokens"] else "client",
            }
            for item in plan["services"]
        ),
    ]


def _sites(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the names that clients may ask for; SkyWalking has every other name too."""
    name = plan["tls"].get("server_name", "")
    return [
        {"name": "skywalking", "server_name": name, "certificate": {}},
        *(
            {key: item[key] for key in ("name", "server_name", "certificate")}
            for item in plan["services"]
            if item["server_name"]
        ),
    ]


def _certificate(plan: Mapping[str, Any], site: Mapping[str, Any]) -> str:
    own = site["certificate"] or plan["tls"]
    return str(own.get("certificate", ""))


def _access_lists(plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the access lists that say something, by the name of what they belong to."""
    named = [
        ("all", plan["access"]),
        *((item["name"], item["access"]) for item in plan["listeners"]),
        *((item["name"], item["access"]) for item in plan["services"]),
    ]
    return [{"name": name, **lists} for name, lists in named if lists["allow"] or lists["deny"]]


def _forced(
    classes: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Return every method that is known, the last of which falls into the location of all others.

    One of each location would not do: a snippet may shadow a single method.
    """
    methods = [f"/{one}".replace("*", "AnyMethod") for item in classes for one in item["methods"]]
    for item in services:
        if item["prefix"]:
            whole = item["prefix"].endswith("/")
            methods.append(item["prefix"] + ("AnyMethod" if whole else "Proof/AnyMethod"))
    return [*methods, UNKNOWN_METHOD]


def _refusals(
    plan: Mapping[str, Any], entry: Mapping[str, Any], address: str, site: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the calls that this listener must refuse to the host itself."""
    refusals = [{"method": BUS, "statuses": ["UNIMPLEMENTED"]}]
    source = _LOOPBACK.get(address, address)
    demands_certificate = entry["tls"] and plan["tls"].get("client_ca")
    if _shut_out(plan["access"], source) or _shut_out(entry["access"], source):
        refusals.append({"method": HEALTH, "statuses": ["PERMISSION_DENIED"]})
    elif demands_certificate or plan["tokens"]:
        refusals.append({"method": HEALTH, "statuses": ["UNAUTHENTICATED"]})
    elif plan["unknown"] == "reject" and site["name"] == "skywalking":
        refusals.append({"method": UNKNOWN_METHOD, "statuses": ["UNIMPLEMENTED"]})
    return refusals


def _shut_out(lists: Mapping[str, Sequence[str]], address: str) -> bool:
    """Tell whether an access list keeps an address out."""
    parsed = ipaddress.ip_address(address)

    def within(networks: Sequence[str]) -> bool:
        return any(parsed in ipaddress.ip_network(network) for network in networks)

    return within(lists["deny"]) or bool(lists["allow"] and not within(lists["allow"]))
