"""What people set: every complaint by host and variable, and nothing that could change nginx."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import (
    COUNTS,
    DURATIONS,
    METHODS,
    Reader,
    address_of,
    read,
)
from hypothesis import example, given
from hypothesis import strategies as st

SETTINGS: dict[str, Any] = {
    "grpc_proxy_name": "oap-proxy",
    "grpc_proxy_oap_group": "skywalking_oap",
    "grpc_proxy_balance": "round_robin",
    "grpc_proxy_listen": [{"port": 11800}],
    "grpc_proxy_connect_timeout": "500ms",
    "grpc_proxy_answer_timeout": "5s",
    "grpc_proxy_stream_timeout": "1h",
    "grpc_proxy_drain_timeout": "60s",
    "grpc_proxy_worker_connections": 16384,
    "grpc_proxy_snippets": {},
    "grpc_proxy_keep_generations": 5,
    "grpc_proxy_proof_timeout": 20,
}
HOSTS: dict[str, dict[str, Any]] = {
    "oap1": {"oap_address": "10.0.0.11"},
    "oap2": {"oap_address": "10.0.0.12"},
}


def reading(
    hosts: dict[str, dict[str, Any]] | None = None,
    ipv6: bool = True,
    changed: dict[str, Any] | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Read an inventory that is right but for what is given."""
    found = HOSTS if hosts is None else hosts
    return read({**SETTINGS, **settings, **(changed or {})}, "proxy1", list(found), found, ipv6)


def one(**variables: Any) -> dict[str, dict[str, Any]]:
    """An inventory with a right OAP and another that has these variables."""
    return {"oap1": HOSTS["oap1"], "oap2": {**HOSTS["oap2"], **variables}}


def test_the_shortest_inventory() -> None:
    """Every default serves, and a host without any variable is reached by its name."""
    plan = reading({"oap1": {}, "oap2": {"ansible_host": "10.0.0.12"}})
    defaults = {"port": 11800, "weight": 1, "max_conns": 0, "backup": False, "state": "up"}
    assert plan == {
        "servers": [
            {
                **defaults,
                "name": "oap1",
                "address": "oap1",
                "endpoint": "oap1:11800",
                "resolve": True,
            },
            {
                **defaults,
                "name": "oap2",
                "address": "10.0.0.12",
                "endpoint": "10.0.0.12:11800",
                "resolve": False,
            },
        ],
        "balance": {"method": "round_robin", "key": ""},
        "listeners": [[{"address": "0.0.0.0", "port": 11800}, {"address": "::", "port": 11800}]],
        "complaints": [],
    }


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
    assert plan["listeners"] == [[{"address": "10.0.0.1", "port": 11800}]]


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
    assert plan["complaints"][0].startswith(f"oap2: {variable} is {value!r}; ")
    assert remedy in plan["complaints"][0]
    assert [server["name"] for server in plan["servers"]] == ["oap1"]


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
    (complaint,) = reading({"oap1": HOSTS["oap1"], "unix": {}})["complaints"]
    assert complaint.startswith("unix: its name is 'unix'; set oap_address to ")
    named = {"oap1": HOSTS["oap1"], "unix": {"oap_address": "unix.example"}}
    assert reading(named)["complaints"] == []


def test_names_that_differ_by_case_only() -> None:
    """Nginx does not tell such names apart; the second one is complained about."""
    hosts = {"oap1": HOSTS["oap1"], "OAP1": {"oap_address": "10.0.0.9"}, "oap2": HOSTS["oap2"]}
    (complaint,) = reading(hosts)["complaints"]
    assert complaint.startswith("OAP1: its name is 'OAP1'; nginx does not tell it from oap1; ")


def test_a_group_that_is_no_name_is_told_once() -> None:
    """A group's name that cannot be is not also told to be empty."""
    (complaint,) = reading({}, grpc_proxy_oap_group="a b")["complaints"]
    assert complaint == (
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
    (complaint,) = plan["complaints"]
    assert f"its name is {name!r}" in complaint


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        *((variable, "5", "500ms, 5s or 1h") for variable in DURATIONS),
        *((variable, "0s", "500ms, 5s or 1h") for variable in DURATIONS),
        ("grpc_proxy_answer_timeout", 5, "500ms, 5s or 1h"),
        ("grpc_proxy_answer_timeout", "5s; }", "500ms, 5s or 1h"),
        ("grpc_proxy_answer_timeout", "5s\n", "500ms, 5s or 1h"),
        ("grpc_proxy_answer_timeout", "1h 30m", "500ms, 5s or 1h"),
        ("grpc_proxy_answer_timeout", "", "500ms, 5s or 1h"),
        ("grpc_proxy_answer_timeout", None, "500ms, 5s or 1h"),
        *((name, low - 1, f"from {low} to {high}") for name, (low, high) in COUNTS.items()),
        *((name, high + 1, f"from {low} to {high}") for name, (low, high) in COUNTS.items()),
        ("grpc_proxy_worker_connections", "many", "from 64 to 1000000"),
        ("grpc_proxy_name", "nginx", "not 'nginx'"),
        ("grpc_proxy_name", "OAP", "lower-case letters"),
        ("grpc_proxy_name", "a", "lower-case letters"),
        ("grpc_proxy_name", "a" * 33, "lower-case letters"),
        ("grpc_proxy_name", "../oap", "lower-case letters"),
        ("grpc_proxy_name", "oap-", "lower-case letters"),
        ("grpc_proxy_name", "oap\n", "lower-case letters"),
        ("grpc_proxy_balance", "fair", "round_robin, least_conn"),
        ("grpc_proxy_balance", "hash", "{hash: client_address}"),
        ("grpc_proxy_balance", "", "round_robin, least_conn"),
        ("grpc_proxy_balance", None, "round_robin, least_conn"),
        ("grpc_proxy_balance", ["ip_hash"], "round_robin, least_conn"),
        ("grpc_proxy_balance", {"hash": "method", "x": 1}, "round_robin, least_conn"),
        ("grpc_proxy_listen", [], "give a list such as [{port: 11800}]"),
        ("grpc_proxy_listen", {}, "give a list such as [{port: 11800}]"),
        ("grpc_proxy_listen", None, "give a list such as [{port: 11800}]"),
        ("grpc_proxy_listen", "port=11800", "give a list such as [{port: 11800}]"),
        ("grpc_proxy_listen", {"port": 11800}, "give a list such as [{port: 11800}]"),
        ("grpc_proxy_listen", ["port=11800"], "give a list such as [{port: 11800}]"),
        ("grpc_proxy_listen", [{"port": 11800}, 11801], "give a list such as [{port: 11800}]"),
        ("grpc_proxy_snippets", None, "give a dictionary of main, http, server"),
        ("grpc_proxy_snippets", "http=x", "give a dictionary of main, http, server"),
        ("grpc_proxy_snippets", ["x"], "give a dictionary of main, http, server"),
        ("grpc_proxy_oap_group", "", "letters, digits"),
        ("grpc_proxy_oap_group", "oaps:!dead", "letters, digits"),
        ("grpc_proxy_oap_group", "oaps\n", "letters, digits"),
    ],
)
def test_complaints_about_a_proxy(variable: str, value: Any, remedy: str) -> None:
    """Each names the proxy, the variable, the value, and what would do."""
    plan = reading(**{variable: value})
    assert len(plan["complaints"]) == 1
    assert plan["complaints"][0].startswith(f"proxy1: {variable} is {value!r}; ")
    assert remedy in plan["complaints"][0]


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
    assert [[item["address"] for item in entry] for entry in plan["listeners"]] == [
        ["0.0.0.0", "::"],
        ["10.0.0.1"],
        ["::1"],
    ]


def test_a_host_without_ipv6() -> None:
    """Every address is those of IPv4 there, and an IPv6 address is refused."""
    plan = reading(ipv6=False, grpc_proxy_listen=[{"port": 1, "address": ""}])
    assert plan["listeners"] == [[{"address": "0.0.0.0", "port": 1}]]
    plan = reading(ipv6=False, grpc_proxy_listen=[{"port": 1, "address": "::1"}])
    (complaint,) = plan["complaints"]
    assert complaint.startswith("proxy1: grpc_proxy_listen[0].address is '::1'; ")
    assert "IPv6 switched off" in complaint


def test_no_oap() -> None:
    """An empty group is a complaint that names it."""
    (complaint,) = reading({})["complaints"]
    assert complaint.startswith("proxy1: grpc_proxy_oap_group is 'skywalking_oap'; ")
    assert "no host in this group" in complaint


@pytest.mark.parametrize("variables", [{"oap_state": "drain"}, {"oap_backup": True}])
def test_no_oap_that_takes_calls(variables: dict[str, Any]) -> None:
    """A group whose every OAP is drained or a backup is a complaint."""
    (complaint,) = reading({"oap1": {**HOSTS["oap1"], **variables}})["complaints"]
    assert complaint.startswith("proxy1: grpc_proxy_oap_group is 'skywalking_oap'; ")
    assert "leave one up" in complaint


def test_a_drained_oap_beside_another() -> None:
    """One that is drained stays in the plan, with its state."""
    plan = reading(one(oap_state="drain"))
    assert plan["complaints"] == []
    assert [server["state"] for server in plan["servers"]] == ["up", "drain"]


def test_two_oaps_at_one_place() -> None:
    """The second names the first; another port is another place."""
    (complaint,) = reading(one(oap_address="10.0.0.11"))["complaints"]
    assert complaint.startswith("oap2: oap_address is '10.0.0.11:11800'; oap1 has the same")
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
    (complaint,) = reading(grpc_proxy_balance={"hash": key})["complaints"]
    assert complaint.startswith(f"proxy1: grpc_proxy_balance.hash is {str(key)!r}; ")
    assert "metadata:NAME" in complaint


@pytest.mark.parametrize("balance", ["random_two_least_conn", "ip_hash", {"hash": "method"}])
def test_methods_without_backup(balance: Any) -> None:
    """Where nginx knows no backup, the OAP that is one is named."""
    (complaint,) = reading(one(oap_backup=True), grpc_proxy_balance=balance)["complaints"]
    assert complaint.startswith("oap2: oap_backup is True; ")
    assert reading(one(oap_backup=True), grpc_proxy_balance="least_conn")["complaints"] == []


@pytest.mark.parametrize("lines", [None, 7, ["a;"], "a\0b"])
def test_snippets_that_are_no_text(lines: Any) -> None:
    """A snippet is text; what it says is nginx's to judge."""
    (complaint,) = reading(grpc_proxy_snippets={"http": lines, "main": "any { text; }"})[
        "complaints"
    ]
    assert complaint.startswith(f"proxy1: grpc_proxy_snippets.http is {lines!r}; ")


def test_every_complaint_at_once() -> None:
    """All that is wrong is told in one go."""
    plan = reading(
        one(oap_port=0, oap_weight=0),
        grpc_proxy_name="X",
        grpc_proxy_balance="x",
        grpc_proxy_listen=[{"port": 0}],
        grpc_proxy_drain_timeout="x",
    )
    assert len(plan["complaints"]) == 6


# No text in any variable changes the configuration around it

FORBIDDEN = set(";{}\"'$\\#")
RIGHT = ["10.0.0.1", "oap.example", "11800", "1024", "20", "5s", "true", "up", "ip_hash", "oap-1"]
TEXTS = (
    st.text(max_size=12)
    | st.text("a1.:-_;{}\"'$\\ \n\t%[]/", max_size=12)
    | st.builds(
        "".join,
        st.tuples(st.sampled_from(RIGHT), st.sampled_from(["", "\n", " ", ";", "\u2003", "\0"])),
    )
)


def clean(value: Any) -> bool:
    """Tell whether nothing in a value could end a word or a directive of nginx."""
    return not any(
        char in FORBIDDEN or char.isspace() or not char.isprintable() for char in str(value)
    )


def complains(plan: dict[str, Any], host: str, variable: str) -> bool:
    """Tell whether a complaint names host and variable."""
    return any(text.startswith(f"{host}: {variable}") for text in plan["complaints"])


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


def proxy_is_held(variable: str, text: str) -> None:
    """Hold that the variable is complained about, or that its text is clean as it stands.

    Templates use the variables of a proxy as they were set, so the text itself must be clean.
    """
    plan = reading(changed={variable: text})
    if not complains(plan, "proxy1", variable):
        assert plan["complaints"] == []
        assert clean(text)


@given(variable=st.sampled_from(["grpc_proxy_name", "grpc_proxy_balance", *DURATIONS]), text=TEXTS)
def test_no_text_of_a_proxy_passes(variable: str, text: str) -> None:
    """Names, methods and times."""
    proxy_is_held(variable, text)


@given(variable=st.sampled_from(sorted(COUNTS)), text=TEXTS)
@example(variable="grpc_proxy_worker_connections", text="1024\n")
def test_no_text_of_a_count_passes(variable: str, text: str) -> None:
    """Numbers, also those that are right but for a space around them."""
    proxy_is_held(variable, text)


@given(text=TEXTS)
@example(text="oaps\nload_module x;")
def test_no_text_of_the_group_passes(text: str) -> None:
    """The group's name stands in a comment of the configuration, which a line end would end."""
    proxy_is_held("grpc_proxy_oap_group", text)


@given(key=TEXTS)
def test_no_hash_key_passes(key: str) -> None:
    """Either the key is complained about, or it is one plain variable of nginx."""
    plan = reading(grpc_proxy_balance={"hash": key})
    if not complains(plan, "proxy1", "grpc_proxy_balance.hash"):
        assert plan["balance"]["key"].startswith("$")
        assert clean(plan["balance"]["key"][1:])


@given(text=TEXTS, key=st.sampled_from(["address", "port"]))
def test_no_listener_passes(text: str, key: str) -> None:
    """Either the entry is complained about, or address and port are clean."""
    plan = reading(grpc_proxy_listen=[{"port": 11800, key: text}])
    if not complains(plan, "proxy1", f"grpc_proxy_listen[0].{key}"):
        assert plan["complaints"] == []
        assert all(clean(value) for item in plan["listeners"][0] for value in item.values())


@given(address=st.ip_addresses())
def test_addresses(address: Any) -> None:
    """Every unicast address is taken, written the short way."""
    refused = address.is_unspecified or address.is_multicast
    assert address_of(str(address)) == (None if refused else str(address))
    assert address_of(address.exploded) == address_of(str(address))
    assert address_of(address) is None  # only text is ever read


@given(value=st.integers(), low=st.integers(-99, 99), size=st.integers(0, 99))
def test_integer(value: int, low: int, size: int) -> None:
    """A whole number within its bounds is taken as number and as text, and no other."""
    for given_value in (value, str(value)):
        reader = Reader("proxy1")
        found = reader.integer("x", given_value, low, low + size)
        assert (found is None) == bool(reader.complaints)
        assert found == (value if low <= value <= low + size else None)
