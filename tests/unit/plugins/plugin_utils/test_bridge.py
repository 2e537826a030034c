"""What is published for a container with a network of its own, and what cannot work so."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import SERVICE, complaint, one, reading

BRIDGE: dict[str, Any] = {
    "grpc_proxy_install": "container",
    "grpc_proxy_container_network": "bridge",
}

COUNTED: dict[str, Any] = {
    "grpc_proxy_token": "a-token-of-the-tests",
    "grpc_proxy_rate_limit": [{"rate": "9/s", "key": "token"}],
}


def test_the_hosts_network() -> None:
    """Nothing is published, and nginx opens what clients come to."""
    for network in (
        {},
        {"grpc_proxy_install": "container"},
        {**BRIDGE, "grpc_proxy_install": "package"},
    ):
        plan = reading(grpc_proxy_listen=[{"port": 11800, "address": "10.0.0.9"}], **network)
        assert plan["network"] == {
            "bridge": False, "published": [], "own": [],
            "opened": {"listen_0": [{"address": "10.0.0.9", "port": 11800}]},
        }  # fmt: skip


@pytest.mark.parametrize("ipv6", [True, False])
def test_published_ports(ipv6: bool) -> None:
    """By the addresses of IPv4 of the host; within the container all of its own are open."""
    listen = [{"port": 11800}, {"port": 11801, "address": "10.0.0.9"}]
    plan = reading(None, ipv6, grpc_proxy_listen=listen, **BRIDGE)
    network = plan["network"]
    assert network["published"] == ["0.0.0.0:11800:11800", "10.0.0.9:11801:11801"]
    assert network["own"] == ["10.0.0.9"]
    assert network["opened"] == {
        f"listen_{index}": [{"address": "0.0.0.0", "port": port}]
        for index, port in enumerate((11800, 11801))
    }
    proven = [(one["address"], one["port"]) for one in plan["proof"]["listeners"]]
    assert proven == [("0.0.0.0", 11800), ("10.0.0.9", 11801)]


def test_an_address_of_ipv6() -> None:
    """Its clients would all come from the gateway, as the host itself does."""
    told = complaint(grpc_proxy_listen=[{"port": 11800, "address": "2001:db8::9"}], **BRIDGE)
    assert "nothing is published on addresses of IPv6" in told


def test_no_network() -> None:
    """A word that is none."""
    told = complaint(**{**BRIDGE, "grpc_proxy_container_network": "macvlan"})
    assert told.startswith("proxy1: grpc_proxy_container_network is 'macvlan'; choose one of host")


def test_a_port_of_two_entries() -> None:
    """On two addresses it is one within the container."""
    listen = [{"port": 11800, "address": f"10.0.0.{end}"} for end in (8, 9)]
    told = complaint(grpc_proxy_listen=listen, **BRIDGE)
    assert told.startswith("proxy1: grpc_proxy_listen[1].port is ")
    assert "grpc_proxy_listen[0] within the container" in told


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"grpc_proxy_allow": ["10.0.0.0/8"]}, "allow and deny"),
        ({"grpc_proxy_deny": ["10.0.0.0/8"]}, "allow and deny"),
        ({"grpc_proxy_listen": [{"port": 11800, "deny": ["10.0.0.0/8"]}]}, "allow and deny"),
        ({"grpc_proxy_services": [{**SERVICE, "allow": ["10.0.0.0/8"]}]}, "allow and deny"),
        ({"grpc_proxy_rate_limit": [{"rate": "9/s"}]}, "key client_address"),
        ({"grpc_proxy_connection_limit": [{"streams": 9}]}, "key client_address"),
        ({"grpc_proxy_services": [{**SERVICE, "rate_limit": [{"rate": "9/s"}]}]}, "client_address"),
        ({"grpc_proxy_resolver": {"addresses": ["127.0.0.53"]}}, "127.0.0.53:53 is out of"),
        (
            {"grpc_proxy_access_log": {"to": "syslog", "syslog_server": "[::1]:514"}},
            "[::1]:514 is out of the container's reach",
        ),
    ],
)
def test_what_cannot_work(settings: dict[str, Any], says: str) -> None:
    """Refused with the network, and taken with the host's."""
    told = complaint(**settings, **BRIDGE)
    assert told.startswith("proxy1: grpc_proxy_container_network is 'bridge'; ")
    assert says in told
    assert told.endswith("Take host.")
    assert not reading(**settings, **{**BRIDGE, "grpc_proxy_container_network": "host"})[
        "complaints"
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "2001:db8::1", "localhost"])
def test_an_oap_out_of_reach(address: str) -> None:
    """The host's loopback, and IPv6, which the engine's own network has not."""
    assert "out of the container's reach" in complaint(one(oap_address=address), **BRIDGE)


def test_what_works() -> None:
    """Limits that count by token, a socket of syslog, name servers elsewhere."""
    plan = reading(
        **COUNTED,
        grpc_proxy_access_log={"to": "syslog", "syslog_server": "unix:/dev/log"},
        grpc_proxy_resolver={"addresses": ["192.0.2.53"]},
        **BRIDGE,
    )
    assert plan["complaints"] == []
