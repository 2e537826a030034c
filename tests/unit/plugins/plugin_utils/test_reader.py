"""Plain values and complaints: what every other reader is made of."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import (
    DURATION,
    LONGEST_QUOTE,
    SIZE,
    Reader,
    address_of,
    endpoint,
    is_name,
    quoted,
)
from hypothesis import given
from hypothesis import strategies as st

KEY = "-----BEGIN PRIVATE KEY-----\nMIG...\n-----END PRIVATE KEY-----\n"


def test_a_complaint() -> None:
    """Host, variable, value, remedy; another host where the variable is that one's."""
    reader = Reader("proxy1")
    reader.complain("x", "a b", "give another.")
    reader.complain("y", 7, "give another.", "oap1")
    reader.refuse("z", "is missing.")
    reader.refuse("z", "is missing.", "oap1")
    reader.warn("z", "is old.")
    assert reader.complaints == [
        "proxy1: x is 'a b'; give another.",
        "oap1: y is 7; give another.",
        "proxy1: z is missing.",
        "oap1: z is missing.",
    ]
    assert reader.warnings == ["proxy1: z is old."]


@pytest.mark.parametrize("character", ["\n", "\r", "\x1b", "\u2028", "\0", "\ud800"])
def test_a_complaint_is_one_line(character: str) -> None:
    """Whatever a key or a certificate's name holds, no sentence is broken by it."""
    reader = Reader("proxy1")
    reader.complain(f"x.a{character}b", character, "give another.")
    reader.refuse("x", f"has {character}.")
    reader.warn("x", f"has {character}.")
    for text in (*reader.complaints, *reader.warnings):
        assert text.isprintable()
        assert text.encode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "'plain'"),
        (None, "None"),
        ({"token": "t0ken", "name": "a"}, "{'token': '(not shown)', 'name': 'a'}"),
        ([{"private_key": "MIG..."}], "[{'private_key': '(not shown)'}]"),
        ({"tls": {"private_key": {"a": 1}}}, "{'tls': {'private_key': '(not shown)'}}"),
        (KEY, "'(not shown)'"),
        ({"certificate": KEY}, "{'certificate': '(not shown)'}"),
        ([[KEY]], "[['(not shown)']]"),
        ("x" * 5000, "'" + "x" * (LONGEST_QUOTE - 1) + "..."),
    ],
)
def test_quotes(value: Any, shown: str) -> None:
    """A quote is short, and nothing secret is in it."""
    assert quoted(value) == shown


@given(value=st.integers(), low=st.integers(-99, 99), size=st.integers(0, 99))
def test_integer(value: int, low: int, size: int) -> None:
    """A whole number within its bounds is taken as number and as text, and no other."""
    for given_value in (value, str(value)):
        reader = Reader("proxy1")
        found = reader.integer("x", given_value, low, low + size)
        assert (found is None) == bool(reader.complaints)
        assert found == (value if low <= value <= low + size else None)


@pytest.mark.parametrize("value", ["", " 1", "1\n", "1.0", 1.0, True, None, [1], "\u0661", "1e1"])
def test_no_integer(value: Any) -> None:
    """What is no whole number, or not written as one, is complained about."""
    reader = Reader("proxy1")
    assert reader.integer("x", value, 0, 10) is None
    assert reader.complaints == [f"proxy1: x is {value!r}; give a whole number from 0 to 10."]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        *((value, True) for value in (True, "true", "True", "YES", 1, "1")),
        *((value, False) for value in (False, "false", "no", 0, "0")),
    ],
)
def test_boolean(value: Any, found: bool) -> None:
    """Truth is written in many ways."""
    reader = Reader("proxy1")
    assert reader.boolean("x", value) is found
    assert reader.complaints == []


@pytest.mark.parametrize("value", ["", None, "maybe", 2, [], {}, "true\n", "on; }"])
def test_no_boolean(value: Any) -> None:
    """What is no truth value is complained about, and taken for false."""
    reader = Reader("proxy1")
    assert reader.boolean("x", value) is False
    assert reader.complaints == [f"proxy1: x is {value!r}; give true or false."]


@pytest.mark.parametrize("value", ["c", "", None, 1, ["a"], {"a": 1}, "A", "a\n"])
def test_no_choice(value: Any) -> None:
    """What is none of the words is complained about, and the first word goes on."""
    reader = Reader("proxy1")
    assert reader.choice("x", value, ("a", "b")) == "a"
    assert reader.complaints == [f"proxy1: x is {value!r}; choose one of a, b."]
    assert reader.choice("x", "b", ("a", "b")) == "b"


@pytest.mark.parametrize("value", [None, True, [], ["5s"], {"a": 1}, "", "5s\n", " 5s", "5"])
def test_not_matching(value: Any) -> None:
    """What does not match as a whole is complained about, and nothing goes on."""
    reader = Reader("proxy1")
    assert reader.matching("x", value, DURATION, "give a time.") == ""
    assert reader.complaints == [f"proxy1: x is {value!r}; give a time."]


def test_matching() -> None:
    """Text and numbers go on as text; a word that is no text never does."""
    reader = Reader("proxy1")
    assert reader.matching("x", "5s", DURATION, "") == "5s"
    assert reader.matching("x", 0, SIZE, "") == "0"
    assert reader.complaints == []
    for value in (None, True, [1]):
        assert reader.matching("x", value, re.compile(".*"), "give text.") == ""
    assert len(reader.complaints) == 3


@pytest.mark.parametrize(("value", "found"), [(None, {}), ("", {}), ({}, {}), ({"a": 1}, {"a": 1})])
def test_dictionary(value: Any, found: dict[str, Any]) -> None:
    """Nothing is an empty dictionary."""
    reader = Reader("proxy1")
    assert (reader.dictionary("x", value), reader.complaints) == (found, [])


@pytest.mark.parametrize("value", [[], [1], "a", 0, False])
def test_no_dictionary(value: Any) -> None:
    """What is none is complained about."""
    reader = Reader("proxy1")
    assert reader.dictionary("x", value) == {}
    assert reader.complaints == [f"proxy1: x is {value!r}; give a dictionary."]


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, []), ("", []), ({}, []), ([], []), ({"a": 1}, [{"a": 1}]), ([{}, {}], [{}, {}])],
)
def test_dictionaries(value: Any, found: list[dict[str, Any]]) -> None:
    """One dictionary is a list of one."""
    reader = Reader("proxy1")
    assert (reader.dictionaries("x", value), reader.complaints) == (found, [])


@pytest.mark.parametrize("value", ["a", 7, [1], [{}, "a"], False])
def test_no_dictionaries(value: Any) -> None:
    """A list with anything else in it is complained about as a whole."""
    reader = Reader("proxy1")
    assert reader.dictionaries("x", value) == []
    assert reader.complaints == [f"proxy1: x is {value!r}; give a list of dictionaries."]


@given(address=st.ip_addresses())
def test_addresses(address: Any) -> None:
    """Every unicast address is taken, written the short way."""
    refused = address.is_unspecified or address.is_multicast
    assert address_of(str(address)) == (None if refused else str(address))
    assert address_of(address.exploded) == address_of(str(address))
    assert address_of(address) is None  # only text is ever read
    assert not is_name(str(address))


@pytest.mark.parametrize("name", ["oap", "oap.example", "oap.example.", "a_b", "1oap", "UNIX.a"])
def test_names(name: str) -> None:
    """A host name is taken as it is."""
    assert address_of(name) == name
    assert is_name(name)


def test_endpoint() -> None:
    """An IPv6 address stands in brackets."""
    assert endpoint("10.0.0.1", 80) == "10.0.0.1:80"
    assert endpoint("fd00::1", 80) == "[fd00::1]:80"
