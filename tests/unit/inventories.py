"""Inventories that are right but for what a test sets, and what is read of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import (
    read,
    read_secrets,
)
from hypothesis import strategies as st

from tests.hosts import pki

ROLE = Path(__file__).parents[2] / "roles" / "grpc_proxy"
SETTINGS: dict[str, Any] = yaml.safe_load((ROLE / "defaults" / "main.yml").read_text())
CLASSES: list[dict[str, Any]] = yaml.safe_load((ROLE / "vars" / "methods.yml").read_text())[
    "__grpc_proxy_classes"
]
HOSTS: dict[str, dict[str, Any]] = {
    "oap1": {"oap_address": "10.0.0.11"},
    "oap2": {"oap_address": "10.0.0.12"},
}
SATELLITES: dict[str, dict[str, Any]] = {
    "sat1": {"ansible_host": "10.0.1.1"},
    "sat2": {"ansible_host": "10.0.1.2"},
}
SERVICE: dict[str, Any] = {
    "name": "shop",
    "prefix": "/shop.v1.",
    "servers": [{"address": "10.0.2.1", "port": 9090}],
}
TLS_LISTEN = [{"port": 11800, "tls": True}]


def arguments(
    hosts: dict[str, dict[str, Any]] | None = None,
    ipv6: bool = True,
    on_host: dict[str, str] | None = None,
    changed: dict[str, Any] | None = None,
    **settings: Any,
) -> tuple[Any, ...]:
    """Return what the filters take, right but for what is given."""
    found = HOSTS if hosts is None else hosts
    return (
        {**SETTINGS, **settings, **(changed or {})},
        "proxy1",
        {"skywalking_oap": list(found), "satellites": list(SATELLITES), "nobody": []},
        {**found, **SATELLITES},
        ipv6,
        CLASSES,
        on_host or {},
    )


def reading(*given: Any, **settings: Any) -> dict[str, Any]:
    """Read an inventory that is right but for what is given."""
    return read(*arguments(*given, **settings))


def secrets(*given: Any, **settings: Any) -> dict[str, Any]:
    """Return what no one may see of such an inventory."""
    return read_secrets(*arguments(*given, **settings))


def one(**variables: Any) -> dict[str, dict[str, Any]]:
    """An inventory with a right OAP and another that has these variables."""
    return {"oap1": HOSTS["oap1"], "oap2": {**HOSTS["oap2"], **variables}}


def complaint(*given: Any, **settings: Any) -> str:
    """Return the one complaint there is, a sentence on one line."""
    (found,) = reading(*given, **settings)["complaints"]
    text = str(found)
    assert text.endswith((".", "...")), text
    assert text.isprintable(), text
    return text


def clean(value: Any) -> bool:
    """Tell whether nothing in a value could end a word or a directive of nginx."""
    return not any(
        char in set(";{}\"'$\\#") or char.isspace() or not char.isprintable() for char in str(value)
    )


def complains(plan: dict[str, Any], host: str, variable: str) -> bool:
    """Tell whether a complaint names host and variable."""
    return any(text.startswith(f"{host}: {variable}") for text in plan["complaints"])


RIGHT = ["10.0.0.1", "oap.example", "11800", "1024", "20", "5s", "true", "up", "ip_hash", "oap-1"]
TEXTS = (
    st.text(max_size=12)
    | st.text("a1.:-_;{}\"'$\\ \n\t%[]/", max_size=12)
    | st.builds(
        "".join,
        st.tuples(st.sampled_from(RIGHT), st.sampled_from(["", "\n", " ", ";", "\u2003", "\0"])),
    )
)
"""Text that is right, nearly right, or made to change a configuration."""


# Keys and certificates

_made_authority = cache(pki.authority)


@cache
def _made_server(names: tuple[str, ...], validity: pki.Validity) -> pki.Identity:
    return authority().server(*names, validity=validity)


def authority(name: str = "root") -> pki.Authority:
    """Return the authority of this name, the same one every time."""
    return _made_authority(name)


def server(*names: str, validity: pki.Validity = "now") -> pki.Identity:
    """Return what a server of these names shows, the same every time."""
    return _made_server(names or ("proxy.example",), validity)


def listener_tls(**changed: Any) -> dict[str, Any]:
    """Return a grpc_proxy_tls that is right but for what is given."""
    shown = server()
    return {"certificate": shown.certificate, "private_key": shown.private_key, **changed}


def upstream_tls(**changed: Any) -> dict[str, Any]:
    """Return a grpc_proxy_upstream_tls that is right but for what is given."""
    return {"enabled": True, "ca": authority().certificate, "name": "oap.example", **changed}
