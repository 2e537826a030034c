"""Values held against a specification: each wrong one by host and whole variable, no right one."""

from __future__ import annotations

import string
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.specification import (
    OAP_VARIABLES,
    SHOWN,
    Unreadable,
    evaluated,
    misspelt,
    refusals,
)
from hypothesis import given
from hypothesis import strategies as st

TLS = {
    "type": "dict",
    "default": {},
    "options": {
        "certificate": {"type": "str"},
        "private_key": {"type": "str", "no_log": True},
        "client_ca": {"type": "str"},
        "protocols": {"type": "list", "elements": "str", "choices": ["TLSv1.2", "TLSv1.3"]},
    },
}
OPTIONS: dict[str, Any] = {
    "grpc_proxy_name": {"type": "str", "default": "oap-proxy"},
    "grpc_proxy_install": {"type": "str", "choices": ["package", "container"]},
    "grpc_proxy_balance": {"type": "raw", "default": "round_robin"},
    "grpc_proxy_listen": {
        "type": "list",
        "elements": "dict",
        "default": [{"port": 11800}],
        "options": {
            "address": {"type": "str"},
            "port": {"type": "int", "required": True},
            "tls": TLS,
        },
    },
    "grpc_proxy_tls": TLS,
    "grpc_proxy_allow": {"type": "list", "elements": "str", "default": []},
    "grpc_proxy_counts": {"type": "list", "elements": "int", "default": []},
    "grpc_proxy_free": {"type": "dict", "default": {}},
    "grpc_proxy_restart": {"type": "bool", "default": False},
    "grpc_proxy_keep": {"type": "int", "default": 5},
    "grpc_proxy_factor": {"type": "float", "default": 1.5},
    "grpc_proxy_log": {"type": "path", "default": "/var/log"},
    "grpc_proxy_token": {"type": "str", "default": "", "no_log": True},
    "grpc_proxy_tokens": {
        "type": "dict",
        "default": {},
        "no_log": True,
        "options": {"first": {"type": "int"}, "kind": {"choices": ["a", "b"]}},
    },
}
HUSHED = "hush-hush"


def told(**given_ones: Any) -> list[str]:
    """What is said of these variables, all of which are proxy1's, without that beginning."""
    sentences = refusals("proxy1", OPTIONS, given_ones, "grpc_proxy_")
    assert all(sentence.startswith("proxy1: grpc_proxy_") for sentence in sentences)
    return [sentence[len("proxy1: grpc_proxy_") :] for sentence in sentences]


def kind_of(kind: str, value: Any, **more: Any) -> list[str]:
    """What is said of a value where one of a kind is wanted."""
    return refusals("h", {"x_y": {"type": kind, "default": 1, **more}}, {"x_y": value}, "x_")


RIGHT: dict[str, list[Any]] = {
    "str": ["", "text", "two\nlines", 5, 1.5, True, None],
    "path": ["/a", "a/b", None],
    "int": [0, -1, 11800, "11800", " 11800 ", "-3", 3.0],
    "float": [0, 1.5, "1.5", "2", "-1e3"],
    "bool": [True, False, 1, 0, 1.0, *"yYnNtTfF01", "yes", "no", "on", "Off", "TRUE", " false "],
    "list": [[], [1, "a", None], ()],
    "dict": [{}, {"a": 1, 5: None}],
    "raw": [None, "", 5, [], {"a": [1]}],
}
WRONG: dict[str, list[Any]] = {
    "str": [[], ["text"], {}, {"a": 1}],
    "path": [[], {}],
    "int": ["abc", "", "1.5", 1.5, "0x10", "1 2", None, True, [], {}, float("inf"), float("nan")],
    "float": ["abc", "", "nan", "inf", None, True, [], {}],
    "bool": ["perhaps", "", "2", 2, -1, 0.5, None, [], {}],
    "list": ["", "a,b", 5, None, True, {}, {"a": 1}],
    "dict": ["", "a=1", '{"a": 1}', 5, None, True, [], [{"a": 1}]],
}
REMEDIES = {
    "str": "give text.",
    "path": "give a path.",
    "int": "give a whole number.",
    "float": "give a number.",
    "bool": "give true or false.",
    "list": "give a list.",
    "dict": "give a dictionary.",
}


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in RIGHT.items() for value in values]
)
def test_right_kind(kind: str, value: Any) -> None:
    """What Ansible takes for a kind is taken here too, and nothing is said."""
    assert kind_of(kind, value) == []
    if value != ():  # a list of Python's own, which no inventory has
        known = ArgumentSpecValidator({"x_y": {"type": kind, "default": 1}})
        assert not known.validate({"x_y": value}).error_messages


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in WRONG.items() for value in values]
)
def test_wrong_kind(kind: str, value: Any) -> None:
    """A value of another kind is told with what would do."""
    assert kind_of(kind, value) == [f"h: x_y is {value!r}; {REMEDIES[kind]}"]


@given(
    kind=st.sampled_from(["int", "bool", "str"]),
    value=st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
)
def test_what_ansible_refuses_is_refused(kind: str, value: Any) -> None:
    """Nothing passes here that would fail where Ansible's own validation comes first."""
    spec = {"x_y": {"type": kind, "default": 1}}
    try:
        messages = ArgumentSpecValidator(spec).validate({"x_y": value}).error_messages
    except OverflowError:
        messages = ["not a number that ends"]
    # Digits with underscores are a number for Python alone.
    odd = isinstance(value, str) and "_" in value
    assert kind_of(kind, value) or odd or not messages


def test_defaults_and_typical_values_are_right() -> None:
    """Nothing is said of what people write when they write what they should."""
    assert told() == []
    assert told(**{name: one["default"] for name, one in OPTIONS.items() if "default" in one}) == []
    listen = [{"port": "11800"}, {"port": 11801, "address": None, "tls": {"certificate": "PEM"}}]
    assert (
        told(
            grpc_proxy_install="package",
            grpc_proxy_listen=listen,
            grpc_proxy_tls={"private_key": HUSHED, "protocols": ["TLSv1.3"]},
            grpc_proxy_balance={"hash": "method"},
            grpc_proxy_counts=[1, "2"],
            grpc_proxy_free={"what": ["ever"]},
        )
        == []
    )


SENTENCES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "an element's key": (
        {"grpc_proxy_listen": [{"port": 1}, {"port": "abc"}]},
        ["listen[1].port is 'abc'; give a whole number."],
    ),
    "a key three levels down": (
        {"grpc_proxy_listen": [{"port": 1, "tls": {"client_caa": "PEM"}}]},
        [
            "listen[0].tls.client_caa is not known; did you mean client_ca? "
            "(known: certificate, private_key, client_ca, protocols)"
        ],
    ),
    "an element three levels down": (
        {"grpc_proxy_listen": [{"port": 1, "tls": {"protocols": ["TLSv1.3", "SSLv3"]}}]},
        ["listen[0].tls.protocols[1] is 'SSLv3'; choose one of TLSv1.2, TLSv1.3."],
    ),
    "a key that is like no other": (
        {"grpc_proxy_listen": [{"port": 1, "zzz": 1}]},
        ["listen[0].zzz is not known; known: address, port, tls."],
    ),
    "a required key misspelt is one mistake": (
        {"grpc_proxy_listen": [{"prot": 1}]},
        ["listen[0].prot is not known; did you mean port? (known: address, port, tls)"],
    ),
    "a required key left out": (
        {"grpc_proxy_listen": [{"address": "::1"}]},
        ["listen[0].port is missing; give a whole number."],
    ),
    "a required key without a value": (
        {"grpc_proxy_listen": [{"port": None}]},
        ["listen[0].port is None; give a whole number."],
    ),
    "no dictionary in a list": (
        {"grpc_proxy_listen": [11800, None]},
        [
            "listen[0] is 11800; give a dictionary of address, port, tls.",
            "listen[1] is None; give a dictionary of address, port, tls.",
        ],
    ),
    "no list": (
        {"grpc_proxy_listen": 11800, "grpc_proxy_allow": {"a": 1}},
        [
            "listen is 11800; give a list of dictionaries of address, port, tls.",
            "allow is {'a': 1}; give a list.",
        ],
    ),
    "an element of another kind": (
        {"grpc_proxy_counts": [1, "x"], "grpc_proxy_allow": ["a", ["b"]]},
        [
            "allow[1] is ['b']; give text.",
            "counts[1] is 'x'; give a whole number.",
        ],
    ),
    "a choice": (
        {"grpc_proxy_install": "snap"},
        ["install is 'snap'; choose one of package, container."],
    ),
    "a misspelt variable": (
        {"grpc_proxy_lisen": [], "grpc_proxy_Keep": 1},
        [
            "lisen is not known; did you mean grpc_proxy_listen?",
            "Keep is not known; did you mean grpc_proxy_keep?",
        ],
    ),
    "a variable that is like no other": (
        {"grpc_proxy_zzzzzz": 1},
        [f"zzzzzz is not known; known: {', '.join(OPTIONS)}."],
    ),
    "a key that is no plain name": (
        {"grpc_proxy_tls": {5: 1, "a\nb": 1}},
        [
            f"tls[{key}] is not known; known: certificate, private_key, client_ca, protocols."
            for key in ("5", "'a\\nb'")
        ],
    ),
    "an undefined variable": (
        {"grpc_proxy_listen": [{"port": Unreadable("'nope' is undefined")}]},
        ["listen[0].port is not readable: 'nope' is undefined; define it, or give a value."],
    ),
    "expressions inside of what is free": (
        {
            "grpc_proxy_balance": {"hash": Unreadable("no")},
            "grpc_proxy_free": {"a": [1, Unreadable("not")]},
            "grpc_proxy_allow": [Unreadable("nor"), "a", Unreadable("never")],
            "grpc_proxy_name": [Unreadable("this")],
        },
        [
            "name[0] is not readable: this; give what can be read.",
            "balance.hash is not readable: no; give what can be read.",
            "allow[0] is not readable: nor; give what can be read.",
            "allow[2] is not readable: never; give what can be read.",
            "free.a[1] is not readable: not; give what can be read.",
        ],
    ),
}


@pytest.mark.parametrize(("variables", "sentences"), SENTENCES.values(), ids=SENTENCES)
def test_sentence(variables: dict[str, Any], sentences: list[str]) -> None:
    """Each mistake has one sentence, with the whole variable and what would do."""
    assert told(**variables) == sentences


def test_all_mistakes_are_told_at_once() -> None:
    """One run tells everything."""
    assert len(told(grpc_proxy_keep="a", grpc_proxy_nmae="b", grpc_proxy_tls={"c": 1})) == 3


def test_a_required_variable() -> None:
    """A variable without a default is told when it is missing."""
    options = {"x_y": {"type": "str", "required": True}}
    assert refusals("h", options, {}, "x_") == ["h: x_y is missing; give text."]
    assert refusals("h", options, {"x_y": ""}, "x_") == []


def test_long_values_are_cut() -> None:
    """A value of a megabyte does not bury the sentence."""
    (sentence,) = told(grpc_proxy_keep="a" * 1_000_000)
    assert sentence.endswith("...; give a whole number.")
    assert len(sentence) < SHOWN + 100


HIDDEN: dict[str, tuple[dict[str, Any], str]] = {
    "as a number": (
        {"grpc_proxy_tokens": 20260101},
        "tokens is a number that is not shown; give a dictionary of first, kind.",
    ),
    "in a list": (
        {"grpc_proxy_token": [HUSHED]},
        "token is a list that is not shown; give text.",
    ),
    "under a key": (
        {"grpc_proxy_tls": {"private_key": {"key": HUSHED}}},
        "tls.private_key is a dictionary that is not shown; give text.",
    ),
    "in place of what would hold it": (
        {"grpc_proxy_tls": HUSHED},
        "tls is text that is not shown; "
        "give a dictionary of certificate, private_key, client_ca, protocols.",
    ),
    "in place of a list of what would hold it": (
        {"grpc_proxy_listen": {"tls": {"private_key": HUSHED}}},
        "listen.port is missing; give a whole number.",
    ),
    "under a misspelt key": (
        {"grpc_proxy_tls": {"privat_key": HUSHED}},
        "tls.privat_key is not known; did you mean private_key? "
        "(known: certificate, private_key, client_ca, protocols)",
    ),
    "under a misspelt name": (
        {"grpc_proxy_tokn": HUSHED},
        "tokn is not known; did you mean grpc_proxy_token?",
    ),
    "inside of what is secret as a whole": (
        {"grpc_proxy_tokens": {"first": HUSHED}},
        "tokens.first is text that is not shown; give a whole number.",
    ),
    "as a choice": (
        {"grpc_proxy_tokens": {"kind": HUSHED}},
        "tokens.kind is text that is not shown; choose one of a, b.",
    ),
    "in an expression": (
        {"grpc_proxy_token": Unreadable(f"cannot read {HUSHED}")},
        "token is not readable: its expression fails, and is not shown; give what can be read.",
    ),
    "by the name of an undefined variable": (
        {"grpc_proxy_token": Unreadable("'vault_token' is undefined")},
        "token is not readable: 'vault_token' is undefined; define it, or give a value.",
    ),
}


@pytest.mark.parametrize(("variables", "sentence"), HIDDEN.values(), ids=HIDDEN)
def test_secrets_are_not_shown(variables: dict[str, Any], sentence: str) -> None:
    """What a specification calls secret is in no sentence, wherever it stands."""
    (found,) = told(**variables)
    assert HUSHED not in found
    assert "20260101" not in found
    assert found == sentence


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*OPTIONS, "grpc_proxy_x"]), JSON, max_size=4))
def test_any_value_is_judged(variables: dict[str, Any]) -> None:
    """No value breaks the judgement, and a sentence is one line that names its variable."""
    for sentence in refusals("proxy1", OPTIONS, variables, "grpc_proxy_"):
        assert "\n" not in sentence
        assert any(sentence.startswith(f"proxy1: {name}") for name in variables)


@given(JSON, JSON)
def test_a_secret_is_never_in_a_sentence(one: Any, other: Any) -> None:
    """Whatever stands around it."""
    for value in ([one, HUSHED], {"first": [other, HUSHED], "kind": HUSHED}, {"x": {"y": HUSHED}}):
        for name in ("grpc_proxy_token", "grpc_proxy_tokens", "grpc_proxy_tls"):
            assert not [one for one in told(**{name: value}) if HUSHED in one]


def test_evaluated_keeps_what_is_plain() -> None:
    """Every text is evaluated by itself; numbers and their like are not."""
    value = {"a": ["x", 5, None, True, 1.5], "b": {"c": ("y",)}}
    assert evaluated(value, str.upper) == {"a": ["X", 5, None, True, 1.5], "b": {"c": ["Y"]}}


FAILURES = {
    "'nope' is undefined. 'nope' is undefined": "'nope' is undefined",
    "Error was: 'dict object' is long": "Error was: 'dict object' is long",
    "two\n  lines.": "two lines",
    "": "KeyError",
}


@pytest.mark.parametrize(("message", "reason"), FAILURES.items())
def test_evaluated_knows_what_failed(message: str, reason: str) -> None:
    """An expression that fails stands at its place, and the others are read."""

    class Failing(KeyError):
        """An error with this message."""

        def __str__(self) -> str:
            return message

    Failing.__name__ = "KeyError"

    def evaluate(text: str) -> str:
        if text == "bad":
            raise Failing
        return text

    assert evaluated({"a": ["bad", "good"]}, evaluate) == {"a": [Unreadable(reason), "good"]}


def test_a_long_reason_is_cut() -> None:
    """Ansible may tell a file and its lines; the sentence stays one."""

    def evaluate(_value: Any) -> Any:
        raise ValueError("a" * 1_000_000)

    found = evaluated("text", evaluate)
    assert isinstance(found, Unreadable)
    assert len(found.reason) < SHOWN + 10


MISSPELLINGS = {
    "oap_adress": "oap_address",
    "oap_addresss": "",
    "oap_prot": "oap_port",
    "oap_Port": "oap_port",
    "oap_por": "oap_port",
    "oap_wieght": "oap_weight",
    "oap_weigth": "oap_weight",
    "oap_waight": "oap_weight",
    "oap_max_con": "oap_max_conns",
    "oap_max_cons": "oap_max_conns",
    "oap_bakup": "oap_backup",
    "oap_stat": "oap_state",
    "OAP_STATE": "oap_state",
}
OWN = [
    "oap_address6",
    "oap_addresses",
    "oap_ports",
    "oap_http_port",
    "oap_host",
    "oap_version",
    "oap_stage",
    "oap_start",
    "oap_status",
    "oap_storage",
    "oap_pool",
    "oap_addr",
    "oap_heap",
    "oap_cluster_name",
    "oap_",
]


@pytest.mark.parametrize(("name", "meant"), MISSPELLINGS.items())
def test_misspelt_variable_of_an_oap(name: str, meant: str) -> None:
    """A known name with a slip of the finger is told, unless it is longer than the known one."""
    expected = [f"oap1: {name} is not known; did you mean {meant}?"] if meant else []
    assert misspelt("oap1", [name, "oap_own"], OAP_VARIABLES) == expected


@pytest.mark.parametrize("name", [*OWN, *OAP_VARIABLES])
def test_variables_of_the_users_own(name: str) -> None:
    """A variable that only looks a little like a known one is nobody's business."""
    assert misspelt("oap1", [name], OAP_VARIABLES) == []


def test_beside_the_known_one_nothing_is_misspelt() -> None:
    """Who sets the known one too means another variable by the other name."""
    assert misspelt("oap1", ["oap_adress", "oap_address"], OAP_VARIABLES) == []


@given(st.sampled_from(OAP_VARIABLES), st.integers(0, 30), st.sampled_from(string.ascii_lowercase))
def test_every_letter_left_out_is_noticed(name: str, at: int, letter: str) -> None:
    """One letter lost anywhere behind the prefix is told by the name that it was."""
    at = 4 + at % (len(name) - 4)
    lost = name[:at] + name[at + 1 :]
    assert misspelt("h", [lost], [name]) == [f"h: {lost} is not known; did you mean {name}?"]
    more = name[:at] + letter + name[at:]
    assert bool(misspelt("h", [more], [name])) is not more.startswith(name)
