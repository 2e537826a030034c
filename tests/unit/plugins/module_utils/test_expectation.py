"""What a generation must answer: where it is asked, how it is kept, what clashes with it."""

from __future__ import annotations

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    Expectation,
    Listener,
    Refusal,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("address", "asked"),
    [
        ("0.0.0.0", "127.0.0.1:11800"),
        ("::", "[::1]:11800"),
        ("10.0.0.1", "10.0.0.1:11800"),
        ("fd00::1", "[fd00::1]:11800"),
    ],
)
def test_where_a_listener_is_asked(address: str, asked: str) -> None:
    """A wildcard is asked over the loopback address of its IP version."""
    endpoint = Listener(address, 11800).endpoint
    assert endpoint.name == asked
    # A single address is asked from itself: no other of the host's is in the access list.
    assert endpoint.source == ("" if address in {"0.0.0.0", "::"} else address)


W4, A4, B4 = Listener("0.0.0.0", 1), Listener("10.0.0.1", 1), Listener("10.0.0.2", 1)
W6, A6 = Listener("::", 1), Listener("fd00::1", 1)
OTHER_PORT, OTHER_WIDE = Listener("10.0.0.1", 2), Listener("0.0.0.0", 2)


@pytest.mark.parametrize(
    ("before", "after", "clashing"),
    [
        ([W4], [W4], []),
        ([A4], [A4], []),
        ([A4], [W4], ["0.0.0.0:1"]),
        ([W4], [A4], ["10.0.0.1:1"]),
        ([W4], [A4, B4], ["10.0.0.1:1", "10.0.0.2:1"]),
        ([A4], [W4, A4], ["0.0.0.0:1"]),
        # nginx opens the wildcard alone, and takes single addresses out of it by itself.
        ([W4], [W4, A4], []),
        ([W4, A4], [W4], []),
        ([W4, A4], [A4], ["10.0.0.1:1"]),
        ([W4, A4], [W4, B4], []),
        ([A4], [A4, B4], []),
        ([A4, B4], [A4], []),
        ([A4], [B4], []),
        ([W6], [A6], ["[fd00::1]:1"]),
        ([A6], [W6], ["[::]:1"]),
        # An IPv6 wildcard is for IPv6 alone.
        ([W4], [A6], []),
        ([A4], [W6], []),
        ([W4], [W4, W6], []),
        ([W4, W6], [A4, W6], ["10.0.0.1:1"]),
        # Another port is another matter.
        ([W4], [W4, OTHER_PORT], []),
        ([W4], [OTHER_WIDE], []),
        ([W4, OTHER_PORT], [W4, OTHER_WIDE], ["0.0.0.0:2"]),
        ([], [W4], []),
        ([W4], [], []),
    ],
)
def test_clashes(before: list[Listener], after: list[Listener], clashing: list[str]) -> None:
    """A wildcard and a single address of one port exclude each other, and nothing else does."""
    old, new = Expectation(tuple(before), ()), Expectation(tuple(after), ())
    assert new.clashes(old) == clashing


def test_clashes_of_names_on_one_socket() -> None:
    """TLS, and names that share a socket, change no socket."""
    secured = [Listener("0.0.0.0", 1, True, name) for name in ("a", "b")]
    assert Expectation(tuple(secured), ()).clashes(Expectation((W4,), ())) == []
    assert Expectation((W4,), ()).clashes(Expectation(tuple(secured), ())) == []
    single = Expectation((Listener("10.0.0.1", 1, True, "a"),), ())
    assert single.clashes(Expectation(tuple(secured), ())) == ["10.0.0.1:1"]


def test_how_a_listener_is_asked() -> None:
    """By its name, over TLS that is compared and not verified."""
    named = Listener("0.0.0.0", 1, True, "proxy.example")
    assert named.name == "0.0.0.0:1 (proxy.example)"
    assert named.endpoint == Endpoint(
        "127.0.0.1", 1, "proxy.example", "", Tls("proxy.example", verify=False)
    )
    assert Listener("0.0.0.0", 1, False, "proxy.example").endpoint.tls is None
    assert Listener("0.0.0.0", 1, False, "proxy.example").endpoint.authority == "proxy.example"


REFUSALS = st.builds(
    Refusal, st.text(max_size=20), st.lists(st.integers(0, 16), max_size=3).map(tuple)
)
EXPECTATIONS = st.builds(
    Expectation,
    st.lists(
        st.builds(
            Listener,
            st.ip_addresses().map(str),
            st.integers(1, 65535),
            st.booleans(),
            st.text(max_size=9),
            st.text(max_size=9),
            st.lists(REFUSALS, max_size=3).map(tuple),
        ),
        max_size=4,
    ).map(tuple),
    st.lists(st.text(max_size=20), max_size=4).map(tuple),
    st.lists(st.text(max_size=20), max_size=4).map(tuple),
)


@given(expectation=EXPECTATIONS, other=EXPECTATIONS)
def test_expectation_round_trip(expectation: Expectation, other: Expectation) -> None:
    """What is written to proof.json is what is read, and two never look the same."""
    assert Expectation.from_json(expectation.to_json()) == expectation
    assert (expectation.to_json() == other.to_json()) == (expectation == other)
    assert expectation.clashes(expectation) == []


BEFORE_TLS = b"""\
{
  "listeners": [{"address": "0.0.0.0", "port": 11800}, {"address": "::", "port": 11800}],
  "methods": ["/skywalking.v3.EventService/collect"],
  "secrets": ["tls/key.pem"]
}
"""


def test_expectation_of_the_version_before() -> None:
    """What knew neither TLS nor refusals is read as such."""
    assert Expectation.from_json(BEFORE_TLS) == Expectation(
        (Listener("0.0.0.0", 11800), Listener("::", 11800)),
        ("/skywalking.v3.EventService/collect",),
        ("tls/key.pem",),
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"listeners": [], "methods": []}',
        b'{"listeners": [{}]}',
        b"\xff",
        BEFORE_TLS.replace(b"port", b"harbour"),
        BEFORE_TLS.replace(b'{"address": "::", "port": 11800}', b"7"),
        BEFORE_TLS.replace(b'{"address": "::", "port": 11800}', b'"::"'),
        BEFORE_TLS.replace(b'{"address": "::", "port": 11800}', b"null"),
        *(
            BEFORE_TLS.replace(b'"port": 11800}]', b'"port": 11800, "refusals": ' + wrong + b"}]")
            for wrong in (
                b"7",
                b"[7]",
                b'["a"]',
                b"[{}]",
                b'[{"method": "a", "statuses": 7}]',
                b'[{"method": 7, "statuses": [7]}]',
                b'[{"method": "a", "statuses": [17]}]',
                b'[{"method": "a", "statuses": [-1]}]',
                b'[{"method": "a", "statuses": ["UNAVAILABLE"]}]',
            )
        ),
        *(
            BEFORE_TLS.replace(b'{"address": "::", "port": 11800}', wrong)
            for wrong in (
                b'{"address": "localhost", "port": 11800}',
                b'{"address": 7, "port": 11800}',
                b'{"address": "::", "port": 0}',
                b'{"address": "::", "port": 65536}',
                b'{"address": "::", "port": "11800"}',
                b'{"address": "::", "port": 11800, "certificate": 7}',
                b'{"address": "::", "port": 11800, "server_name": null}',
            )
        ),
        BEFORE_TLS.replace(b'"methods": [', b'"methods": [7, '),
    ],
)
def test_damaged_expectation(content: bytes) -> None:
    """What is no whole proof.json is one of the errors that a transaction takes for none."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        Expectation.from_json(content)
