# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads TLS: what the listeners show and demand, and how the OAPs are reached."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.certificates import Material
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import (
    HOST_NAME,
    Reader,
    address_of,
    is_name,
)

PROFILES = ("intermediate", "modern")
CLIENT_NAME = re.compile(r"[A-Za-z0-9*_][A-Za-z0-9 ._@*-]{0,62}[A-Za-z0-9_]|[A-Za-z0-9]")


def read_listener_tls(
    reader: Reader, given: Mapping[str, Any], wanted: bool, on_host: Mapping[str, str], dates: str
) -> dict[str, Any]:
    """Return what a TLS listener shows and demands; empty without any.

    :param given: ``grpc_proxy_tls``.
    :param wanted: whether a listener asks for TLS.
    """
    variable = "grpc_proxy_tls"
    material = Material(reader, variable, given, "listener", on_host, dates)
    found: dict[str, Any] = {
        "certificate": material.place("certificate"),
        "private_key": material.place("private_key", secret=True),
        "client_ca": material.place("client_ca"),
        "client_crl": material.place("client_crl"),
        "client_names": _client_names(reader, given.get("client_names")),
        "profile": reader.choice(
            f"{variable}.profile", given.get("profile", PROFILES[0]), PROFILES
        ),
        "server_name": read_server_name(
            reader, f"{variable}.server_name", given.get("server_name")
        ),
    }
    for key in ("certificate", "private_key"):
        if not found[key] and (wanted or any(found[one] for one in ("client_ca", "client_crl"))):
            reader.refuse(
                f"{variable}.{key}", f"is missing; give it, or {key}_path, for a listener with tls."
            )
    for key in ("client_names", "client_crl"):
        if found[key] and not found["client_ca"]:
            reader.refuse(
                f"{variable}.{key}", "is given without client_ca, so no client would be verified."
            )
    if given and not wanted:
        reader.refuse(variable, "is given, but no entry of grpc_proxy_listen has tls: true.")
    material.judge_pair(found["server_name"])
    material.judge_authorities("client_ca")
    material.judge_revocations("client_crl", "client_ca")
    return {**found, "files": material.files, "secrets": material.secrets} if wanted else {}


def read_upstream_tls(
    reader: Reader, variable: str, given: Mapping[str, Any], folder: str,
    on_host: Mapping[str, str], dates: str,
) -> dict[str, Any]:  # fmt: skip
    """Return how servers are reached over TLS; empty where they are not."""
    if not given:
        return {}
    enabled = reader.boolean(f"{variable}.enabled", given.get("enabled", False))
    material = Material(reader, variable, given, folder, on_host, dates)
    found: dict[str, Any] = {
        "ca": material.place("ca"),
        "certificate": material.place("certificate"),
        "private_key": material.place("private_key", secret=True),
    }
    name = given.get("name") or ""
    # nginx compares it with the names in a certificate, never with the addresses.
    if name and (address_of(name) is None or not is_name(name)):
        reader.complain(f"{variable}.name", name, "give the name in the servers' certificate.")
    if not enabled:
        others = sorted(str(key) for key in given if key != "enabled")
        if others:
            reader.refuse(
                variable, f"has {', '.join(others)} but not enabled: true; nothing would use it."
            )
        return {}
    if not found["ca"]:
        reader.refuse(
            f"{variable}.ca",
            "is missing; without it the servers would not be verified, which is never done.",
        )
    if not name:
        reader.refuse(
            f"{variable}.name", "is missing; give the name that the servers' certificate bears."
        )
    if bool(found["certificate"]) != bool(found["private_key"]):
        reader.refuse(variable, "has one of certificate and private_key; give both, or none.")
    material.judge_pair()
    material.judge_authorities("ca")
    return {
        **found,
        "name": str(name).rstrip("."),
        "files": material.files,
        "secrets": material.secrets,
    }


def read_server_name(reader: Reader, variable: str, value: Any) -> str:
    """Return the name that clients ask a server by; empty when none is given."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or not HOST_NAME.fullmatch(value):
        reader.complain(variable, value, "give a host name.")
        return ""
    # Clients ask without the dot at the end.
    return value.lower().removesuffix(".")


def _client_names(reader: Reader, value: Any) -> list[str]:
    variable = "grpc_proxy_tls.client_names"
    if value in (None, "", []):
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        reader.complain(variable, value, "give a list of the common names that may call.")
        return []
    for name in value:
        if not isinstance(name, str) or not CLIENT_NAME.fullmatch(name) or "*" in name:
            reader.complain(variable, name, "give common names of letters, digits and '._@-'.")
    return [str(name) for name in value]
