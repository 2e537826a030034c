"""What templates and proof are made of: pools, sites, lists, and what each listener must refuse."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.arrangement import (
    BUS,
    HEALTH,
    UNKNOWN_METHOD,
)

from tests.unit.inventories import (
    CLASSES,
    HOSTS,
    SERVICE,
    TLS_LISTEN,
    authority,
    listener_tls,
    one,
    reading,
    server,
    upstream_tls,
)

TOKEN = "s3cret"  # noqa: S105
BUS_REFUSED = {"method": BUS, "statuses": ["UNIMPLEMENTED"]}
REFUSED = {
    "shut out": {"method": HEALTH, "statuses": ["PERMISSION_DENIED"]},
    "not known": {"method": HEALTH, "statuses": ["UNAUTHENTICATED"]},
    "not served": {"method": UNKNOWN_METHOD, "statuses": ["UNIMPLEMENTED"]},
}


def arranged(*given: Any, **settings: Any) -> dict[str, Any]:
    """Read an inventory that is right, and return what is arranged."""
    plan = reading(*given, **settings)
    assert plan["complaints"] == []
    return plan


def refused(**settings: Any) -> list[dict[str, Any]]:
    """Return what the first listener must refuse, beside the bus, which each must."""
    first, *others = arranged(**settings)["proof"]["listeners"][0]["refusals"]
    assert first == BUS_REFUSED
    return list(others)


# Pools and sites


def test_pools() -> None:
    """SkyWalking's first, then each service's."""
    plan = arranged(grpc_proxy_services=[SERVICE], grpc_proxy_upstream_tls=upstream_tls())
    oaps, shop = plan["pools"]
    assert [item["name"] for item in oaps.pop("servers")] == ["oap1", "oap2"]
    assert [item["name"] for item in shop.pop("servers")] == ["shop-0"]
    tls = oaps.pop("tls")
    assert (tls["ca"], tls["name"]) == ("tls/upstream-ca.pem", "oap.example")
    assert oaps == {
        "name": "skywalking",
        "what": "SkyWalking's OAPs",
        "upstream": "oap_proxy_oaps",
        "balance": {"method": "round_robin", "key": ""},
        "token": "client",
    }
    assert shop == {
        "name": "shop",
        "what": "The service shop",
        "upstream": "oap_proxy_service_shop",
        "balance": {"method": "round_robin", "key": ""},
        "tls": {},
        "token": "client",
    }


@pytest.mark.parametrize(
    ("token", "oap_token", "passed"),
    [
        ("", "", ["client", "client"]),
        ("", TOKEN, ["ours", "client"]),
        (TOKEN, "", ["client", "none"]),
        (TOKEN, TOKEN, ["ours", "none"]),
    ],
)
def test_tokens_on_the_way(token: str, oap_token: str, passed: list[str]) -> None:
    """A token that the proxy demands is SkyWalking's, and no other service gets it."""
    plan = arranged(
        grpc_proxy_services=[SERVICE], grpc_proxy_token=token, grpc_proxy_oap_token=oap_token
    )
    assert [pool["token"] for pool in plan["pools"]] == passed


def test_whom_to_reach() -> None:
    """Every server, with what kind it is and whether over TLS."""
    plan = arranged(
        {**one(oap_state="drain"), "oap1": {"oap_address": "oap.example"}},
        grpc_proxy_services=[{**SERVICE, "tls": upstream_tls()}],
    )
    assert plan["reached"] == [
        {
            "name": name,
            "address": address,
            "endpoint": f"{address}:{port}",
            "resolve": address.endswith(".example"),
            "state": state,
            "kind": kind,
            "tls": kind == "service",
        }
        for name, address, port, state, kind in (
            ("oap1", "oap.example", 11800, "up", "oap"),
            ("oap2", "10.0.0.12", 11800, "drain", "oap"),
            ("shop-0", "10.0.2.1", 9090, "up", "service"),
        )
    ]


def test_sites() -> None:
    """SkyWalking's, and one for each service that has a name."""
    named = {**SERVICE, "name": "cart", "server_name": "cart.example", "prefix": ""}
    assert arranged()["sites"] == [{"name": "skywalking", "server_name": "", "certificate": {}}]
    plan = arranged(grpc_proxy_services=[SERVICE, named])
    assert plan["sites"] == [
        {"name": "skywalking", "server_name": "", "certificate": {}},
        {"name": "cart", "server_name": "cart.example", "certificate": {}},
    ]


@pytest.mark.parametrize(
    ("variables", "affine"),
    [({}, True), ({"oap_backup": True}, False), ({"oap_max_conns": 5}, False)],
)
def test_affine(variables: dict[str, Any], affine: bool) -> None:
    """Neither a backup nor a limit goes with hashing."""
    assert arranged(one(**variables))["affine"] is affine


def test_access_lists() -> None:
    """Those that say something, by what they belong to."""
    plan = arranged(
        grpc_proxy_allow=["10.0.0.0/8"],
        grpc_proxy_listen=[{"port": 1}, {"port": 2, "deny": ["10.0.0.9"]}],
        grpc_proxy_services=[{**SERVICE, "allow": ["10.1.0.0/16"]}],
    )
    assert plan["access_lists"] == [
        {"name": "all", "allow": ["10.0.0.0/8"], "deny": []},
        {"name": "listen_1", "allow": [], "deny": ["10.0.0.9/32"]},
        {"name": "shop", "allow": ["10.1.0.0/16"], "deny": []},
    ]


def test_limits() -> None:
    """Those of all calls and those of each service, each with a zone of its own."""
    limited = {"rate_limit": [{"rate": "1/s"}], "connection_limit": [{"streams": 1}]}
    plan = arranged(
        grpc_proxy_rate_limit=limited["rate_limit"],
        grpc_proxy_connection_limit=limited["connection_limit"],
        grpc_proxy_services=[{**SERVICE, **limited}],
    )
    assert ["rate" in item for item in plan["limits"]] == [True, False, True, False]
    assert len({item["zone"] for item in plan["limits"]}) == 4


# What is proven


def test_forced_methods() -> None:
    """Each that is known, since a snippet may shadow one alone; one of each prefix; an unknown."""
    cart = {**SERVICE, "name": "cart", "prefix": "/shop.v2.Cart/"}
    named = {**SERVICE, "name": "named", "server_name": "a.example", "prefix": ""}
    methods = arranged(grpc_proxy_services=[SERVICE, cart, named])["proof"]["methods"]
    known = [f"/{one.replace('*', 'AnyMethod')}" for item in CLASSES for one in item["methods"]]
    assert methods[:-3] == known
    assert len(methods) == len(set(methods))
    assert methods[-3:] == ["/shop.v1.Proof/AnyMethod", "/shop.v2.Cart/AnyMethod", UNKNOWN_METHOD]
    assert not any("*" in method for method in methods)
    assert "/skywalking.v3.BrowserPerfService/AnyMethod" in methods


def test_listeners() -> None:
    """Every socket of every entry, by every name."""
    shown = server("shop.example")
    named = {
        **SERVICE,
        "server_name": "shop.example",
        "prefix": "",
        "certificate": shown.certificate,
        "private_key": shown.private_key,
    }
    plan = arranged(
        grpc_proxy_listen=[{"port": 1, "tls": True}, {"port": 2, "address": "10.0.0.1"}],
        grpc_proxy_tls=listener_tls(server_name="proxy.example"),
        grpc_proxy_services=[named],
    )
    found = [
        {key: value for key, value in item.items() if key != "refusals"}
        for item in plan["proof"]["listeners"]
    ]
    sites = (
        ("proxy.example", "tls/listener-certificate.pem"),
        ("shop.example", "tls/service-shop-certificate.pem"),
    )
    sockets = (("0.0.0.0", 1, True), ("::", 1, True), ("10.0.0.1", 2, False))
    assert found == [
        {
            "address": address,
            "port": port,
            "tls": tls,
            "server_name": name,
            "certificate": certificate if tls else "",
        }
        for address, port, tls in sockets
        for name, certificate in sites
    ]


def test_a_certificate_on_the_host() -> None:
    """The path goes into the proof; a service without one of its own shows the same."""
    both = server("proxy.example", "shop.example")
    tls = {"certificate_path": "/etc/ssl/a.pem", "private_key_path": "/etc/ssl/a.key"}
    named = {**SERVICE, "server_name": "shop.example", "prefix": ""}
    plan = arranged(
        on_host={"/etc/ssl/a.pem": both.certificate},
        grpc_proxy_listen=TLS_LISTEN,
        grpc_proxy_tls=tls,
        grpc_proxy_services=[named],
    )
    assert {item["certificate"] for item in plan["proof"]["listeners"]} == {"/etc/ssl/a.pem"}


@pytest.mark.parametrize(
    ("token", "client_ca", "access", "reject"), list(itertools.product([False, True], repeat=4))
)
def test_refusals(token: bool, client_ca: bool, access: bool, reject: bool) -> None:
    """The first of the rules that turns the host itself away is the one that is proven."""
    settings: dict[str, Any] = {"grpc_proxy_listen": TLS_LISTEN}
    if token:
        settings["grpc_proxy_token"] = TOKEN
    if access:
        settings["grpc_proxy_allow"] = ["10.0.0.0/8"]
    if reject:
        settings["grpc_proxy_unknown_methods"] = "reject"
    ca = {"client_ca": authority().certificate} if client_ca else {}
    settings["grpc_proxy_tls"] = listener_tls(**ca)
    expected = (
        ["shut out"]
        if access
        else ["not known"]
        if token or client_ca
        else ["not served"]
        if reject
        else []
    )
    assert refused(**settings) == [REFUSED[name] for name in expected]


def test_refusals_by_entry_and_site() -> None:
    """A certificate is demanded over TLS alone; what is unknown is known to a service by name."""
    named = {**SERVICE, "server_name": "shop.example", "prefix": ""}
    shown = server("proxy.example", "shop.example")
    plan = arranged(
        ipv6=False,
        grpc_proxy_listen=[{"port": 1, "tls": True}, {"port": 2}, {"port": 3, "deny": "127.0.0.1"}],
        grpc_proxy_tls={
            "certificate": shown.certificate,
            "private_key": shown.private_key,
            "client_ca": authority().certificate,
        },
        grpc_proxy_unknown_methods="reject",
        grpc_proxy_services=[named],
    )
    found = [
        (item["port"], item["server_name"], item["refusals"][1:])
        for item in plan["proof"]["listeners"]
    ]
    assert found == [
        (1, "", [REFUSED["not known"]]),
        (1, "shop.example", [REFUSED["not known"]]),
        (2, "", [REFUSED["not served"]]),
        (2, "shop.example", []),
        (3, "", [REFUSED["shut out"]]),
        (3, "shop.example", [REFUSED["shut out"]]),
    ]


@pytest.mark.parametrize(
    ("address", "lists", "shut"),
    [
        (None, {"allow": ["127.0.0.0/8"]}, False),
        (None, {"allow": ["127.0.0.1"], "deny": ["10.0.0.0/8"]}, False),
        (None, {"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]}, True),
        (None, {"deny": ["127.0.0.1"]}, True),
        (None, {"deny": ["0.0.0.0/0"]}, True),
        (None, {"deny": ["10.0.0.0/8"]}, False),
        (None, {"allow": ["10.0.0.0/8"]}, True),
        (None, {"allow": ["::/0"]}, True),
        (None, {"deny": ["::/0"]}, False),
        ("10.0.0.1", {"allow": ["127.0.0.0/8"]}, True),
        ("10.0.0.1", {"allow": ["10.0.0.0/8"]}, False),
        ("10.0.0.1", {"deny": ["10.0.0.1"]}, True),
        ("::1", {"allow": ["::1"]}, False),
        ("::", {"allow": ["::1"]}, False),
        ("::", {"allow": ["127.0.0.1"]}, True),
        ("fd00::1", {"deny": ["fd00::/8"]}, True),
    ],
)
def test_who_is_shut_out(address: str | None, lists: dict[str, Any], shut: bool) -> None:
    """A listener is asked from its own address, a wildcard from the loopback address."""
    expected = [REFUSED["shut out"]] if shut else []
    entry = {"port": 1, "address": address} if address else {"port": 1}
    assert refused(ipv6=True, grpc_proxy_listen=[{**entry, **lists}]) == expected
    everywhere = {f"grpc_proxy_{key}": value for key, value in lists.items()}
    assert refused(ipv6=True, grpc_proxy_listen=[entry], **everywhere) == expected


def test_both_wildcards() -> None:
    """Each is judged by the loopback address of its kind."""
    plan = arranged(HOSTS, True, grpc_proxy_allow=["127.0.0.0/8"])
    found = {item["address"]: item["refusals"][1:] for item in plan["proof"]["listeners"]}
    assert found == {"0.0.0.0": [], "::": [REFUSED["shut out"]]}
