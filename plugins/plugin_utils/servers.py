# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads whom calls go to: the OAPs of the inventory, and how calls are spread over them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import (
    NAME,
    Reader,
    address_of,
    endpoint,
    is_name,
)

METHODS = ("round_robin", "least_conn", "random_two_least_conn", "ip_hash", "hash")
HASH_KEYS = {"client_address": "$remote_addr", "method": "$uri", "authority": "$host"}
METADATA = re.compile(r"metadata:([a-z0-9]([a-z0-9-]*[a-z0-9])?)")
WITHOUT_BACKUP = ("random_two_least_conn", "ip_hash", "hash")
STATES = ("up", "drain")
OF_OAP = ("oap_port", "oap_weight", "oap_max_conns", "oap_backup", "oap_state")
OF_LIST = ("port", "weight", "max_conns", "backup", "state")
OAP_PORT = 11800


def _read_options(
    reader: Reader, given: Mapping[str, Any], keys: Sequence[str], prefix: str, host: str, port: int
) -> dict[str, Any]:
    """Return how one server is used.

    :param keys: names of the five keys, those of an OAP's host or those of a list.
    :param prefix: what stands before a key in the name of a variable.
    :param port: the port where none is given.
    """
    at, weight, most, backup, state = keys
    return {
        "port": reader.integer(prefix + at, given.get(at, port), 1, 65535, host),
        "weight": reader.integer(prefix + weight, given.get(weight, 1), 1, 1000, host),
        "max_conns": reader.integer(prefix + most, given.get(most, 0), 0, 1000000, host),
        "backup": reader.boolean(prefix + backup, given.get(backup, False), host),
        "state": reader.choice(prefix + state, given.get(state, "up"), STATES, host),
    }


def _server(name: str, address: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "address": address,
        "endpoint": endpoint(address, options["port"]),
        "resolve": is_name(address),
        **options,
    }


def read_host(
    reader: Reader, name: str, host: Mapping[str, Any], port: int | None = None
) -> dict[str, Any] | None:
    """Return one host of the inventory as a server, or None after a complaint.

    :param port: port of another service on this host; that of its OAP when None.
    """
    before = len(reader.complaints)
    if not NAME.fullmatch(name):
        reader.complain("its name", name, "letters, digits, '.', '_' and '-' only.", name)
    set_ones = [key for key in ("oap_address", "ansible_host") if host.get(key) is not None]
    source = set_ones[0] if set_ones else "its name"
    place = host[source] if set_ones else name
    address = address_of(place)
    if address is None:
        remedy = "set oap_address to an address or a name that the proxy can reach."
        reader.complain(source, place, remedy, name)
    given = host if port is None else {**host, "oap_port": port}
    options = _read_options(reader, given, OF_OAP, "", name, OAP_PORT)
    if len(reader.complaints) > before or address is None:
        return None
    return _server(name, address, options)


def read_listed(reader: Reader, variable: str, name: str, given: Any) -> dict[str, Any] | None:
    """Return one server that is given by address and port, or None after a complaint."""
    before = len(reader.complaints)
    if not isinstance(given, Mapping):
        reader.complain(variable, given, "give a dictionary with address and port.")
        return None
    address = address_of(given.get("address"))
    if address is None:
        remedy = "give an address or a name that the proxy can reach."
        reader.complain(f"{variable}.address", given.get("address"), remedy)
    options = _read_options(reader, {"port": None, **given}, OF_LIST, f"{variable}.", "", 0)
    if len(reader.complaints) > before or address is None:
        return None
    return _server(name, address, options)


def read_group(
    reader: Reader,
    variable: str,
    group: str,
    names: Sequence[str],
    hostvars: Mapping[str, Any],
    port: int | None = None,
) -> list[dict[str, Any]]:
    """Return the hosts of an inventory group as servers, those that are usable."""
    if not NAME.fullmatch(group):
        reader.complain(variable, group, "letters, digits, '.', '_' and '-' only.")
    elif not names:
        reader.complain(variable, group, "the inventory has no host in this group; add some.")
    before = len(reader.complaints)
    found = [read_host(reader, str(name), hostvars[name], port) for name in names]
    servers = [item for item in found if item is not None]
    _refuse_twins(reader, "oap_address", servers, of_inventory=True)
    if len(reader.complaints) == before:
        _refuse_none_left(reader, variable, group, servers)
    return servers


def read_list(reader: Reader, variable: str, name: str, given: Any) -> list[dict[str, Any]]:
    """Return servers that are listed by address and port, those that are usable."""
    if not isinstance(given, list) or not given:
        reader.complain(variable, given, "give a list such as [{address: 10.0.0.5, port: 9090}].")
        return []
    before = len(reader.complaints)
    found = [
        read_listed(reader, f"{variable}[{index}]", f"{name}-{index}", item)
        for index, item in enumerate(given)
    ]
    servers = [item for item in found if item is not None]
    _refuse_twins(reader, variable, servers, of_inventory=False)
    if len(reader.complaints) == before:
        _refuse_none_left(reader, variable, name, servers)
    return servers


def _refuse_twins(
    reader: Reader, variable: str, servers: Sequence[Mapping[str, Any]], of_inventory: bool
) -> None:
    """Refuse two servers that nginx, or a reader of its log, could not tell apart."""
    seen: dict[str, str] = {}
    called: dict[str, str] = {}
    for item in servers:
        host = item["name"] if of_inventory else ""
        other = seen.setdefault(item["endpoint"], item["name"])
        if other != item["name"]:
            remedy = f"{other} has the same address and port; give each its own."
            reader.complain(variable, item["endpoint"], remedy, host)
        twin = called.setdefault(item["name"].lower(), item["name"])
        if twin != item["name"]:
            remedy = f"nginx does not tell it from {twin}; names must differ by more than case."
            reader.complain("its name", item["name"], remedy, host)


def _refuse_none_left(
    reader: Reader, variable: str, name: str, servers: Sequence[Mapping[str, Any]]
) -> None:
    usable = [item for item in servers if item["state"] == "up" and not item["backup"]]
    if servers and not usable:
        remedy = "every server in it has the state drain or is a backup; leave one up."
        reader.complain(variable, name, remedy)


def read_balance(
    reader: Reader, variable: str, value: Any, servers: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Return the balancing method and its hash key."""
    method, key = value, None
    if isinstance(value, Mapping) and list(value) == ["hash"]:
        method, given = "hash", str(value["hash"])
        metadata = METADATA.fullmatch(given)
        key = HASH_KEYS.get(given)
        if metadata:
            key = "$http_" + metadata.group(1).replace("-", "_")
        if key is None:
            keys = ", ".join(HASH_KEYS)
            reader.complain(f"{variable}.hash", given, f"choose one of {keys}, or metadata:NAME.")
    elif method == "hash" or not isinstance(method, str) or method not in METHODS:
        known = ", ".join(METHODS[:-1])
        reader.complain(variable, value, f"choose one of {known}, or {{hash: client_address}}.")
    if method in WITHOUT_BACKUP:
        for item in servers:
            if item["backup"]:
                remedy = f"nginx knows no backup with it, and {item['name']} is one."
                reader.complain(variable, value, remedy)
    return {"method": str(method), "key": key or ""}
