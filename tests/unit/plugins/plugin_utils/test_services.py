"""Further services: no name, no prefix and no server of theirs is anything else's."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.inventories import (
    CLASSES,
    HOSTS,
    SERVICE,
    TEXTS,
    TLS_LISTEN,
    authority,
    clean,
    complains,
    complaint,
    listener_tls,
    reading,
    server,
    upstream_tls,
)

PLACE = "proxy1: grpc_proxy_services[0]"


def services(*changed: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Read services that are right but for what is given; None leaves a key out."""
    listed = [
        {key: value for key, value in {**SERVICE, **item}.items() if value is not None}
        for item in changed
    ]
    return reading(grpc_proxy_services=listed, **settings)


def wrong(**changed: Any) -> str:
    """Return the one complaint about one service."""
    (found,) = services(changed)["complaints"]
    return str(found)


def test_the_shortest() -> None:
    """A name, a prefix, a server; every default serves."""
    plan = services({})
    assert plan["complaints"] == []
    (service,) = plan["services"]
    (listed,) = service.pop("servers")
    assert (listed["name"], listed["endpoint"]) == ("shop-0", "10.0.2.1:9090")
    assert service == {
        "name": "shop",
        "prefix": "/shop.v1.",
        "server_name": "",
        "certificate": {},
        "balance": {"method": "round_robin", "key": ""},
        "tls": {},
        "access": {"allow": [], "deny": []},
        "rate_limits": [],
        "stream_limits": [],
        "body": "0",
        "timeout": "1h",
        "tag": "shop",
    }


def test_one_alone() -> None:
    """One dictionary is a list of one."""
    assert [item["name"] for item in reading(grpc_proxy_services=SERVICE)["services"]] == ["shop"]


def test_all_that_a_service_may_say() -> None:
    """A name that clients ask for, a group, TLS both ways, limits, a tag."""
    shown = server("shop.example")
    plan = services(
        {
            "prefix": None,
            "servers": None,
            "server_name": "Shop.example",
            "certificate": shown.certificate,
            "private_key": shown.private_key,
            "group": "satellites",
            "port": "9090",
            "balance": {"hash": "metadata:shop-id"},
            "tls": upstream_tls(),
            "timeout": "5m",
            "allow": ["10.0.0.0/8"],
            "deny": ["10.0.0.9"],
            "rate_limit": [{"rate": "5/s"}],
            "connection_limit": [{"streams": 9}],
            "body_limit": "5m",
            "tag": "Shop.1",
        },
        grpc_proxy_listen=TLS_LISTEN,
        grpc_proxy_tls=listener_tls(),
    )
    assert plan["complaints"] == []
    (service,) = plan["services"]
    assert [(item["name"], item["endpoint"]) for item in service["servers"]] == [
        ("shop-sat1", "10.0.1.1:9090"),
        ("shop-sat2", "10.0.1.2:9090"),
    ]
    assert service["server_name"] == "shop.example"
    assert service["certificate"] == {
        "certificate": "tls/service-shop-certificate.pem",
        "private_key": "tls/service-shop-private_key.pem",
    }
    assert service["tls"]["ca"] == "tls/upstream-shop-ca.pem"
    assert service["balance"] == {"method": "hash", "key": "$http_shop_id"}
    assert (service["timeout"], service["body"], service["tag"]) == ("5m", "5m", "Shop.1")
    assert service["access"] == {"allow": ["10.0.0.0/8"], "deny": ["10.0.0.9/32"]}
    assert service["rate_limits"][0]["kinds"] == service["stream_limits"][0]["kinds"] == ["shop"]
    assert sorted(item["path"] for item in plan["files"]) == [
        "tls/listener-certificate.pem",
        "tls/service-shop-certificate.pem",
        "tls/upstream-shop-ca.pem",
    ]


@pytest.mark.parametrize("value", ["shop", 7, True, ["shop"], [SERVICE, "shop"]])
def test_no_list(value: Any) -> None:
    """What is no list of dictionaries is told, as one."""
    assert complaint(grpc_proxy_services=value).endswith("; give a list of dictionaries.")


@pytest.mark.parametrize("name", ["Shop", "1shop", "shop-1", "a b", "a;", "a\n", 7, [], "a" * 32])
def test_names_that_do_not_do(name: Any) -> None:
    """A name is a part of nginx's variables."""
    assert wrong(name=name) == f"{PLACE}.name is {name!r}; lower-case letters, digits and '_' only."


def test_no_name() -> None:
    """Each needs one."""
    assert wrong(name=None).startswith(f"{PLACE}.name is None; ")


@pytest.mark.parametrize(
    "name",
    [
        # Words that nginx's map reads in its own way.
        *("default", "hostnames", "include", "volatile"),
        # What access lists, kinds and pools of the configuration are called.
        *("all", "listen_0", "listen_12", "skywalking", "others"),
        *sorted({item["kind"] for item in CLASSES}),
    ],
)
def test_names_that_are_taken(name: str) -> None:
    """A service called like a kind of SkyWalking's methods would share its limits."""
    remedy = "the configuration calls something else so; take another."
    assert wrong(name=name) == f"{PLACE}.name is {name!r}; {remedy}"


@pytest.mark.parametrize("name", ["files", "secrets", "oaps", "listen", "rate", "kinds"])
def test_names_that_only_sound_taken(name: str) -> None:
    """They are names like any other, in every place of the plan."""
    settings = {"grpc_proxy_access_log": {"sample": {name: 5}}}
    plan = services({"name": name, "rate_limit": [{"rate": "1/s"}]}, **settings)
    assert plan["complaints"] == []
    assert plan["files"] == []
    assert plan["log"]["sample"] == {name: "5"}
    assert [item["name"] for item in plan["services"]] == [name]


@pytest.mark.parametrize(
    "prefix",
    [
        *("shop.v1.", "/shop.v1", "/shop", "/", "//", "/-/", "/-/oap-proxy/", "/shop-1/"),
        *("/shop.v1.Cart/add", "/shop..v1/", "/.shop/", "/shop.v1./", "/shop/cart/"),
        *("/shop/\n", "/shop/ ", "/shop/; }", "/shop/$x", "~/shop/", 7, True, ["/shop/"], "/é/"),
    ],
)
def test_prefixes_that_do_not_do(prefix: Any) -> None:
    """A prefix is that of a package or of a service."""
    remedy = "give /package.Service/ or /package. as in the path."
    assert wrong(prefix=prefix) == f"{PLACE}.prefix is {prefix!r}; {remedy}"


@pytest.mark.parametrize(
    ("prefix", "method"),
    [
        ("/skywalking.", None),
        ("/skywalking.v3.", None),
        ("/skywalking.v3.TraceSegmentReportService/", None),
        ("/TraceSegmentReportService/", None),
        ("/skywalking.v3.BrowserPerfService/", None),
        ("/BrowserPerfService/", None),
        ("/skywalking.v10.PprofTask/", None),
        ("/opentelemetry.", None),
        ("/grpc.", "/grpc.health.v1.Health/Check"),
        ("/grpc.health.v1.Health/", "/grpc.health.v1.Health/Check"),
        ("/RemoteService/", "/RemoteService/call"),
        ("/remoteservice/", "/RemoteService/call"),
        ("/oap_proxy.", "/oap_proxy.Proof/AnyOtherMethod"),
    ],
)
def test_prefixes_that_shadow(prefix: str, method: str | None) -> None:
    """What is SkyWalking's, its old agents', or the proof's, with the method."""
    found = wrong(prefix=prefix)
    assert found.startswith(f"{PLACE}.prefix is {prefix!r}; it would shadow {method or '/'}")
    assert found.endswith(", which is not for services.")


@pytest.mark.parametrize(
    "prefix",
    [
        "/shop/",
        "/shop.",
        "/shop.v1.Cart/",
        "/a_b.C1/",
        "/skywalking.v4.",
        "/skywalkings.",
        "/Remote/",
    ],
)
def test_prefixes(prefix: str) -> None:
    """Those that begin alike shadow nothing."""
    plan = services({"prefix": prefix})
    assert (plan["services"][0]["prefix"], plan["complaints"]) == (prefix, [])


@pytest.mark.parametrize("item", [{"prefix": None}, {"server_name": "shop.example"}])
def test_prefix_or_name(item: dict[str, Any]) -> None:
    """One of them, not both."""
    (found,) = services(item)["complaints"]
    assert found == f"{PLACE} needs one of prefix and server_name, and not both."


@pytest.mark.parametrize(
    "item", [{"servers": None}, {"group": "satellites", "port": 9090}, {"servers": []}]
)
def test_group_or_servers(item: dict[str, Any]) -> None:
    """One of them, not both."""
    (found,) = services(item)["complaints"]
    assert found == f"{PLACE} needs one of group and servers, and not both."


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({"group": "satellites"}, ".port is None; give a whole number from 1 to 65535."),
        ({"group": "satellites", "port": "9090; }"}, ".port is '9090; }'; give a whole number"),
        ({"group": "nobody", "port": 1}, ".group is 'nobody'; the inventory has no host in"),
        ({"group": "none", "port": 1}, ".group is 'none'; the inventory has no host in this"),
        ({"group": "a b", "port": 1}, ".group is 'a b'; letters, digits"),
        ({"group": ["satellites"], "port": 1}, ".group is \"['satellites']\"; letters, digits"),
    ],
)
def test_groups_that_do_not_do(item: dict[str, Any], sentence: str) -> None:
    """The group's name is shown."""
    assert wrong(servers=None, **item).startswith(PLACE + sentence)


@pytest.mark.parametrize(
    ("key", "value", "variable"),
    [
        ("servers", "10.0.0.1:9090", "servers"),
        ("servers", [{"address": "10.0.0.1"}], "servers[0].port"),
        ("servers", [{"address": "a b", "port": 1}], "servers[0].address"),
        ("servers", [{"address": "a", "port": 1, "state": "drain"}], "servers"),
        ("server_name", "a b", "server_name"),
        ("balance", "fair", "balance"),
        ("balance", {"hash": "$x"}, "balance.hash"),
        ("tls", "yes", "tls"),
        ("tls", {"enabled": "x"}, "tls.enabled"),
        ("tls", {"enabled": True, "name": "a", "ca": "x"}, "tls.ca"),
        ("timeout", "5", "timeout"),
        ("timeout", None, "timeout"),
        ("allow", ["10.0.0.1/8"], "allow[0]"),
        ("deny", "all", "deny[0]"),
        ("rate_limit", [{"rate": 5}], "rate_limit[0].rate"),
        ("rate_limit", [{"rate": "5/s", "methods": ["traces"]}], "rate_limit[0].methods"),
        ("rate_limit", [{"rate": "5/s", "key": "token"}], "rate_limit[0].key"),
        ("connection_limit", [{}], "connection_limit[0].streams"),
        ("connection_limit", 5, "connection_limit"),
        ("body_limit", "5x", "body_limit"),
        ("body_limit", True, "body_limit"),
        ("tag", "a b", "tag"),
        ("tag", "a;", "tag"),
        ("tag", True, "tag"),
        ("tag", ["a"], "tag"),
    ],
)
def test_complaints(key: str, value: Any, variable: str) -> None:
    """Each names the whole variable, of the entry that it is about."""
    listed = [{**SERVICE, "name": "other", "prefix": "/other."}, {**SERVICE, key: value}]
    if key == "server_name":
        del listed[1]["prefix"]
    found = complaint(grpc_proxy_services=listed)
    named = f"proxy1: grpc_proxy_services[1].{variable}"
    assert found.startswith((f"{named} is ", f"{named} holds "))


@pytest.mark.parametrize("key", ["timeout", "tag"])
def test_null(key: str) -> None:
    """What is set to null is told, and not taken for a word."""
    found = complaint(grpc_proxy_services=[{**SERVICE, key: None}])
    assert found.startswith(f"{PLACE}.{key} is None; ")


@pytest.mark.parametrize("key", ["name", "prefix"])
def test_twins(key: str) -> None:
    """Two of one name or prefix; the second is told."""
    other = {"name": "other", "prefix": "/other.", key: SERVICE[key]}
    (found,) = services({}, other)["complaints"]
    assert found == (
        f"proxy1: grpc_proxy_services[1].{key} is {SERVICE[key]!r}; another one has it."
    )


def test_twins_of_a_server_name() -> None:
    """However they are written."""
    named = {"prefix": None, "server_name": "shop.example"}
    (found,) = services(named, {**named, "name": "other", "server_name": "SHOP.example."})[
        "complaints"
    ]
    assert found == (
        "proxy1: grpc_proxy_services[1].server_name is 'shop.example'; another one has it."
    )


def test_prefixes_within_each_other() -> None:
    """A service of a package may be another's than the package."""
    assert services({}, {"name": "cart", "prefix": "/shop.v1.Cart/"})["complaints"] == []


def test_a_server_that_is_called_like_an_oap() -> None:
    """Both would be asked for their health by one name."""
    hosts = {**HOSTS, "SHOP-0": {"oap_address": "10.0.0.13"}}
    assert complaint(hosts, grpc_proxy_services=[SERVICE]) == (
        f"{PLACE}.name is 'shop'; with it, a server of the service is called like the OAP SHOP-0."
    )


# Certificates


def named(**changed: Any) -> dict[str, Any]:
    """Read a service with a server name on a listener with TLS."""
    item = {"prefix": None, "server_name": "shop.example", **changed}
    tls = listener_tls(server_name="proxy.example")
    return services(item, grpc_proxy_listen=TLS_LISTEN, grpc_proxy_tls=tls)


def test_a_name_on_the_listeners_certificate() -> None:
    """Without a certificate of its own, it is that of the listener, which must bear the name."""
    (found,) = named()["complaints"]
    assert found == (
        f"{PLACE}.server_name is 'shop.example'; the certificate of grpc_proxy_tls is not for it; "
        "give one that is."
    )
    both = server("proxy.example", "shop.example")
    tls = {"certificate": both.certificate, "private_key": both.private_key}
    item = {"prefix": None, "server_name": "shop.example"}
    settings = {"grpc_proxy_listen": TLS_LISTEN, "grpc_proxy_tls": tls}
    assert services(item, **settings)["complaints"] == []


def test_a_name_beside_a_certificate_that_is_none() -> None:
    """What is wrong with the listener's certificate is told once, of the listener."""
    named = {"prefix": None, "server_name": "shop.example"}
    for tls in ("text", 7, ["text"], {}, {"certificate": "text"}, {"certificate": 7}):
        plan = services(named, grpc_proxy_listen=TLS_LISTEN, grpc_proxy_tls=tls)
        assert plan["complaints"]
        assert all(text.startswith("proxy1: grpc_proxy_tls") for text in plan["complaints"])
        assert len(set(plan["complaints"])) == len(plan["complaints"])


def test_the_listeners_name() -> None:
    """It is SkyWalking's already."""
    (found,) = named(server_name="proxy.example")["complaints"]
    assert found == (
        f"{PLACE}.server_name is 'proxy.example'; it is that of grpc_proxy_tls already."
    )


def test_a_name_in_clear_text() -> None:
    """Clients may ask for a name without TLS, too."""
    assert services({"prefix": None, "server_name": "shop.example"})["complaints"] == []


def test_certificates_that_do_not_do() -> None:
    """One of the pair, one for another name, one for nothing."""
    shown = server("shop.example")
    pair = {"certificate": shown.certificate, "private_key": shown.private_key}
    assert named(**pair)["complaints"] == []
    half = f"{PLACE} has one of certificate and private_key; give both, or none."
    for key, text in pair.items():
        assert named(**{key: text})["complaints"] == [half]
    (found,) = named(**pair, server_name="other.example")["complaints"]
    assert found == (
        f"{PLACE}.server_name is 'other.example'; the certificate is not for this name."
    )
    assert services(pair)["complaints"] == [
        f"{PLACE}.certificate needs a server_name to be chosen by."
    ]
    assert services({**pair, "prefix": None, "server_name": "shop.example"})["complaints"] == [
        f"{PLACE}.certificate is given, but no entry of grpc_proxy_listen has tls."
    ]


def test_servers_over_tls() -> None:
    """Verified like OAPs, with an authority of their own."""
    other = authority("other").certificate
    plan = services({"tls": upstream_tls(ca=other)}, grpc_proxy_upstream_tls=upstream_tls())
    assert plan["complaints"] == []
    assert {item["path"]: item["content"] for item in plan["files"]} == {
        "tls/upstream-ca.pem": authority().certificate,
        "tls/upstream-shop-ca.pem": other,
    }


# No text changes the configuration around it


@given(
    key=st.sampled_from(["name", "prefix", "timeout", "tag", "body_limit", "balance", "group"]),
    text=TEXTS,
)
@example(key="name", text="include")
@example(key="tag", text="a\n")
def test_no_text_passes(key: str, text: str) -> None:
    """Either the entry is complained about, or what is read of it is clean."""
    item: dict[str, Any] = {key: text}
    if key == "group":
        item.update(servers=None, port=9090)
    plan = services(item)
    if not complains(plan, "proxy1", "grpc_proxy_services[0]"):
        assert plan["complaints"] == []
        (service,) = plan["services"]
        for name in ("name", "prefix", "timeout", "tag", "body"):
            assert clean(service[name])
        assert clean(service["balance"]["method"])
