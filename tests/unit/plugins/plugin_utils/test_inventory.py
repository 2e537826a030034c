"""All that people set for one proxy, read as a whole: nothing passes, nothing leaks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import (
    COUNTS,
    DURATIONS,
    loaded_from_host,
    paths_of,
    paths_on_host,
)
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests.unit.inventories import (
    CLASSES,
    SERVICE,
    SETTINGS,
    TEXTS,
    TLS_LISTEN,
    authority,
    clean,
    complains,
    complaint,
    listener_tls,
    one,
    reading,
    secrets,
    server,
    upstream_tls,
)


def test_the_shortest_inventory() -> None:
    """Every default serves, and a host without any variable is reached by its name."""
    plan = reading({"oap1": {}, "oap2": {"ansible_host": "10.0.0.12"}})
    assert (plan["complaints"], plan["warnings"], plan["files"]) == ([], [], [])
    defaults = {"port": 11800, "weight": 1, "max_conns": 0, "backup": False, "state": "up"}
    assert plan["servers"] == [
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
    ]
    assert (plan["tls"], plan["upstream_tls"], plan["services"]) == ({}, {}, [])
    assert (plan["token_names"], plan["oap_token"], plan["unknown"]) == ([], False, "pass")
    assert [item["address"] for item in plan["proof"]["listeners"]] == ["0.0.0.0", "::"]
    assert plan["log"]["sample"] == {"jvm": "1", "keep_alive": "1"}
    assert secrets() == {"files": [], "tokens": [], "literal": '""'}


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


@pytest.mark.parametrize("lines", [None, 7, ["a;"], "a\0b"])
def test_snippets_that_are_no_text(lines: Any) -> None:
    """A snippet is text; what it says is nginx's to judge."""
    found = complaint(grpc_proxy_snippets={"http": lines, "main": "any { text; }"})
    assert found.startswith(f"proxy1: grpc_proxy_snippets.http is {lines!r}; ")


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


@pytest.mark.parametrize(
    ("variable", "value", "remedy"),
    [
        ("grpc_proxy_certificate_dates", "ignore", "choose one of refuse, warn."),
        ("grpc_proxy_certificate_dates", None, "choose one of refuse, warn."),
        ("grpc_proxy_unknown_methods", "drop", "choose one of pass, reject."),
        ("grpc_proxy_unknown_methods", True, "choose one of pass, reject."),
        ("grpc_proxy_body_limit", "5m", "give a dictionary."),
        ("grpc_proxy_access_log", "file", "give a dictionary."),
        ("grpc_proxy_tls", True, "give a dictionary."),
        ("grpc_proxy_upstream_tls", ["x"], "give a dictionary."),
    ],
)
def test_complaints_about_the_other_variables(variable: str, value: Any, remedy: str) -> None:
    """Each names the proxy, the variable, the value, and what would do."""
    assert complaint(**{variable: value}) == f"proxy1: {variable} is {value!r}; {remedy}"


# What no one may see


def test_secrets() -> None:
    """Keys as files, tokens as expressions, the OAPs' token as a word of nginx."""
    settings = {
        "grpc_proxy_listen": TLS_LISTEN,
        "grpc_proxy_tls": listener_tls(),
        "grpc_proxy_upstream_tls": upstream_tls(
            certificate=server().certificate, private_key=server().private_key
        ),
        "grpc_proxy_token": [{"name": "java", "token": "a.b"}],
        "grpc_proxy_oap_token": 'o"p',
    }
    assert secrets(**settings) == {
        "files": [
            {
                "path": f"tls/{name}-private_key.pem",
                "content": server().private_key,
                "mode": "0600",
            }
            for name in ("listener", "upstream")
        ],
        "tokens": [{"name": "java", "pattern": "a\\x2eb"}],
        "literal": '"o\\"p"',
    }
    plan = reading(**settings)
    assert (plan["complaints"], plan["token_names"], plan["oap_token"]) == ([], ["java"], True)
    assert [item["path"] for item in plan["files"]] == [
        "tls/listener-certificate.pem",
        "tls/upstream-ca.pem",
        "tls/upstream-certificate.pem",
    ]


@pytest.mark.parametrize("oap_token", ["a\n", 7, ["s3cret"], " a", "\u00e9", "a" * 5000])
def test_a_token_for_the_oaps_that_does_not_do(oap_token: Any) -> None:
    """Refused, and not shown."""
    found = complaint(grpc_proxy_oap_token=oap_token)
    assert found.startswith("proxy1: grpc_proxy_oap_token ")
    assert "s3cret" not in found


def test_files_of_what_is_refused() -> None:
    """A key in the place of a certificate is not handed on as a file that may be shown."""
    plan = reading(
        grpc_proxy_listen=TLS_LISTEN, grpc_proxy_tls=listener_tls(certificate=server().private_key)
    )
    assert plan["complaints"]
    assert "PRIVATE KEY" not in str(plan)


KEY = server().private_key
TOKENS = ["t0ken-of-clients", 't0ken of "others"', "t0ken-for-oaps\n"]
PLACES = st.sampled_from(
    [
        *("certificate", "private_key", "client_ca", "client_crl", "ca", "name", "server_name"),
        *("certificate_path", "private_key_path", "client_ca_path", "profile", "enabled"),
        *("client_names", "tls", "servers", "group", "prefix", "rate_limit", "allow", "tag"),
    ]
)
KEYS_ANYWHERE = st.recursive(
    st.just(KEY) | st.just([KEY]) | st.just("x") | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(PLACES, inner, max_size=3),
    max_leaves=6,
)


def without_keys(text: str) -> bool:
    """Tell whether no line of a key and no token is in a text."""
    lines = [line for line in KEY.splitlines() if len(line) > 20 and "-----" not in line]
    return not any(secret in text for secret in (*lines, "PRIVATE KEY", "t0ken"))


@given(
    tls=KEYS_ANYWHERE,
    upstream=KEYS_ANYWHERE,
    services=st.lists(st.dictionaries(PLACES, KEYS_ANYWHERE, max_size=4), max_size=2)
    | KEYS_ANYWHERE,
    listen=st.sampled_from([TLS_LISTEN, [{"port": 1}], [{"port": 1, "tls": KEY}], KEY]),
    tokens=st.lists(st.sampled_from(TOKENS), max_size=2),
    shape=st.sampled_from(["text", "list", "broken"]),
)
def test_no_key_and_no_token_is_shown(
    tls: Any, upstream: Any, services: Any, listen: Any, tokens: list[str], shape: str
) -> None:
    """Wherever a key is put, and whatever is wrong with a token, neither is shown."""
    token: Any = [{"name": f"a{index}", "token": text} for index, text in enumerate(tokens)]
    if shape != "list":
        token = "".join(tokens) if shape == "text" else tokens
    plan = reading(
        grpc_proxy_listen=listen,
        grpc_proxy_tls=tls,
        grpc_proxy_upstream_tls=upstream,
        grpc_proxy_services=services,
        grpc_proxy_token=token,
        grpc_proxy_oap_token=TOKENS[-1] if shape == "broken" else TOKENS[0],
    )
    assert without_keys(json.dumps(plan))
    if plan["complaints"]:
        assert set(plan) == {"complaints", "warnings"}


# Paths on the host


def test_paths_on_host() -> None:
    """Certificates that nginx could read; keys stay where they are."""
    tls = {
        "certificate_path": "/etc/ssl/a.pem",
        "private_key_path": "/etc/ssl/a.key",
        "client_ca_path": "/etc/ssl/ca.pem",
        "client_crl_path": "/etc/ssl/crl.pem",
        "certificate": "text",
    }
    service = {**tls, "certificate_path": "/etc/ssl/b.pem", "tls": {"ca_path": "/etc/ssl/c.pem"}}
    everything = ["a", "b", "c", "ca", "crl", "o"]
    for services in ([service], service):
        settings = {
            "grpc_proxy_tls": tls,
            "grpc_proxy_upstream_tls": {"ca_path": "/etc/ssl/o.pem"},
            "grpc_proxy_services": services,
        }
        assert paths_on_host(settings) == [f"/etc/ssl/{name}.pem" for name in everything]
    wrong = ["a.pem", "/root/a.pem", "/dev/zero", "/etc/../x", 7, ["/etc/ssl/a.pem"], None, ""]
    for path in wrong:
        assert paths_on_host({"grpc_proxy_tls": {"certificate_path": path}}) == []
    assert paths_on_host({}) == []


def test_loaded_from_host() -> None:
    """What changes on the host changes the configuration, but for what the proof compares."""
    settings = {
        "grpc_proxy_tls": {"certificate_path": "/etc/a.pem", "client_crl_path": "/etc/crl.pem"},
        "grpc_proxy_upstream_tls": {"ca_path": "/etc/o.pem", "certificate_path": "/etc/p.pem"},
    }
    before = dict.fromkeys(paths_on_host(settings), "text")
    assert [item["path"] for item in loaded_from_host(settings, before)] == [
        *("/etc/crl.pem", "/etc/o.pem", "/etc/p.pem")
    ]
    for path in before:
        after = loaded_from_host(settings, {**before, path: "renewed"})
        assert (after == loaded_from_host(settings, before)) == (path == "/etc/a.pem")
    assert loaded_from_host(settings, {}) == []


def test_paths_of() -> None:
    """Those of old agents too, the bus, and what the proof asks."""
    paths = paths_of(CLASSES)
    assert "/skywalking.v3.TraceSegmentReportService/collect" in paths
    assert "/TraceSegmentReportService/collect" in paths
    assert {"/RemoteService/call", "/oap_proxy.Proof/AnyOtherMethod"} <= set(paths)


# Any value at all

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1, 70000)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
NAMES = {
    "grpc_proxy_listen": ["port", "address", "tls", "allow", "deny"],
    "grpc_proxy_tls": [
        *("certificate", "certificate_path", "private_key", "private_key_path", "client_ca"),
        *("client_ca_path", "client_crl", "client_crl_path", "client_names", "profile"),
        "server_name",
    ],
    "grpc_proxy_upstream_tls": [
        *("enabled", "ca", "ca_path", "name", "certificate", "private_key", "private_key_path"),
    ],
    "grpc_proxy_certificate_dates": [],
    "grpc_proxy_token": ["name", "token"],
    "grpc_proxy_oap_token": [],
    "grpc_proxy_allow": [],
    "grpc_proxy_deny": [],
    "grpc_proxy_rate_limit": ["rate", "burst", "key", "methods"],
    "grpc_proxy_connection_limit": ["streams", "key", "methods"],
    "grpc_proxy_body_limit": ["traces", "jvm", "others"],
    "grpc_proxy_access_log": ["to", "syslog_server", "sample"],
    "grpc_proxy_services": [
        *("name", "prefix", "server_name", "certificate", "private_key", "group", "port"),
        *("servers", "balance", "tls", "timeout", "allow", "deny", "rate_limit"),
        *("connection_limit", "body_limit", "tag"),
    ],
    "grpc_proxy_unknown_methods": [],
    "grpc_proxy_balance": ["hash"],
    "grpc_proxy_snippets": ["main", "http", "server"],
    "grpc_proxy_name": [],
    "grpc_proxy_oap_group": [],
}
WORDS = {
    "grpc_proxy_listen": {"port": 11800, "tls": True},
    "grpc_proxy_tls": listener_tls(client_ca=authority().certificate),
    "grpc_proxy_upstream_tls": upstream_tls(),
    "grpc_proxy_rate_limit": {"rate": "5/s"},
    "grpc_proxy_connection_limit": {"streams": 5},
    "grpc_proxy_token": {"name": "java", "token": "s3cret"},
    "grpc_proxy_services": SERVICE,
}


def values(variable: str) -> st.SearchStrategy[Any]:
    """Return values of one variable: any, of the right keys, and right but for a few of them."""
    keys = NAMES[variable]
    if not keys:
        return JSON | st.lists(TEXTS | st.ip_addresses().map(str), max_size=2)
    right = WORDS.get(variable, {})
    some = st.dictionaries(st.sampled_from(keys), JSON, max_size=3)
    near = some.map(lambda found: {**right, **found})
    return JSON | some | near | st.lists(near | some, max_size=2)


def strings(value: Any) -> list[str]:
    """Return every string in a plan, keys of dictionaries too."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in strings(item)]
    return []


def breaks(text: str) -> bool:
    """Tell whether a string could end a word of nginx where it is not quoted."""
    return bool(set(text) & set(';{}\n\r\0\\"#')) or not text.isprintable()


@given(st.data())
def test_any_value_of_any_variable(data: st.DataObject) -> None:
    """Nothing raises; what is not complained about cannot change the configuration around it."""
    several = data.draw(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=3))
    changed = {variable: data.draw(values(variable), label=variable) for variable in several}
    if data.draw(st.booleans(), label="with TLS"):
        changed = {
            "grpc_proxy_listen": TLS_LISTEN,
            "grpc_proxy_tls": WORDS["grpc_proxy_tls"],
            **changed,
        }
    plan = reading(changed=changed)
    secrets(changed=changed)
    paths_on_host({**SETTINGS, **changed})
    for text in (*plan["complaints"], *plan["warnings"]):
        assert text.startswith("proxy1: grpc_proxy_")
        assert text.isprintable()
        assert len(text) < 700
    if plan["complaints"]:
        return
    for file in plan.pop("files"):
        assert not breaks(file["path"])
    for text in strings(plan):
        assert not breaks(text), text


@given(lines=st.dictionaries(st.sampled_from(["main", "http", "server"]), TEXTS, max_size=2))
def test_snippets_are_not_judged(lines: dict[str, str]) -> None:
    """What they say is nginx's to judge; they are in no plan."""
    assume(not any("\0" in text for text in lines.values()))
    assert reading(grpc_proxy_snippets=lines)["complaints"] == []
