# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what people set, and says in one sentence each what cannot work.

Everything that reaches a template passes through here: what is not plainly a name, an
address, a number or a time is refused, so that no value can change the configuration
around it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
INSTANCE_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
HOST_NAME = re.compile(r"(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
DURATION = re.compile(r"[1-9][0-9]{0,8}(ms|s|m|h|d)")
METADATA = re.compile(r"metadata:([a-z0-9]([a-z0-9-]*[a-z0-9])?)")

METHODS = ("round_robin", "least_conn", "random_two_least_conn", "ip_hash", "hash")
HASH_KEYS = {"client_address": "$remote_addr", "method": "$uri", "authority": "$host"}
WITHOUT_BACKUP = ("random_two_least_conn", "ip_hash", "hash")
DURATIONS = (
    "grpc_proxy_connect_timeout",
    "grpc_proxy_answer_timeout",
    "grpc_proxy_stream_timeout",
    "grpc_proxy_drain_timeout",
)
COUNTS = {
    "grpc_proxy_worker_connections": (64, 1000000),
    "grpc_proxy_keep_generations": (2, 1000),
    "grpc_proxy_proof_timeout": (4, 600),
}
_STATES = ("up", "drain")


class Reader:
    """Collects complaints while it reads.

    :param host: inventory name of the proxy, named in each complaint about its variables.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.complaints: list[str] = []

    def complain(self, variable: str, value: Any, remedy: str, host: str = "") -> None:
        """Note one complaint: host, variable, value, and what would do."""
        self.complaints.append(f"{host or self.host}: {variable} is {value!r}; {remedy}")

    def integer(self, variable: str, value: Any, low: int, high: int, host: str = "") -> int | None:
        """Return a whole number within bounds, or complain."""
        text = str(value)
        whole = not isinstance(value, bool) and re.fullmatch(r"-?[0-9]{1,12}", text)
        if whole and low <= int(text) <= high:
            return int(text)
        self.complain(variable, value, f"give a whole number from {low} to {high}.", host)
        return None

    def boolean(self, variable: str, value: Any, host: str) -> bool:
        """Return a truth value as Ansible's inventories write it, or complain."""
        text = str(value).lower()
        if text not in ("true", "false", "yes", "no", "1", "0"):
            self.complain(variable, value, "give true or false.", host)
        return text in ("true", "yes", "1")


def address_of(value: Any) -> str | None:
    """Return an address or a host name that may stand in a configuration, else None."""
    text = value if isinstance(value, str) else ""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        numeric = re.fullmatch(r"[0-9.]+", text)
        # nginx takes "unix" for the beginning of a socket's path.
        name = HOST_NAME.fullmatch(text) and text.lower() != "unix"
        return text if name and not numeric else None
    return None if parsed.is_unspecified or parsed.is_multicast or "%" in text else str(parsed)


def is_name(address: str) -> bool:
    """Tell whether an address is a host name, to be resolved on the proxy."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return True
    return False


def endpoint(address: str, port: int) -> str:
    """Return address and port as nginx writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def read_server(reader: Reader, name: str, host: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return one OAP of the inventory, or None after a complaint."""
    before = len(reader.complaints)
    if not NAME.fullmatch(name):
        reader.complain("its name", name, "letters, digits, '.', '_' and '-' only.", name)
    set_ones = [key for key in ("oap_address", "ansible_host") if host.get(key) is not None]
    source = set_ones[0] if set_ones else "its name"
    given = host[source] if set_ones else name
    address = address_of(given)
    if address is None:
        remedy = "set oap_address to an address or a name that the proxy can reach."
        reader.complain(source, given, remedy, name)
    port = reader.integer("oap_port", host.get("oap_port", 11800), 1, 65535, name)
    weight = reader.integer("oap_weight", host.get("oap_weight", 1), 1, 1000, name)
    conns = reader.integer("oap_max_conns", host.get("oap_max_conns", 0), 0, 1000000, name)
    backup = reader.boolean("oap_backup", host.get("oap_backup", False), name)
    state = host.get("oap_state", "up")
    if state not in _STATES:
        reader.complain("oap_state", state, f"choose one of {', '.join(_STATES)}.", name)
    if len(reader.complaints) > before or address is None or port is None:
        return None
    return {
        "name": name,
        "address": address,
        "port": port,
        "endpoint": endpoint(address, port),
        "resolve": is_name(address),
        "weight": weight,
        "max_conns": conns,
        "backup": backup,
        "state": str(state),
    }


def read_servers(
    reader: Reader, group: str, names: Sequence[str], hostvars: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the OAPs of the group, those that are usable."""
    if not NAME.fullmatch(group):
        reader.complain("grpc_proxy_oap_group", group, "letters, digits, '.', '_' and '-' only.")
    elif not names:
        reader.complain(
            "grpc_proxy_oap_group", group, "the inventory has no host in this group; add the OAPs."
        )
    before = len(reader.complaints)
    found = [read_server(reader, str(name), hostvars[name]) for name in names]
    servers = [item for item in found if item is not None]
    seen: dict[str, str] = {}
    called: dict[str, str] = {}
    for item in servers:
        other = seen.setdefault(item["endpoint"], item["name"])
        if other != item["name"]:
            remedy = f"{other} has the same address and port; give each OAP its own."
            reader.complain("oap_address", item["endpoint"], remedy, item["name"])
        twin = called.setdefault(item["name"].lower(), item["name"])
        if twin != item["name"]:
            remedy = f"nginx does not tell it from {twin}; names must differ by more than case."
            reader.complain("its name", item["name"], remedy, item["name"])
    usable = [item for item in servers if item["state"] == "up" and not item["backup"]]
    if servers and not usable and len(reader.complaints) == before:
        reader.complain(
            "grpc_proxy_oap_group",
            group,
            "every OAP in it has oap_state drain or oap_backup; leave one up to take calls.",
        )
    return servers


def read_balance(
    reader: Reader, value: Any, servers: Sequence[Mapping[str, Any]]
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
            reader.complain(
                "grpc_proxy_balance.hash", given, f"choose one of {keys}, or metadata:NAME."
            )
    elif method == "hash" or not isinstance(method, str) or method not in METHODS:
        known = ", ".join(METHODS[:-1])
        reader.complain(
            "grpc_proxy_balance", value, f"choose one of {known}, or {{hash: client_address}}."
        )
    if method in WITHOUT_BACKUP:
        for item in servers:
            if item["backup"]:
                remedy = f"nginx knows no backup with {method}; take another grpc_proxy_balance."
                reader.complain("oap_backup", True, remedy, item["name"])
    return {"method": str(method), "key": key or ""}


def read_listeners(reader: Reader, value: Any, ipv6: bool) -> list[list[dict[str, Any]]]:
    """Return for each entry of grpc_proxy_listen the sockets that it stands for.

    An entry without an address listens on all addresses, of IPv6 too where the host has it.
    """
    entries: list[list[dict[str, Any]]] = []
    seen: dict[tuple[str, int], int] = {}
    listed = isinstance(value, list) and all(isinstance(item, Mapping) for item in value)
    if not value or not listed:
        reader.complain("grpc_proxy_listen", value, "give a list such as [{port: 11800}].")
        return entries
    for index, item in enumerate(value):
        variable = f"grpc_proxy_listen[{index}]"
        port = reader.integer(f"{variable}.port", item.get("port"), 1, 65535)
        addresses = _listen_addresses(reader, variable, item.get("address"), ipv6)
        sockets = []
        for address in addresses if port is not None else ():
            other = seen.setdefault((address, port or 0), index)
            if other != index:
                remedy = f"grpc_proxy_listen[{other}] listens there already; leave one out."
                reader.complain(variable, endpoint(address, port or 0), remedy)
            sockets.append({"address": address, "port": port})
        entries.append(sockets)
    return entries


def _listen_addresses(reader: Reader, variable: str, value: Any, ipv6: bool) -> list[str]:
    if value in (None, ""):
        return ["0.0.0.0", "::"] if ipv6 else ["0.0.0.0"]
    try:
        parsed = ipaddress.ip_address(str(value))
    except ValueError:
        reader.complain(f"{variable}.address", value, "give an IPv4 or IPv6 address of the host.")
        return []
    if "%" in str(value) or parsed.is_multicast:
        reader.complain(f"{variable}.address", value, "give an address without a scope.")
        return []
    if parsed.version == 6 and not ipv6:
        reader.complain(f"{variable}.address", value, "this host has IPv6 switched off.")
        return []
    return [str(parsed)]


def read_snippets(reader: Reader, value: Any) -> None:
    """Hold that snippets are text; what they say is nginx's to judge, and the proof's."""
    if not isinstance(value, Mapping):
        reader.complain("grpc_proxy_snippets", value, "give a dictionary of main, http, server.")
        return
    for place, lines in value.items():
        if not isinstance(lines, str) or "\0" in lines:
            reader.complain(f"grpc_proxy_snippets.{place}", lines, "give lines of nginx as text.")


def read(
    settings: Mapping[str, Any],
    host: str,
    names: Sequence[str],
    hostvars: Mapping[str, Any],
    ipv6: bool,
) -> dict[str, Any]:
    """Read everything that people set for one proxy.

    :param settings: the variables ``grpc_proxy_*`` of the proxy.
    :param host: inventory name of the proxy.
    :param names: inventory names of the OAPs.
    :param hostvars: variables of every host.
    :param ipv6: whether the proxy has IPv6.
    :returns: ``servers``, ``balance``, ``listeners`` for the templates, and ``complaints``,
        which must be empty before any of the others is used.
    """
    reader = Reader(host)
    name = str(settings["grpc_proxy_name"])
    if not INSTANCE_NAME.fullmatch(name) or name == "nginx":
        reader.complain(
            "grpc_proxy_name", name, "lower-case letters, digits and '-', and not 'nginx'."
        )
    for variable in DURATIONS:
        if not DURATION.fullmatch(str(settings[variable])):
            reader.complain(variable, settings[variable], "give a time such as 500ms, 5s or 1h.")
    for variable, (low, high) in COUNTS.items():
        reader.integer(variable, settings[variable], low, high)
    servers = read_servers(reader, str(settings["grpc_proxy_oap_group"]), names, hostvars)
    balance = read_balance(reader, settings["grpc_proxy_balance"], servers)
    listeners = read_listeners(reader, settings["grpc_proxy_listen"], ipv6)
    read_snippets(reader, settings["grpc_proxy_snippets"])
    return {
        "servers": servers,
        "balance": balance,
        "listeners": listeners,
        "complaints": reader.complaints,
    }
