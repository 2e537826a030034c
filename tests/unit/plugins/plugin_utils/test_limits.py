"""Limits: how often, how many at a time, how large."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.limits import (
    KEYS,
    read_rate_limits,
    read_size,
    read_sizes,
    read_stream_limits,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from hypothesis import given

from tests.unit.inventories import TEXTS, clean

KNOWN = ["jvm", "others", "traces"]


def rates(value: Any, tokens: bool = True) -> tuple[list[dict[str, Any]], list[str]]:
    """Read a rate limit; return the limits and the complaints."""
    reader = Reader("proxy1")
    return read_rate_limits(reader, "x", value, KNOWN, tokens), reader.complaints


def streams(value: Any, tokens: bool = True) -> tuple[list[dict[str, Any]], list[str]]:
    """Read a connection limit; return the limits and the complaints."""
    reader = Reader("proxy1")
    return read_stream_limits(reader, "x", value, KNOWN, tokens), reader.complaints


def test_a_rate() -> None:
    """Each client by itself, all kinds of method, nothing above it."""
    (limit,), complaints = rates([{"rate": "100/s"}])
    assert complaints == []
    zone = limit.pop("zone")
    assert zone.startswith("oap_proxy_rate_0_")
    assert limit == {
        "key": "$binary_remote_addr",
        "rate": "100r/s",
        "burst": 0,
        "kinds": KNOWN,
    }


def test_streams() -> None:
    """As a rate, with a number of calls at a time."""
    (limit,), complaints = streams({"streams": "64", "key": "service", "methods": "jvm"})
    assert complaints == []
    zone = limit.pop("zone")
    assert zone.startswith("oap_proxy_conn_0_")
    assert limit == {"key": "$oap_proxy_grpc_service", "streams": 64, "kinds": ["jvm"]}


@pytest.mark.parametrize(
    ("rate", "written"),
    [("1/s", "1r/s"), ("600/m", "600r/m"), ("999999/s", "999999r/s")],
)
def test_rates(rate: str, written: str) -> None:
    """Calls and a unit, as nginx writes them."""
    (limit,), complaints = rates([{"rate": rate, "burst": "50"}])
    assert (limit["rate"], limit["burst"], complaints) == (written, 50, [])


@pytest.mark.parametrize(
    "rate",
    [
        *(None, "", 100, "100", "100r/s", "0/s", "-1/s", "1.5/s", "1000000/s", "100/h", "100/"),
        *("/s", "100 /s", "100/s ", "100/s\n", "100/s; }", "\u0661/s", True, ["100/s"], {"a": 1}),
    ],
)
def test_rates_that_do_not_do(rate: Any) -> None:
    """The unit, first of all, is said and not guessed."""
    _limits, complaints = rates([{"rate": "1/s"}, {"rate": rate}])
    assert complaints == [
        f"proxy1: x[1].rate is {rate!r}; give calls and a unit such as 100/s or 600/m."
    ]


def test_one_alone() -> None:
    """One dictionary is a list of one, and is named as it was set."""
    _limits, (complaint,) = rates({"rate": 100})
    assert complaint.startswith("proxy1: x.rate is 100; ")


@pytest.mark.parametrize("value", [None, "", {}, []])
def test_none(value: Any) -> None:
    """Nothing is no limit."""
    assert rates(value) == ([], [])
    assert streams(value) == ([], [])


@pytest.mark.parametrize("value", ["100/s", 100, True, ["100/s"], [{"rate": "1/s"}, 7]])
@pytest.mark.parametrize("read", [rates, streams])
def test_no_list(read: Any, value: Any) -> None:
    """What is no list of dictionaries is told."""
    assert read(value) == ([], [f"proxy1: x is {value!r}; give a list of dictionaries."])


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"burst": -1}, "x[0].burst is -1; give a whole number from 0 to 1000000."),
        ({"burst": None}, "x[0].burst is None; give a whole number"),
        ({"burst": "5; }"}, "x[0].burst is '5; }'; give a whole number"),
        ({"key": "client"}, "x[0].key is 'client'; choose one of client_address, token, service."),
        ({"key": "$remote_addr"}, "x[0].key is '$remote_addr'; choose one of"),
        ({"key": ["token"]}, "x[0].key is ['token']; choose one of"),
        ({"methods": "trace"}, "x[0].methods is 'trace'; choose among jvm, others, traces."),
        ({"methods": ["jvm", None]}, "x[0].methods is None; choose among jvm"),
        ({"methods": [["jvm"]]}, "x[0].methods is ['jvm']; choose among jvm"),
        ({"methods": 7}, "x[0].methods is 7; give a list of kinds of method."),
        ({"methods": True}, "x[0].methods is True; give a list of kinds of method."),
        ({"methods": {"jvm": 1}}, "x[0].methods is {'jvm': 1}; give a list of kinds of method."),
    ],
)
def test_complaints(changed: dict[str, Any], complaint: str) -> None:
    """Each names the whole variable."""
    (found,) = rates([{"rate": "1/s", **changed}])[1]
    assert found.startswith(f"proxy1: {complaint}")
    if "burst" not in changed:
        (found,) = streams([{"streams": 1, **changed}])[1]
        assert found.startswith(f"proxy1: {complaint}")


@pytest.mark.parametrize("number", [None, 0, 65536, "many", True, 1.5, [1]])
def test_streams_that_do_not_do(number: Any) -> None:
    """A number that nginx takes (limit_conn has 16 bits)."""
    assert streams([{"streams": number}])[1] == [
        f"proxy1: x[0].streams is {number!r}; give a whole number from 1 to 65535."
    ]


def test_counting_by_a_token_that_nobody_sends() -> None:
    """Without tokens the key would be empty, and nothing be limited."""
    assert rates([{"rate": "1/s", "key": "token"}], tokens=False)[1] == [
        "proxy1: x[0].key is 'token'; there is no grpc_proxy_token to count by."
    ]
    assert rates([{"rate": "1/s", "key": "token"}], tokens=True)[1] == []


def test_zones() -> None:
    """A zone's name tells its key, which nginx does not exchange under one name, and no rate."""
    names: dict[str, set[str]] = {}
    for rate in ("1/s", "2/s"):
        for key in KEYS:
            limits, _complaints = rates([{"rate": rate, "key": key}, {"rate": rate, "key": key}])
            names.setdefault(key, set()).update(item["zone"] for item in limits)
    assert all(len(zones) == 2 for zones in names.values())
    assert len(set().union(*names.values())) == 2 * len(KEYS)


@pytest.mark.parametrize("size", ["0", 0, "512k", "10m", 1048576, "999999999m"])
def test_sizes(size: Any) -> None:
    """As nginx writes them."""
    reader = Reader("proxy1")
    assert read_size(reader, "x", size) == str(size)
    assert read_sizes(reader, "x", {"jvm": size}, KNOWN) == {"jvm": str(size)}
    assert reader.complaints == []


@pytest.mark.parametrize("size", [None, "", "10g", "10 m", "m", -1, 1.5, True, "5m; }", "5m\n", []])
def test_sizes_that_do_not_do(size: Any) -> None:
    """The kind is named."""
    reader = Reader("proxy1")
    read_sizes(reader, "x", {"jvm": size}, KNOWN)
    assert reader.complaints == [
        f"proxy1: x.jvm is {size!r}; give a size such as 512k or 10m, or 0."
    ]


@pytest.mark.parametrize("kind", ["trace", "", 7, None, "a\nb"])
def test_sizes_of_no_kind(kind: Any) -> None:
    """A kind that is none is told with those that there are."""
    reader = Reader("proxy1")
    read_sizes(reader, "x", {kind: "5m"}, KNOWN)
    (complaint,) = reader.complaints
    assert complaint.endswith(" is '5m'; choose among jvm, others, traces.")
    assert complaint.isprintable()


@given(text=TEXTS)
def test_no_text_passes(text: str) -> None:
    """Either it is complained about, or what is read of it is clean."""
    limits, complaints = rates([{"rate": text, "burst": text, "key": text, "methods": [text]}])
    assert complaints
    limits, complaints = rates([{"rate": text}])
    assert complaints or clean(limits[0]["rate"])
    limits, complaints = streams([{"streams": text}])
    assert complaints or clean(limits[0]["streams"])
    reader = Reader("proxy1")
    size = read_size(reader, "x", text)
    assert clean(size)
    assert bool(size) != bool(reader.complaints)
