"""Whom calls go to: every complaint by host and variable, and nothing that could change nginx."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader, quoted
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.servers import (
    METHODS,
    read_group,
    read_list,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inventories import HOSTS, TEXTS, clean, complains, complaint, one, reading


def test_values_as_an_ini_inventory_gives_them() -> None:
    """Numbers and truth values may come as text."""
    variables = {
        "oap_address": "FD00:0::1",
        "ansible_host": "not used; }",
        "oap_port": "21800",
        "oap_weight": "2",
        "oap_max_conns": "100",
        "oap_backup": "true",
        "oap_state": "up",
    }
    plan = reading(
        {"oap1": HOSTS["oap1"], "oap2": variables},
        grpc_proxy_listen=[{"port": "11800", "address": "10.0.0.1"}],
        grpc_proxy_worker_connections="1024",
        grpc_proxy_proof_timeout="30",
    )
    assert plan["complaints"] == []
    assert plan["servers"][1] == {
        "name": "oap2",
        "address": "fd00::1",
        "port": 21800,
        "endpoint": "[fd00::1]:21800",
        "resolve": False,
        "weight": 2,
        "max_conns": 100,
        "backup": True,
        "state": "up",
    }
    assert plan["listeners"][0]["sockets"] == [{"address": "10.0.0.1", "port": 11800}]


@pytest.mark.parametrize(
    ("given", "backup"),
    [
        (True, True),
        (False, False),
        ("True", True),
        ("no", False),
        ("YES", True),
        (0, False),
        ("1", True),
    ],
)
def test_truth(given: Any, backup: bool) -> None:
    """Truth is written in many ways."""
    plan = reading(one(oap_backup=given))
    assert (plan["servers"][1]["backup"], plan["complaints"]) == (backup, [])


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("oap_address", "10.0.0.1; }", "an address or a name"),
        ("oap_address", "", "an address or a name"),
        ("oap_address", True, "an address or a name"),
        ("oap_address", "unix", "an address or a name"),
        ("oap_address", "UNIX", "an address or a name"),
        ("oap_address", 10, "an address or a name"),
        ("oap_address", ["10.0.0.1"], "an address or a name"),
        ("oap_address", "0.0.0.0", "an address or a name"),
        ("oap_address", "::", "an address or a name"),
        ("oap_address", "224.0.0.1", "an address or a name"),
        ("oap_address", "fe80::1%eth0", "an address or a name"),
        ("oap_address", "10.0.0", "an address or a name"),
        ("oap_address", "10.0.0.256", "an address or a name"),
        ("oap_address", "10.0.0.1:11800", "an address or a name"),
        ("oap_address", "http://oap", "an address or a name"),
        ("oap_address", "-oap", "an address or a name"),
        ("oap_address", "oap..example", "an address or a name"),
        ("oap_address", "a" * 64, "an address or a name"),
        ("oap_address", ".".join(["a" * 60] * 5), "an address or a name"),
        ("oap_address", "oap\n", "an address or a name"),
        ("oap_address", "öap", "an address or a name"),
        ("oap_port", 0, "from 1 to 65535"),
        ("oap_port", 65536, "from 1 to 65535"),
        ("oap_port", "x", "from 1 to 65535"),
        ("oap_port", "", "from 1 to 65535"),
        ("oap_port", None, "from 1 to 65535"),
        ("oap_port", True, "from 1 to 65535"),
        ("oap_port", 11800.5, "from 1 to 65535"),
        ("oap_port", "1e4", "from 1 to 65535"),
        ("oap_port", "\u0661\u0662", "from 1 to 65535"),
        ("oap_weight", 0, "from 1 to 1000"),
        ("oap_weight", "1001", "from 1 to 1000"),
        ("oap_max_conns", -1, "from 0 to 1000000"),
        ("oap_backup", "maybe", "true or false"),
        ("oap_backup", "", "true or false"),
        ("oap_backup", 2, "true or false"),
        ("oap_state", "down", "up, drain"),
        ("oap_state", None, "up, drain"),
        ("oap_state", ["up"], "up, drain"),
    ],
)
def test_complaints_about_an_oap(variable: str, value: Any, remedy: str) -> None:
    """Each names the OAP, the variable, the value, and what would do."""
    plan = reading(one(**{variable: value}))
    assert len(plan["complaints"]) == 1
    assert plan["complaints"][0].startswith(f"oap2: {variable} is {quoted(value)}; ")
    assert remedy in plan["complaints"][0]


@pytest.mark.parametrize(
    ("variables", "address"),
    [
        ({"oap_address": None}, "oap2"),
        ({"oap_address": None, "ansible_host": None}, "oap2"),
        ({"oap_address": None, "ansible_host": "10.0.0.9"}, "10.0.0.9"),
        ({"ansible_host": None}, "10.0.0.12"),
    ],
)
def test_an_address_that_is_null(variables: dict[str, Any], address: str) -> None:
    """What is set to null is not set: the next one of the three serves."""
    plan = reading(one(**variables))
    assert plan["complaints"] == []
    assert plan["servers"][1]["address"] == address


def test_a_host_that_is_called_unix() -> None:
    """Nginx would take such a name for a socket's path; an address of its own mends it."""
    found = complaint({"oap1": HOSTS["oap1"], "unix": {}})
    assert found.startswith("unix: its name is 'unix'; set oap_address to ")
    named = {"oap1": HOSTS["oap1"], "unix": {"oap_address": "unix.example"}}
    assert reading(named)["complaints"] == []


def test_names_that_differ_by_case_only() -> None:
    """Nginx does not tell such names apart; the second one is complained about."""
    hosts = {"oap1": HOSTS["oap1"], "OAP1": {"oap_address": "10.0.0.9"}, "oap2": HOSTS["oap2"]}
    found = complaint(hosts)
    assert found.startswith("OAP1: its name is 'OAP1'; nginx does not tell it from oap1; ")


def test_a_group_that_is_no_name_is_told_once() -> None:
    """A group's name that cannot be is not also told to be empty."""
    found = complaint({}, grpc_proxy_oap_group="a b")
    assert found == (
        "proxy1: grpc_proxy_oap_group is 'a b'; letters, digits, '.', '_' and '-' only."
    )


def test_complaint_about_ansible_host() -> None:
    """Where the address comes from another variable, that one is named."""
    plan = reading({"oap1": {"ansible_host": "10.0.0.1;"}})
    assert plan["complaints"][0].startswith("oap1: ansible_host is '10.0.0.1;'; ")
    assert "set oap_address" in plan["complaints"][0]


@pytest.mark.parametrize("name", ["oap 1", "oap;", "-oap", "oap-", "$oap", "öap", "oap\n", ""])
def test_complaint_about_a_name(name: str) -> None:
    """A name that cannot stand in a configuration is refused, though it has an address."""
    plan = reading({"oap1": HOSTS["oap1"], name: {"oap_address": "10.0.0.9"}})
    (found,) = plan["complaints"]
    assert f"its name is {name!r}" in found


def test_no_oap() -> None:
    """An empty group is a complaint that names it."""
    found = complaint({})
    assert found.startswith("proxy1: grpc_proxy_oap_group is 'skywalking_oap'; ")
    assert "no host in this group" in found


@pytest.mark.parametrize("variables", [{"oap_state": "drain"}, {"oap_backup": True}])
def test_no_oap_that_takes_calls(variables: dict[str, Any]) -> None:
    """A group whose every OAP is drained or a backup is a complaint."""
    found = complaint({"oap1": {**HOSTS["oap1"], **variables}})
    assert found.startswith("proxy1: grpc_proxy_oap_group is 'skywalking_oap'; ")
    assert "leave one up" in found


def test_a_drained_oap_beside_another() -> None:
    """One that is drained stays in the plan, with its state."""
    plan = reading(one(oap_state="drain"))
    assert plan["complaints"] == []
    assert [server["state"] for server in plan["servers"]] == ["up", "drain"]


def test_two_oaps_at_one_place() -> None:
    """The second names the first; another port is another place."""
    found = complaint(one(oap_address="10.0.0.11"))
    assert found.startswith("oap2: oap_address is '10.0.0.11:11800'; oap1 has the same")
    assert reading(one(oap_address="10.0.0.11", oap_port=11801))["complaints"] == []


@pytest.mark.parametrize(
    ("balance", "method", "key"),
    [
        *((method, method, "") for method in METHODS if method != "hash"),
        ({"hash": "client_address"}, "hash", "$remote_addr"),
        ({"hash": "method"}, "hash", "$uri"),
        ({"hash": "authority"}, "hash", "$host"),
        ({"hash": "metadata:service-instance"}, "hash", "$http_service_instance"),
    ],
)
def test_balance(balance: Any, method: str, key: str) -> None:
    """Every method that nginx has, and the keys of a hash."""
    plan = reading(grpc_proxy_balance=balance)
    assert (plan["balance"], plan["complaints"]) == ({"method": method, "key": key}, [])


@pytest.mark.parametrize(
    "key",
    [
        "$remote_addr",
        "metadata:",
        "metadata:X",
        "metadata:a_b",
        "metadata:a-",
        "metadata:a;",
        "metadata:a\n",
        "",
        None,
        7,
    ],
)
def test_hash_keys_that_do_not_do(key: Any) -> None:
    """A key that is no known name is refused."""
    found = complaint(grpc_proxy_balance={"hash": key})
    assert found.startswith(f"proxy1: grpc_proxy_balance.hash is {str(key)!r}; ")
    assert "metadata:NAME" in found


@pytest.mark.parametrize("balance", ["random_two_least_conn", "ip_hash", {"hash": "method"}])
def test_methods_without_backup(balance: Any) -> None:
    """Where nginx knows no backup, the OAP that is one is named."""
    found = complaint(one(oap_backup=True), grpc_proxy_balance=balance)
    remedy = "nginx knows no backup with it, and oap2 is one."
    assert found == f"proxy1: grpc_proxy_balance is {balance!r}; {remedy}"
    assert reading(one(oap_backup=True), grpc_proxy_balance="least_conn")["complaints"] == []


@given(
    variable=st.sampled_from(
        [
            "oap_address",
            "ansible_host",
            "oap_port",
            "oap_weight",
            "oap_max_conns",
            "oap_backup",
            "oap_state",
        ]
    ),
    text=TEXTS,
)
def test_no_text_of_an_oap_passes(variable: str, text: str) -> None:
    """Either the OAP's variable is complained about, or everything read of it is clean."""
    plan = reading({"oap1": HOSTS["oap1"], "oap2": {variable: text}})
    if not complains(plan, "oap2", variable):
        assert plan["complaints"] == []
        assert all(clean(value) for value in plan["servers"][1].values())


@given(name=TEXTS)
def test_no_name_passes(name: str) -> None:
    """Either the name is complained about, or everything read of it is clean."""
    plan = reading({"oap1": HOSTS["oap1"], name: {"oap_address": "10.0.0.9"}})
    if not any("its name" in text for text in plan["complaints"]):
        assert plan["complaints"] == []
        assert all(clean(value) for value in plan["servers"][-1].values())


@given(key=TEXTS)
def test_no_hash_key_passes(key: str) -> None:
    """Either the key is complained about, or it is one plain variable of nginx."""
    plan = reading(grpc_proxy_balance={"hash": key})
    if not complains(plan, "proxy1", "grpc_proxy_balance.hash"):
        assert plan["balance"]["key"].startswith("$")
        assert clean(plan["balance"]["key"][1:])


# Servers of a further service


def listed(*items: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Read a list of servers; return them and the complaints."""
    reader = Reader("proxy1")
    return read_list(reader, "x.servers", "shop", list(items)), reader.complaints


def test_a_list() -> None:
    """Each is named by the service and its place in the list."""
    servers, complaints = listed(
        {"address": "10.0.0.1", "port": 9090},
        {"address": "shop.example", "port": "9091", "weight": 3, "backup": "yes", "max_conns": 7},
        {"address": "FD00::1", "port": 9090, "state": "drain"},
    )
    assert complaints == []
    assert servers == [
        {
            "name": "shop-0",
            "address": "10.0.0.1",
            "endpoint": "10.0.0.1:9090",
            "resolve": False,
            "port": 9090,
            "weight": 1,
            "max_conns": 0,
            "backup": False,
            "state": "up",
        },
        {
            "name": "shop-1",
            "address": "shop.example",
            "endpoint": "shop.example:9091",
            "resolve": True,
            "port": 9091,
            "weight": 3,
            "max_conns": 7,
            "backup": True,
            "state": "up",
        },
        {
            "name": "shop-2",
            "address": "fd00::1",
            "endpoint": "[fd00::1]:9090",
            "resolve": False,
            "port": 9090,
            "weight": 1,
            "max_conns": 0,
            "backup": False,
            "state": "drain",
        },
    ]


@pytest.mark.parametrize("given", [None, {}, "10.0.0.1:9090", [], 7, {"address": "10.0.0.1"}])
def test_no_list(given: Any) -> None:
    """What is no list is refused with one that does."""
    reader = Reader("proxy1")
    assert read_list(reader, "x.servers", "shop", given) == []
    assert reader.complaints == [
        f"proxy1: x.servers is {given!r}; give a list such as [{{address: 10.0.0.5, port: 9090}}]."
    ]


@pytest.mark.parametrize(
    ("item", "complaints"),
    [
        ("10.0.0.1:9090", ["x.servers[1] is '10.0.0.1:9090'; give a dictionary with"]),
        ({"address": "10.0.0.2"}, ["x.servers[1].port is None; give a whole number"]),
        ({"port": 1}, ["x.servers[1].address is None; give an address or a name"]),
        (
            {"address": "10.0.0.2; }", "port": "9090;"},
            ["x.servers[1].address is '10.0.0.2; }'; ", "x.servers[1].port is '9090;'; "],
        ),
        (
            {"address": "10.0.0.2", "port": 1, "weight": 0, "backup": "x", "state": "down"},
            ["x.servers[1].weight is 0; ", "x.servers[1].backup is 'x'; ", "x.servers[1].state is"],
        ),
        (
            {"address": "10.0.0.1", "port": 9090},
            ["x.servers is '10.0.0.1:9090'; shop-0 has the same address and port"],
        ),
    ],
)
def test_complaints_about_a_list(item: Any, complaints: list[str]) -> None:
    """Each names the entry."""
    _servers, found = listed({"address": "10.0.0.1", "port": 9090}, item)
    assert len(found) == len(complaints)
    for text, beginning in zip(found, complaints):
        assert text.startswith(f"proxy1: {beginning}")


def test_a_list_without_one_that_takes_calls() -> None:
    """As for OAPs."""
    _servers, (found,) = listed({"address": "10.0.0.1", "port": 9090, "state": "drain"})
    assert found.startswith("proxy1: x.servers is 'shop'; every server in it ")


def test_a_group_with_a_port_of_its_own() -> None:
    """The port is the service's, whatever the port of an OAP on the same host; the rest counts."""
    reader = Reader("proxy1")
    host = {"oap_address": "10.0.0.1", "oap_port": 21800, "oap_weight": 2}
    (server,) = read_group(reader, "x.group", "some", ["h"], {"h": host}, 9090)
    assert (server["endpoint"], server["weight"]) == ("10.0.0.1:9090", 2)
    (server,) = read_group(reader, "x.group", "some", ["h"], {"h": host})
    assert server["endpoint"] == "10.0.0.1:21800"
    assert reader.complaints == []
