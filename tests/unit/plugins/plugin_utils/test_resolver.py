"""Name servers: addresses, ports, how long an answer is good."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.resolver import read_resolver
from hypothesis import given

from tests.unit.inventories import TEXTS, clean, complaint, reading


def resolver(has_ipv6: bool = True, /, **settings: Any) -> tuple[dict[str, Any], list[str]]:
    """Read some settings; return the resolver and the complaints."""
    reader = Reader("proxy1")
    return read_resolver(reader, settings, has_ipv6), reader.complaints


def test_none() -> None:
    """Nothing is asked where nothing is given."""
    assert resolver() == ({}, [])


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [
        ("192.0.2.53", "192.0.2.53:53"),
        ("192.0.2.53:5353", "192.0.2.53:5353"),
        ("2001:db8::53", "[2001:db8::53]:53"),
        ("[2001:db8::53]", "[2001:db8::53]:53"),
        ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ("2001:db8::1:53", "[2001:db8::1:53]:53"),
    ],
)
def test_an_address(address: str, endpoint: str) -> None:
    """As nginx writes it and as the module asks it."""
    read, complaints = resolver(addresses=[address])
    assert complaints == []
    assert read["endpoints"] == [endpoint]
    ((host, port),) = [(one["address"], one["port"]) for one in read["servers"]]
    assert endpoint == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@pytest.mark.parametrize("has", [True, False])
def test_ipv6_as_the_host_has_it(has: bool) -> None:
    """Without a word of it addresses are asked for that the host can reach."""
    assert resolver(has, addresses=["192.0.2.53"])[0]["ipv6"] is has
    assert resolver(has, addresses=["192.0.2.53"], ipv6=not has)[0]["ipv6"] is not has
    plan = reading(None, has, grpc_proxy_resolver={"addresses": ["192.0.2.53"], "valid": "5m"})
    assert plan["complaints"] == []
    assert (plan["resolver"]["ipv6"], plan["resolver"]["valid"]) == (has, "5m")


@pytest.mark.parametrize(
    "address",
    ["", "dns.example", "0.0.0.0", "192.0.2.53:", "192.0.2.53:0", "192.0.2.53:65536", "[192.0.2.5]",
     "[::1", "::1]:53", "[::1]53", "fe80::1%eth0", 53, None, {"address": "192.0.2.53"}],
)  # fmt: skip
def test_what_is_no_address(address: Any) -> None:
    """A name would have to be resolved first, and nobody is there to do it."""
    told = complaint(grpc_proxy_resolver={"addresses": ["192.0.2.53", address]})
    assert told.startswith("proxy1: grpc_proxy_resolver.addresses[1] is ")
    assert "give an address" in told


@pytest.mark.parametrize("addresses", [None, [], "192.0.2.53", {}])
def test_without_addresses(addresses: Any) -> None:
    """There is no default: the host's own name servers may not be meant."""
    told = complaint(grpc_proxy_resolver={"addresses": addresses, "valid": "10s"})
    assert told.startswith("proxy1: grpc_proxy_resolver.addresses is ")


@pytest.mark.parametrize("valid", ["10", "500ms", "0s", "1 s", 10, "10s;"])
def test_what_is_no_time(valid: Any) -> None:
    """In whole seconds and more: nginx counts them so."""
    told = complaint(grpc_proxy_resolver={"addresses": ["::1"], "valid": valid})
    assert told.startswith("proxy1: grpc_proxy_resolver.valid is ")


@given(TEXTS, TEXTS)
def test_nothing_changes_the_configuration(address: str, valid: str) -> None:
    """What is taken has no character of nginx's own, whatever it was."""
    read, _complaints = resolver(addresses=[address], valid=valid)
    assert all(clean(one) for one in [*read["endpoints"], read["valid"]])
