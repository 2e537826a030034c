"""Where the proxy listens."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.listeners import read_listeners
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inventories import TEXTS, clean, complains, reading


@pytest.mark.parametrize(
    ("item", "variable", "remedy"),
    [
        ({}, ".port", "from 1 to 65535"),
        ({"port": 0}, ".port", "from 1 to 65535"),
        ({"port": "11800 ssl"}, ".port", "from 1 to 65535"),
        ({"port": 1, "address": "localhost"}, ".address", "an IPv4 or IPv6 address"),
        ({"port": 1, "address": "10.0.0.1; }"}, ".address", "an IPv4 or IPv6 address"),
        ({"port": 1, "address": "fe80::1%eth0"}, ".address", "without a scope"),
        ({"port": 1, "address": "224.0.0.1"}, ".address", "without a scope"),
        ({"port": 11800}, "", "grpc_proxy_listen[0] listens there already"),
        ({"port": 11800, "address": "::0"}, "", "grpc_proxy_listen[0] listens there already"),
    ],
)
def test_complaints_about_a_listener(item: dict[str, Any], variable: str, remedy: str) -> None:
    """Each names the entry of the list."""
    plan = reading(grpc_proxy_listen=[{"port": 11800}, item])
    assert plan["complaints"]
    for complaint in plan["complaints"]:
        assert complaint.startswith(f"proxy1: grpc_proxy_listen[1]{variable} is ")
        assert remedy in complaint


def test_listeners() -> None:
    """An entry without address is every address; single ones stand beside it."""
    listen = [{"port": 1}, {"port": 1, "address": "10.0.0.1"}, {"port": 2, "address": "::1"}]
    plan = reading(grpc_proxy_listen=listen)
    assert plan["complaints"] == []
    assert [[item["address"] for item in entry["sockets"]] for entry in plan["listeners"]] == [
        ["0.0.0.0", "::"],
        ["10.0.0.1"],
        ["::1"],
    ]


def test_a_host_without_ipv6() -> None:
    """Every address is those of IPv4 there, and an IPv6 address is refused."""
    plan = reading(ipv6=False, grpc_proxy_listen=[{"port": 1, "address": ""}])
    assert plan["listeners"][0]["sockets"] == [{"address": "0.0.0.0", "port": 1}]
    plan = reading(ipv6=False, grpc_proxy_listen=[{"port": 1, "address": "::1"}])
    (complaint,) = plan["complaints"]
    assert complaint.startswith("proxy1: grpc_proxy_listen[0].address is '::1'; ")
    assert "IPv6 switched off" in complaint


@given(text=TEXTS, key=st.sampled_from(["address", "port"]))
def test_no_listener_passes(text: str, key: str) -> None:
    """Either the entry is complained about, or address and port are clean."""
    plan = reading(grpc_proxy_listen=[{"port": 11800, key: text}])
    if not complains(plan, "proxy1", f"grpc_proxy_listen[0].{key}"):
        assert plan["complaints"] == []
        assert all(
            clean(value) for item in plan["listeners"][0]["sockets"] for value in item.values()
        )


def test_what_an_entry_says() -> None:
    """Each entry has its sockets, whether it speaks TLS, and an access list of its own."""
    reader = Reader("proxy1")
    entries = read_listeners(
        reader,
        [
            {"port": 1, "address": "10.0.0.1"},
            {"port": 2, "tls": "yes", "allow": ["10.0.0.0/8"], "deny": "10.0.0.9"},
        ],
        ipv6=False,
    )
    assert reader.complaints == []
    assert entries == [
        {
            "name": "listen_0",
            "sockets": [{"address": "10.0.0.1", "port": 1}],
            "tls": False,
            "access": {"allow": [], "deny": []},
        },
        {
            "name": "listen_1",
            "sockets": [{"address": "0.0.0.0", "port": 2}],
            "tls": True,
            "access": {"allow": ["10.0.0.0/8"], "deny": ["10.0.0.9/32"]},
        },
    ]


@pytest.mark.parametrize(
    ("key", "value", "variable"),
    [
        ("tls", "maybe", "tls"),
        ("tls", {"certificate": "x"}, "tls"),
        ("allow", ["10.0.0.1/8"], "allow[0]"),
        ("deny", [["10.0.0.1"]], "deny[0]"),
    ],
)
def test_complaints_about_the_rest(key: str, value: Any, variable: str) -> None:
    """The whole variable is named."""
    reader = Reader("proxy1")
    read_listeners(reader, [{"port": 1}, {"port": 2, key: value}], ipv6=True)
    (found,) = reader.complaints
    assert found.startswith(f"proxy1: grpc_proxy_listen[1].{variable} is ")
