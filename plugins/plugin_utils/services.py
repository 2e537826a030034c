# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the further gRPC services that share the endpoint with SkyWalking."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.access import read_access
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.certificates import Material
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.limits import (
    read_rate_limits,
    read_size,
    read_stream_limits,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import (
    DURATION,
    Reader,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.servers import (
    read_balance,
    read_group,
    read_list,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.tls import (
    read_server_name,
    read_upstream_tls,
)

LISTENER_NAME = re.compile(r"listen_[0-9]+")
SERVICE_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")
PREFIX = re.compile(r"/([A-Za-z0-9_]+\.)+|/([A-Za-z0-9_]+\.)*[A-Za-z0-9_]+/")
TAG = re.compile("[A-Za-z0-9._-]{1,64}")
TAKEN = ("skywalking", "all", "default", "hostnames", "include", "volatile")
"""Names of the configuration itself, and words that nginx's maps read in their own way."""


class ServiceReader:
    """Reads ``grpc_proxy_services``.

    :param methods: paths of all methods that are SkyWalking's, which no prefix may shadow.
    :param groups: hosts by inventory group.
    :param hostvars: variables of every host.
    :param on_host: certificates that the user keeps on the host, by path.
    :param settings: ``dates`` as in :class:`Material`, ``tls`` and ``tokens``, whether there are
        any, and ``kinds``, the kinds of SkyWalking's methods.
    """

    def __init__(
        self,
        reader: Reader,
        methods: Sequence[str],
        groups: Mapping[str, Sequence[str]],
        hostvars: Mapping[str, Any],
        on_host: Mapping[str, str],
        settings: Mapping[str, Any],
    ) -> None:
        self.reader = reader
        self.methods = methods
        self.groups = groups
        self.hostvars = hostvars
        self.on_host = on_host
        self.dates = settings["dates"]
        self.tls = settings["tls"]
        self.tokens = settings["tokens"]
        self.kinds = settings["kinds"]

    def read(self, value: Any) -> list[dict[str, Any]]:
        """Return the services, each with its pool of servers."""
        services = [
            self._service(f"grpc_proxy_services[{index}]", given)
            for index, given in enumerate(self.reader.dictionaries("grpc_proxy_services", value))
        ]
        self._refuse_twins(services)
        return services

    def _service(self, variable: str, given: Mapping[str, Any]) -> dict[str, Any]:
        reader = self.reader
        name = str(given.get("name"))
        if not SERVICE_NAME.fullmatch(name):
            reader.complain(
                f"{variable}.name", given.get("name"), "lower-case letters, digits and '_' only."
            )
        elif name in (*TAKEN, *self.kinds) or LISTENER_NAME.fullmatch(name):
            reader.complain(
                f"{variable}.name", name, "the configuration calls something else so; take another."
            )
        servers = self._servers(variable, name, given)
        timeout = given.get("timeout", "1h")
        return {
            "name": name,
            "prefix": self._prefix(variable, given),
            "server_name": read_server_name(
                reader, f"{variable}.server_name", given.get("server_name")
            ),
            "certificate": self._certificate(variable, name, given),
            "servers": servers,
            "balance": read_balance(
                reader, f"{variable}.balance", given.get("balance", "round_robin"), servers
            ),
            "tls": read_upstream_tls(
                reader, f"{variable}.tls", reader.dictionary(f"{variable}.tls", given.get("tls")),
                f"upstream-{name}", self.on_host, self.dates,
            ),
            "access": read_access(reader, f"{variable}.", given),
            "rate_limits": read_rate_limits(
                reader, f"{variable}.rate_limit", given.get("rate_limit"), [name], self.tokens,
                f"rate_{name}",
            ),
            "stream_limits": read_stream_limits(
                reader, f"{variable}.connection_limit", given.get("connection_limit"), [name],
                self.tokens, f"conn_{name}",
            ),
            "body": read_size(reader, f"{variable}.body_limit", given.get("body_limit", 0)),
            "timeout": reader.matching(
                f"{variable}.timeout", timeout, DURATION, "give a time such as 500ms, 5s or 1h."
            ),
            "tag": self._tag(f"{variable}.tag", given["tag"]) if "tag" in given else name,
        }  # fmt: skip

    def _tag(self, variable: str, value: Any) -> str:
        return self.reader.matching(variable, value, TAG, "letters, digits, '.', '_' and '-' only.")

    def _servers(self, variable: str, name: str, given: Mapping[str, Any]) -> list[dict[str, Any]]:
        group, listed = given.get("group"), given.get("servers")
        if bool(group) == bool(listed):
            self.reader.refuse(variable, "needs one of group and servers, and not both.")
            return []
        if listed:
            return read_list(self.reader, f"{variable}.servers", name, listed)
        port = self.reader.integer(f"{variable}.port", given.get("port"), 1, 65535)
        hosts = self.groups.get(str(group), ())
        if port is None:
            return []
        found = read_group(self.reader, f"{variable}.group", str(group), hosts, self.hostvars, port)
        return [{**item, "name": f"{name}-{item['name']}"} for item in found]

    def _prefix(self, variable: str, given: Mapping[str, Any]) -> str:
        prefix = given.get("prefix")
        if bool(prefix) == bool(given.get("server_name")):
            self.reader.refuse(variable, "needs one of prefix and server_name, and not both.")
            return ""
        if not prefix:
            return ""
        if not isinstance(prefix, str) or not PREFIX.fullmatch(prefix):
            self.reader.complain(
                f"{variable}.prefix", prefix, "give /package.Service/ or /package. as in the path."
            )
            return ""
        # The bus is closed in any spelling, so case tells nothing apart here.
        asked = prefix.lower()
        for method in self.methods:
            known = method.lower()
            if known.startswith(asked) or asked.startswith(known.rpartition("/")[0] + "/"):
                self.reader.complain(
                    f"{variable}.prefix",
                    prefix,
                    f"it would shadow {method}, which is not for services.",
                )
                return ""
        return prefix

    def _certificate(self, variable: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the certificate that this service's server name is served with."""
        material = Material(
            self.reader, variable, given, f"service-{name}", self.on_host, self.dates
        )
        found: dict[str, Any] = {
            "certificate": material.place("certificate"),
            "private_key": material.place("private_key", secret=True),
        }
        if not found["certificate"] and not found["private_key"]:
            return {}
        if not found["certificate"] or not found["private_key"]:
            self.reader.refuse(
                variable, "has one of certificate and private_key; give both, or none."
            )
        elif not given.get("server_name"):
            self.reader.refuse(f"{variable}.certificate", "needs a server_name to be chosen by.")
        elif not self.tls:
            self.reader.refuse(
                f"{variable}.certificate", "is given, but no entry of grpc_proxy_listen has tls."
            )
        material.judge_pair(str(given.get("server_name") or ""))
        return {**found, "files": material.files, "secrets": material.secrets}

    def _refuse_twins(self, services: Sequence[Mapping[str, Any]]) -> None:
        for key in ("name", "prefix", "server_name"):
            seen: set[str] = set()
            for index, item in enumerate(services):
                if item[key] and item[key] in seen:
                    self.reader.complain(
                        f"grpc_proxy_services[{index}].{key}", item[key], "another one has it."
                    )
                seen.add(item[key])
