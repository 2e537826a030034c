"""Who may call: tokens that a header can carry and an expression finds, and lists of networks."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.access import (
    LONGEST_TOKEN,
    as_literal,
    as_pattern,
    read_access,
    read_networks,
    read_token,
    read_tokens,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.inventories import TEXTS, clean

PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))
CARRIED = st.text(PRINTABLE, min_size=1, max_size=40).filter(lambda text: text == text.strip())
"""Every token that a header can carry."""


def tokens(value: Any) -> tuple[list[dict[str, str]], list[str]]:
    """Read grpc_proxy_token; return the tokens and the complaints."""
    reader = Reader("proxy1")
    return read_tokens(reader, value), reader.complaints


# Tokens in a configuration


@given(text=CARRIED, other=CARRIED)
@example(text="aB", other="Ab")
@example(text="a.c", other="abc")
@example(text=PRINTABLE.strip(), other=PRINTABLE.strip() + "!")
@example(text="a", other="a\n")
def test_a_pattern_matches_its_token_alone(text: str, other: str) -> None:
    """The expression is held against the whole header, as the template holds it."""
    expression = re.compile(f"^{as_pattern(text)}\\Z")
    assert expression.search(text)
    assert bool(expression.search(other)) == (text == other)
    for near in (text + "x", "x" + text, text[:-1], text + "\n", text.swapcase(), ""):
        assert bool(expression.search(near)) == (text == near)


@given(text=CARRIED)
def test_a_pattern_is_plain_to_nginx(text: str) -> None:
    """It stands in a quoted word of nginx: nothing in it ends that, or is a variable."""
    assert re.fullmatch(r"([A-Za-z0-9]|\\x[0-9a-f]{2})+", as_pattern(text))


def unquoted(word: str) -> str:
    """Read a quoted word as nginx does (ngx_conf_read_token)."""
    assert word[0] == word[-1] == '"'
    inner, found = word[1:-1], ""
    special = {'"': '"', "'": "'", "\\": "\\", "t": "\t", "r": "\r", "n": "\n"}
    while inner:
        if inner[0] == '"':
            raise AssertionError("the word ends here")
        if inner[0] == "\\" and inner[1:2] in special:
            found, inner = found + special[inner[1]], inner[2:]
        else:
            found, inner = found + inner[0], inner[1:]
    return found


@given(text=st.just("") | CARRIED)
@example(text='"; } evil { "')
@example(text="\\")
@example(text="\\n\\t\\r")
@example(text="a\\")
@example(text='\\"')
def test_a_literal_is_its_token(text: str) -> None:
    """What nginx reads is what the OAP gets."""
    assert unquoted(as_literal(text)) == text


# Tokens as people set them


@pytest.mark.parametrize("value", [None, "", []])
def test_no_token(value: Any) -> None:
    """Nothing is no token."""
    assert tokens(value) == ([], [])


def test_one_token() -> None:
    """Text alone is a token by the name default."""
    assert tokens("s3cret") == ([{"name": "default", "token": "s3cret"}], [])


def test_tokens_by_name() -> None:
    """Each has its name, for the log."""
    given = [{"name": "java", "token": "one"}, {"name": "node.1", "token": "ONE"}]
    assert tokens(given) == (given, [])


@given(text=CARRIED)
@example(text='it\'s "quoted" \\ $var {;} #')
@example(text="x" * LONGEST_TOKEN)
def test_every_token_that_a_header_carries(text: str) -> None:
    """Quotes and all."""
    reader = Reader("proxy1")
    assert read_token(reader, "x", text) == text
    assert reader.complaints == []


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        ("s3cret\n", "cannot be sent as it is"),
        ("s3\ncret", "cannot be sent as it is"),
        (" s3cret", "cannot be sent as it is"),
        ("s3cret ", "cannot be sent as it is"),
        ("s3cr\tet", "cannot be sent as it is"),
        ("s3cr\0et", "cannot be sent as it is"),
        ("s3cr\x7fet", "cannot be sent as it is"),
        ("s3cr\u00ebt", "cannot be sent as it is"),
        ("s3cr\ud800t", "cannot be sent as it is"),
        (" ", "cannot be sent as it is"),
        ("s3cret" * 700, "is longer than 4080 characters"),
        ("s3cret" + 1100 * "$", "is longer than 4080 characters"),
        ("", "has no token"),
        (None, "has no token"),
        (7, "is not text; put it in quotes."),
        (["s3cret"], "has no token"),
        ({"s3cret": 1}, "has no token"),
    ],
)
def test_a_token_that_does_not_do(token: Any, sentence: str) -> None:
    """Refused without being shown."""
    _tokens, (found,) = tokens([{"name": "java", "token": token}])
    assert found.startswith(f"proxy1: grpc_proxy_token[0] {sentence}")
    assert "s3c" not in found
    assert found.endswith(".")


def test_a_single_token_that_does_not_do() -> None:
    """The variable is named as it was set."""
    _tokens, (found,) = tokens("s3cret\n")
    assert found.startswith("proxy1: grpc_proxy_token cannot be sent")


@pytest.mark.parametrize("value", [7, True, {"token": "s3cret"}, ["s3cret"], [{}, "s3cret"]])
def test_tokens_that_are_none(value: Any) -> None:
    """What is neither text nor a list of dictionaries is refused without being shown."""
    assert tokens(value) == (
        [],
        ["proxy1: grpc_proxy_token is neither a token nor a list of {name: ..., token: ...}."],
    )


@pytest.mark.parametrize("name", [None, "", "a b", "a;", 7, ["a"], "a\n", "$a", "-a"])
def test_a_name_that_does_not_do(name: Any) -> None:
    """The name stands in the configuration and in the log."""
    _tokens, (found,) = tokens([{"name": name, "token": "s3cret"}])
    assert found == (
        f"proxy1: grpc_proxy_token[0].name is {name!r}; letters, digits, '.', '_' and '-' only."
    )


def test_twice() -> None:
    """Names and tokens differ; what is wrong with two of them is told of each."""
    again = "the same {} twice; each must differ."
    java, node = {"name": "java", "token": "one"}, {"name": "node", "token": "two"}
    assert tokens([java, {**node, "name": "java"}])[1] == [
        f"proxy1: grpc_proxy_token has {again.format('name')}"
    ]
    assert tokens([java, {**node, "token": "one"}])[1] == [
        f"proxy1: grpc_proxy_token has {again.format('token')}"
    ]
    assert [text[:24] for text in tokens([{"name": "a"}, {"name": "b"}])[1]] == [
        "proxy1: grpc_proxy_token",
    ] * 2


# Networks


def networks(value: Any) -> tuple[list[str], list[str]]:
    """Read a list of networks; return them and the complaints."""
    reader = Reader("proxy1")
    return read_networks(reader, "x", value), reader.complaints


@given(network=st.ip_addresses(v=4) | st.ip_addresses(v=6, network="2000::/3"))
def test_addresses(network: Any) -> None:
    """An address is a network of one."""
    assert networks([str(network)]) == ([str(ipaddress.ip_network(network))], [])


@pytest.mark.parametrize("value", ["::ffff:10.0.0.1", "::ffff:0:0/96"])
def test_ipv4_in_the_notation_of_ipv6(value: str) -> None:
    """No client is ever seen by such an address, so a list that holds it would do nothing."""
    found, (complaint,) = networks([value])
    assert found == []
    remedy = "nginx sees it as an IPv4 address; write it as one."
    assert complaint == f"proxy1: x[0] is {value!r}; {remedy}"


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (None, []),
        ("", []),
        ([], []),
        ("10.0.0.0/8", ["10.0.0.0/8"]),
        (["0.0.0.0/0", "::/0"], ["0.0.0.0/0", "::/0"]),
        (["10.0.0.0/255.0.0.0"], ["10.0.0.0/8"]),
        (["FD00:0::/64", "::1"], ["fd00::/64", "::1/128"]),
    ],
)
def test_networks(value: Any, found: list[str]) -> None:
    """Networks are written the short way."""
    assert networks(value) == (found, [])


@pytest.mark.parametrize(
    ("item", "remedy"),
    [
        ("10.0.0.1/8", "10.0.0.1/8 has host bits set; write 10.0.0.0/8."),
        ("fd00::1/64", "fd00::1/64 has host bits set; write fd00::/64."),
        *(
            (item, "names are not resolved.")
            for item in (
                "localhost",
                "agents.example",
                "10.0.0",
                "10.0.0.0/33",
                "10.0.0.0/8; }",
                "10.0.0.0/8\n",
                "10.0.0.0-10.0.0.9",
                "fe80::1%eth0",
                "fe80::1%; } evil {/128",
                "fe80::%a b/64",
                "all",
                "unix:",
                7,
                None,
                True,
                ["10.0.0.0/8"],
                {"network": "10.0.0.0/8"},
            )
        ),
    ],
)
def test_networks_that_are_none(item: Any, remedy: str) -> None:
    """Each is told with its place in the list, and one with host bits with what was meant."""
    found, complaints = networks(["192.0.2.0/24", item])
    assert found == ["192.0.2.0/24"]
    (text,) = complaints
    assert text.startswith(f"proxy1: x[1] is {item!r}; ")
    assert text.endswith(remedy)


@pytest.mark.parametrize("value", [7, True, {"a": 1}, False])
def test_no_list_of_networks(value: Any) -> None:
    """What is no list is told."""
    assert networks(value) == (
        [],
        [f"proxy1: x is {value!r}; give a list of addresses and networks."],
    )


@pytest.mark.parametrize(
    ("first", "again"),
    [("10.0.0.1", "10.0.0.1/32"), ("::1", "0::1"), ("10.0.0.0/8", "10.0.0.0/8")],
)
def test_a_network_twice(first: str, again: str) -> None:
    """However it is written."""
    _found, (text,) = networks([first, again])
    assert text == f"proxy1: x[1] is {again!r}; it is in the list already."


def test_on_both_lists() -> None:
    """What is allowed and denied is told once; a part of a network may be denied."""
    reader = Reader("proxy1")
    both = {"allow": ["10.0.0.0/8", "10.0.0.1"], "deny": ["10.0.0.1/32", "10.1.0.0/16"]}
    read_access(reader, "x.", both)
    assert reader.complaints == [
        "proxy1: x.allow is '10.0.0.1/32'; it is in x.deny too; choose.",
    ]


def test_no_access_list() -> None:
    """Nothing is said where nothing is set."""
    reader = Reader("proxy1")
    assert read_access(reader, "x.", {"port": 1}) == {"allow": [], "deny": []}
    assert reader.complaints == []


@given(text=TEXTS | st.builds("fe80::{}%{}".format, st.integers(0, 9), TEXTS))
def test_no_text_of_a_network_passes(text: str) -> None:
    """Either the entry is complained about, or what is read of it is clean."""
    found, complaints = networks([text])
    assert bool(found) != bool(complaints)
    assert all(clean(item) for item in found)
