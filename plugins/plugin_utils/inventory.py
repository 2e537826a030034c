# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads all that people set for one proxy, and says in one sentence each what cannot work."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.access import (
    as_literal,
    as_pattern,
    read_access,
    read_token,
    read_tokens,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.access_log import read_access_log
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.arrangement import (
    BUS,
    UNKNOWN_METHOD,
    arrange,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.bridge import (
    NO_IPV6,
    is_bridge,
    read_network,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.certificates import (
    Material,
    is_readable,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.containers import (
    read_container,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.limits import (
    read_rate_limits,
    read_sizes,
    read_stream_limits,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.listeners import read_listeners
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.packages import read_package
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import DURATION, Reader
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.resolver import read_resolver
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.servers import (
    read_balance,
    read_group,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.services import ServiceReader
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.tls import (
    read_listener_tls,
    read_upstream_tls,
)

GENERATION = re.compile(r"previous|[0-9a-f]{12}")
INSTANCE_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]")
DURATIONS = (
    "grpc_proxy_connect_timeout",
    "grpc_proxy_answer_timeout",
    "grpc_proxy_stream_timeout",
    "grpc_proxy_drain_timeout",
)
COUNTS = {
    "grpc_proxy_worker_processes": (1, 512),
    "grpc_proxy_worker_connections": (64, 1000000),
    "grpc_proxy_keep_generations": (2, 1000),
    "grpc_proxy_proof_timeout": (4, 600),
}
DATES = ("refuse", "warn")
UNKNOWN = ("pass", "reject")
CERTIFICATE = ("certificate_path",)


def read_snippets(reader: Reader, value: Any) -> None:
    """Hold that snippets are text; what they say is nginx's to judge, and the proof's."""
    if not isinstance(value, Mapping):
        reader.complain("grpc_proxy_snippets", value, "give a dictionary of main, http, server.")
        return
    for place, lines in value.items():
        if not isinstance(lines, str) or "\0" in lines:
            reader.complain(f"grpc_proxy_snippets.{place}", lines, "give lines of nginx as text.")


def paths_on_host(settings: Mapping[str, Any]) -> list[str]:
    """Return where the user keeps certificates on the host, so that they can be judged."""
    keys = ("certificate_path", "client_ca_path", "client_crl_path", "ca_path")
    places = [*_listener_places(settings), *_upstream_places(settings)]
    return sorted({path for place in places for path in _paths(place, keys)})


def loaded_from_host(
    settings: Mapping[str, Any], on_host: Mapping[str, str]
) -> list[dict[str, str]]:
    """Return the files that only a reload brings into effect, with a hash of what is in them.

    What listeners show is not among them: the proof compares it with the file.
    """
    shown = {path for one in _listener_places(settings) for path in _paths(one, CERTIFICATE)}
    return [
        {"path": path, "hash": hashlib.sha256(on_host[path].encode(errors="replace")).hexdigest()}
        for path in paths_on_host(settings)
        if path in on_host and path not in shown
    ]


def _listener_places(settings: Mapping[str, Any]) -> list[Any]:
    return [settings.get("grpc_proxy_tls"), *_services(settings)]


def _upstream_places(settings: Mapping[str, Any]) -> list[Any]:
    return [
        settings.get("grpc_proxy_upstream_tls"),
        *(item.get("tls") for item in _services(settings)),
    ]


def _services(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    given = settings.get("grpc_proxy_services")
    listed = given if isinstance(given, list) else [given]
    return [item for item in listed if isinstance(item, Mapping)]


def _paths(place: Any, keys: Sequence[str]) -> list[str]:
    found = [str(place.get(key) or "") for key in keys] if isinstance(place, Mapping) else []
    return [path for path in found if is_readable(path)]


class Inventory:
    """Everything that people set for one proxy, and what of the host it depends on.

    :param settings: the variables ``grpc_proxy_*`` of the proxy.
    :param host: inventory name of the proxy.
    :param groups: inventory names of hosts by group.
    :param hostvars: variables of every host.
    :param ipv6: whether the proxy has IPv6.
    :param classes: SkyWalking's methods by kind, as the role's variables know them.
    :param on_host: certificates that the user keeps on the host, by path.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        host: str,
        groups: Mapping[str, Sequence[str]],
        hostvars: Mapping[str, Any],
        ipv6: bool,
        classes: Sequence[Mapping[str, Any]],
        on_host: Mapping[str, str] | None = None,
    ) -> None:
        self.reader = Reader(host)
        self.given = settings
        self.groups = groups
        self.hostvars = hostvars
        self.ipv6 = ipv6
        self.classes = classes
        self.on_host = on_host or {}
        self.kinds = sorted({item["kind"] for item in classes} | {"others"})
        self.dates = self.reader.choice(
            "grpc_proxy_certificate_dates", settings["grpc_proxy_certificate_dates"], DATES
        )

    def read(self) -> dict[str, Any]:
        """Return what the templates say, with the content of keys in ``secrets`` still in it."""
        self._read_plain()
        group = str(self.given["grpc_proxy_oap_group"])
        servers = read_group(
            self.reader,
            "grpc_proxy_oap_group",
            group,
            self.groups.get(group, ()),
            self.hostvars,
        )
        listeners = self._read_listeners()
        wants_tls = any(item["tls"] for item in listeners)
        tokens = read_tokens(self.reader, self.given["grpc_proxy_token"])
        if self.given["grpc_proxy_oap_token"]:
            read_token(self.reader, "grpc_proxy_oap_token", self.given["grpc_proxy_oap_token"])
        if self.given["grpc_proxy_oap_token"] and not tokens:
            self.reader.warn(
                "grpc_proxy_oap_token",
                "is given without grpc_proxy_token: whoever reaches the proxy reaches the OAPs.",
            )
        services = ServiceReader(
            self.reader, paths_of(self.classes), self.groups, self.hostvars, self.on_host,
            {
                "dates": self.dates, "tls": wants_tls, "tokens": bool(tokens), "kinds": self.kinds,
            },
        ).read(self.given["grpc_proxy_services"])  # fmt: skip
        self._refuse_clashes(servers, services)
        given = self._dictionary("grpc_proxy_tls")
        tls = read_listener_tls(self.reader, given, wants_tls, self.on_host, self.dates)
        self._judge_server_names(given, tls, services)
        plan = {
            "package": read_package(self.reader, self.given),
            "servers": servers,
            "balance": read_balance(
                self.reader, "grpc_proxy_balance", self.given["grpc_proxy_balance"], servers
            ),
            "resolver": read_resolver(
                self.reader, self._dictionary("grpc_proxy_resolver"), self.ipv6
            ),
            "listeners": listeners,
            "tls": tls,
            "upstream_tls": read_upstream_tls(
                self.reader, "grpc_proxy_upstream_tls", self._dictionary("grpc_proxy_upstream_tls"),
                "upstream", self.on_host, self.dates,
            ),
            "tokens": tokens,
            "oap_token": bool(self.given["grpc_proxy_oap_token"]),
            "access": read_access(
                self.reader,
                "grpc_proxy_",
                {key: self.given[f"grpc_proxy_{key}"] for key in ("allow", "deny")},
            ),
            **self._read_limits(bool(tokens)),
            "unknown": self.reader.choice(
                "grpc_proxy_unknown_methods", self.given["grpc_proxy_unknown_methods"], UNKNOWN
            ),
            "log": read_access_log(
                self.reader,
                self._dictionary("grpc_proxy_access_log"),
                [*self.kinds, *(item["name"] for item in services)],
                str(self.given["grpc_proxy_name"]),
            ),
            "services": services,
            "loaded": loaded_from_host(self.given, self.on_host),
        }  # fmt: skip
        return {**plan, "network": read_network(self.reader, self.given, plan)}

    def _read_listeners(self) -> list[dict[str, Any]]:
        value = self.given["grpc_proxy_listen"]
        if self.ipv6 and is_bridge(self.given):
            return read_listeners(self.reader, value, ipv6=False, no_ipv6=NO_IPV6)
        return read_listeners(self.reader, value, self.ipv6)

    def _refuse_clashes(
        self, servers: Sequence[Mapping[str, Any]], services: Sequence[Mapping[str, Any]]
    ) -> None:
        """Refuse what a service and SkyWalking would both be called in the configuration."""
        oaps = {item["name"].lower(): item["name"] for item in servers}
        for index, service in enumerate(services):
            for server in service["servers"]:
                oap = oaps.get(server["name"].lower())
                if oap:
                    remedy = f"with it, a server of the service is called like the OAP {oap}."
                    variable = f"grpc_proxy_services[{index}].name"
                    self.reader.complain(variable, service["name"], remedy)

    def _judge_server_names(
        self,
        given: Mapping[str, Any],
        tls: Mapping[str, Any],
        services: Sequence[Mapping[str, Any]],
    ) -> None:
        """Refuse the name of a service that no certificate is for, or that is SkyWalking's."""
        # What is wrong with the certificate itself has been told.
        aside = Reader(self.reader.host)
        material = Material(aside, "grpc_proxy_tls", given, "", self.on_host, self.dates)
        for index, service in enumerate(services if tls else ()):
            name, variable = service["server_name"], f"grpc_proxy_services[{index}].server_name"
            if name and name == tls["server_name"]:
                self.reader.complain(variable, name, "it is that of grpc_proxy_tls already.")
            elif name and not service["certificate"] and not material.covers(name):
                remedy = "the certificate of grpc_proxy_tls is not for it; give one that is."
                self.reader.complain(variable, name, remedy)

    def _dictionary(self, variable: str) -> Mapping[str, Any]:
        return self.reader.dictionary(variable, self.given[variable])

    def _read_plain(self) -> None:
        """Hold what reaches a template as it is."""
        name = str(self.given["grpc_proxy_name"])
        if not INSTANCE_NAME.fullmatch(name) or name == "nginx":
            self.reader.complain(
                "grpc_proxy_name", name, "lower-case letters, digits and '-', and not 'nginx'."
            )
        for variable in DURATIONS:
            self.reader.matching(
                variable, self.given[variable], DURATION, "give a time such as 500ms, 5s or 1h."
            )
        self.reader.matching(
            "grpc_proxy_generation",
            self.given["grpc_proxy_generation"],
            GENERATION,
            "give 'previous', or an id that playbooks/generations.yml lists.",
        )
        for variable, (low, high) in COUNTS.items():
            self.reader.integer(variable, self.given[variable], low, high)
        read_snippets(self.reader, self.given["grpc_proxy_snippets"])
        read_container(self.reader, self.given)

    def _read_limits(self, tokens: bool) -> dict[str, Any]:
        return {
            "rate_limits": read_rate_limits(
                self.reader,
                "grpc_proxy_rate_limit",
                self.given["grpc_proxy_rate_limit"],
                self.kinds,
                tokens,
            ),
            "stream_limits": read_stream_limits(
                self.reader,
                "grpc_proxy_connection_limit",
                self.given["grpc_proxy_connection_limit"],
                self.kinds,
                tokens,
            ),
            "body": read_sizes(
                self.reader,
                "grpc_proxy_body_limit",
                self.given["grpc_proxy_body_limit"],
                self.kinds,
            ),
        }


def paths_of(classes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the paths of SkyWalking's methods, those of old agents and the proxy's own too."""
    paths = [f"/{method}" for item in classes for method in item["methods"]]
    old = [path.replace("/skywalking.v3.", "/") for path in paths]
    return sorted({*paths, *old, BUS, UNKNOWN_METHOD})


def read(*arguments: Any) -> dict[str, Any]:
    """Return what the templates say of one proxy, without anything secret.

    :param arguments: those of :class:`Inventory`.
    :returns: ``complaints`` and ``warnings``; without complaints all the rest, and ``files``,
        certificates to be written.
    """
    inventory = Inventory(*arguments)
    whole = inventory.read()
    told = {"complaints": inventory.reader.complaints, "warnings": inventory.reader.warnings}
    if inventory.reader.complaints:
        # What is refused may be anything: a key in the place of a name, say.
        return told
    files = _gather(whole, "files")
    whole.update(arrange(whole, inventory.classes))
    plan: dict[str, Any] = _public(whole)
    plan["token_names"] = [item["name"] for item in plan.pop("tokens")]
    return {**plan, "files": files, **told}


def read_secrets(*arguments: Any) -> dict[str, Any]:
    """Return what no one may see: keys to be written, and tokens as the templates need them."""
    inventory = Inventory(*arguments)
    whole = inventory.read()
    return {
        "files": _gather(whole, "secrets"),
        "tokens": [
            {"name": item["name"], "pattern": as_pattern(item["token"])} for item in whole["tokens"]
        ],
        "literal": as_literal(str(inventory.given["grpc_proxy_oap_token"] or "")),
    }


def _gather(value: Any, key: str) -> list[dict[str, str]]:
    """Return the files that are noted anywhere in a plan."""
    if isinstance(value, list):
        return [file for item in value for file in _gather(item, key)]
    if not isinstance(value, dict):
        return []
    deeper = [item for name, item in value.items() if not _holds_files(name, item)]
    own = value.get(key, ())
    return [*(own if _holds_files(key, own) else ()), *_gather(deeper, key)]


def _holds_files(name: str, value: Any) -> bool:
    """Tell files from what a service is called."""
    return name in ("files", "secrets") and isinstance(value, list)


def _public(value: Any) -> Any:
    """Return a plan without the content of its files."""
    if isinstance(value, list):
        return [_public(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: _public(item) for name, item in value.items() if not _holds_files(name, item)}
