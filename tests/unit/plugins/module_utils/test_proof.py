"""What counts as live and as UNAVAILABLE, on replies, on the wire, and over a stand-in."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Union

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    CallError,
    Connection,
    Endpoint,
    Reply,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import (
    GENERATION_HEADER,
    GENERATION_METHOD,
    PROBE_HEADER,
    PROBE_UNAVAILABLE,
    Expectation,
    Listener,
    Prover,
    Row,
    unavailable_fault,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.h2_server import HEADERS, Headers, Peer, StagedServer

ID, OTHER_ID = "3f9c1a20b7e4", "0123456789ab"
ONE, TWO = "/skywalking.v3.ManagementService/keepAlive", "/skywalking.v3.EventService/collect"
GRPC = {"content-type": "application/grpc", "grpc-status": "14"}


def right() -> Reply:
    """The one shape that every client reads as UNAVAILABLE."""
    return Reply(200, dict(GRPC), trailers_only=True, duration_ms=1.0)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"grpc-message": "no OAP"},
        {"content-length": "0"},
        {"content-type": "application/grpc+proto"},
        {"content-type": "application/grpc;charset=utf-8"},
    ],
)
def test_the_right_shape(headers: dict[str, str]) -> None:
    """The shapes that every client agrees on have no fault."""
    reply = right()
    reply.headers.update(headers)
    assert unavailable_fault(reply) is None


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        # The widely copied snippet: nginx drops the content type of a 204.
        (Reply(204, {"grpc-status": "14"}, trailers_only=True), "HTTP status 204 instead of 200"),
        (Reply(204, GRPC, trailers_only=True), "HTTP status 204 instead of 200"),
        # Raw page of nginx.
        (Reply(502, {"content-type": "text/html"}), "HTTP status 502 instead of 200"),
        # 502 with the content type, add_header without always.
        (Reply(502, {"content-type": "application/grpc"}), "HTTP status 502 instead of 200"),
        (Reply(502, GRPC, trailers_only=True), "HTTP status 502 instead of 200"),
        (Reply(200, {"grpc-status": "14"}, trailers_only=True), "content-type missing"),
        (
            Reply(200, {**GRPC, "content-type": "text/html"}, trailers_only=True),
            "content-type text/html instead of application/grpc",
        ),
        (
            Reply(200, {**GRPC, "content-type": "application/grpc-web"}, trailers_only=True),
            "content-type application/grpc-web instead of application/grpc",
        ),
        (
            Reply(200, {**GRPC, "content-type": "application/grpcx"}, trailers_only=True),
            "content-type application/grpcx instead of application/grpc",
        ),
        (
            Reply(200, {"content-type": "application/grpc"}, trailers_only=True),
            "no gRPC status (HTTP 200) instead of UNAVAILABLE",
        ),
        (
            Reply(200, {**GRPC, "grpc-status": "13"}, trailers_only=True),
            "INTERNAL instead of UNAVAILABLE",
        ),
        (
            Reply(200, {**GRPC, "grpc-status": "0"}, trailers_only=True),
            "OK instead of UNAVAILABLE",
        ),
        (Reply(200, GRPC), "did not come on a HEADERS frame that ends the stream"),
        (
            Reply(200, {"content-type": "application/grpc"}, {"grpc-status": "14"}),
            "did not come on a HEADERS frame that ends the stream",
        ),
        (
            Reply(200, {**GRPC, "content-length": "12"}, trailers_only=True),
            "content-length 12 on a response without a body",
        ),
        (Reply(200, GRPC, trailers_only=True, reset=8), "the stream was reset (HTTP/2 error 8)"),
        (Reply(None, reset=2), "the stream was reset (HTTP/2 error 2)"),
        (Reply(), "HTTP status None instead of 200"),
    ],
)
def test_every_wrong_shape(wrong: Reply, fault: str) -> None:
    """A shape that one client reads as something else is a fault, told in its words."""
    assert fault in (unavailable_fault(wrong) or "no fault")


# Listeners


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


EXPECTATIONS = st.builds(
    Expectation,
    st.lists(
        st.builds(Listener, st.ip_addresses().map(str), st.integers(1, 65535)), max_size=4
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


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b'{"listeners": [], "methods": []}', b'{"listeners": [{}]}', b"\xff"],
)
def test_damaged_expectation(content: bytes) -> None:
    """What is no whole proof.json is one of the errors that a transaction takes for none."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        Expectation.from_json(content)


# The prover, over a stand-in for the connection

Answers = Mapping[str, Union[Reply, CallError]]


class Dialled(Connection):
    """A stand-in for a connection: answers from a table, and notes what it was asked."""

    def __init__(self, answers: Answers, asked: list[tuple[str, Mapping[str, str] | None]]) -> None:
        self.answers = answers
        self.asked = asked

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to close."""

    def call(
        self, method: str, metadata: Mapping[str, str] | None = None, message: bytes = b""
    ) -> Reply:
        """Answer from the table."""
        assert message == b""
        self.asked.append((method, metadata))
        answer = self.answers[method]
        if isinstance(answer, CallError):
            raise answer
        return answer


class Dial:
    """A stand-in for the network: endpoints by name, each with its answers."""

    def __init__(self, hosts: Mapping[str, Answers]) -> None:
        self.hosts = hosts
        self.dialled: list[str] = []
        self.asked: list[tuple[str, Mapping[str, str] | None]] = []

    def __call__(self, endpoint: Endpoint, timeout: float) -> Connection:
        """Connect."""
        assert timeout == 1.5
        self.dialled.append(endpoint.name)
        if endpoint.name not in self.hosts:
            raise CallError(f"cannot connect to {endpoint.name}: refused")
        return Dialled(self.hosts[endpoint.name], self.asked)


def told(generation: str) -> Reply:
    """The answer of a running configuration that tells its id."""
    headers = {**GRPC, "grpc-status": "0", GENERATION_HEADER: generation}
    return Reply(200, headers, trailers_only=True, duration_ms=2.0)


def proven(dial: Dial, *listeners: Listener) -> list[Row]:
    """Return the rows of a proof of both methods."""
    return Prover(1.5, dial).prove(ID, Expectation(listeners, (ONE, TWO)))


WIDE = (Listener("0.0.0.0", 11800), Listener("::", 11800))
GOOD = {GENERATION_METHOD: told(ID), ONE: right(), TWO: right()}


def test_proof_holds() -> None:
    """Every listener is asked on a connection of its own: the id, then each method, forced."""
    dial = Dial({"127.0.0.1:11800": GOOD, "[::1]:11800": GOOD})
    rows = proven(dial, *WIDE)
    assert [row.as_result() for row in rows] == [
        {
            "listener": name,
            "generation": ID,
            "grpc_status": 14,
            "http_status": 200,
            "trailers_only": True,
            "duration_ms": 4.0,
            "fault": None,
        }
        for name in ("0.0.0.0:11800", "[::]:11800")
    ]
    assert dial.dialled == ["127.0.0.1:11800", "[::1]:11800"]
    forced = {PROBE_HEADER: PROBE_UNAVAILABLE}
    assert dial.asked == 2 * [(GENERATION_METHOD, None), (ONE, forced), (TWO, forced)]


def test_proof_of_another_generation() -> None:
    """The id of another generation is a fault, and no method is asked then."""
    dial = Dial({"127.0.0.1:11800": {GENERATION_METHOD: told(OTHER_ID)}})
    (row,) = proven(dial, WIDE[0])
    assert row.generation == OTHER_ID
    expected = f"answers with generation {OTHER_ID} instead of generation {ID}"
    assert row.fault == f"0.0.0.0:11800 {expected}"
    assert not row.wrong_fallback


def test_proof_of_a_stranger() -> None:
    """Another program at the port is a fault that says what came instead."""
    page = Reply(404, {"content-type": "text/html"})
    (row,) = proven(Dial({"127.0.0.1:11800": {GENERATION_METHOD: page}}), WIDE[0])
    assert row.generation is None
    assert "answers with no gRPC status (HTTP 404) instead" in (row.fault or "")
    assert not row.wrong_fallback


def test_proof_of_a_closed_port() -> None:
    """A listener that cannot be reached is a fault of its own row alone."""
    rows = proven(Dial({"127.0.0.1:11800": GOOD}), *WIDE)
    assert [row.fault for row in rows] == [None, "cannot connect to [::1]:11800: refused"]


def test_proof_of_a_connection_that_breaks() -> None:
    """A call that gets no answer is a fault, with the id that was told before it."""
    answers: Answers = {**GOOD, TWO: CallError("broke")}
    (row,) = proven(Dial({"127.0.0.1:11800": answers}), WIDE[0])
    assert (row.generation, row.fault) == (ID, "broke")


@pytest.mark.parametrize("method", [ONE, TWO])
def test_proof_of_a_wrong_fallback(method: str) -> None:
    """One method with a wrong fallback is a fault that names it and its shape."""
    dial = Dial({"127.0.0.1:11800": {**GOOD, method: Reply(204, {"grpc-status": "14"})}})
    (row,) = proven(dial, WIDE[0])
    assert row.wrong_fallback
    assert (row.http_status, row.grpc_status, row.trailers_only) == (204, 14, False)
    assert method in (row.fault or "")
    assert "HTTP status 204 instead of 200" in (row.fault or "")


def test_live() -> None:
    """What is live is what every listener answers with, and nothing when they disagree."""
    both = Expectation(WIDE, (ONE,))
    names = ("127.0.0.1:11800", "[::1]:11800")

    def live(*ids: str) -> str | None:
        hosts = {
            name: {GENERATION_METHOD: told(generation)} for name, generation in zip(names, ids)
        }
        return Prover(1.5, Dial(hosts)).live(both)

    assert live(ID, ID) == ID
    assert live(ID, OTHER_ID) is None
    assert live(ID) is None
    assert live() is None


# The prover, on the wire


def on_the_wire(fallback: Headers) -> Row:
    """Prove a staged server whose fallback answers with these headers."""

    def script(peer: Peer) -> None:
        asked = peer.request()
        assert asked.headers[":path"] == GENERATION_METHOD
        peer.headers(asked.stream, [*HEADERS, (GENERATION_HEADER, ID)], end=True)
        forced = peer.request()
        assert forced.headers[PROBE_HEADER] == PROBE_UNAVAILABLE
        peer.headers(forced.stream, fallback, end=True)
        peer.until_closed()

    with StagedServer(script) as server:
        expectation = Expectation((Listener(server.address, server.port),), (ONE,))
        return Prover(10.0).prove(ID, expectation)[0]


def test_wire_right() -> None:
    """A right fallback proves over a real connection."""
    row = on_the_wire([*HEADERS, ("grpc-status", "14")])
    assert (row.fault, row.generation, row.grpc_status) == (None, ID, 14)
    assert row.duration_ms > 0


def test_wire_204() -> None:
    """The widely copied snippet does not."""
    row = on_the_wire([(":status", "204"), ("grpc-status", "14")])
    assert row.wrong_fallback
    assert "HTTP status 204" in (row.fault or "")


def test_wire_content_length() -> None:
    """A content-length that promises a body does not."""
    row = on_the_wire([*HEADERS, ("grpc-status", "14"), ("content-length", "5")])
    assert row.wrong_fallback
    assert "content-length 5" in (row.fault or "")


def test_live_of_a_real_server() -> None:
    """The id is read over a real connection."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, [*HEADERS, (GENERATION_HEADER, ID)], end=True)
        peer.until_closed()

    with StagedServer(script) as server:
        expectation = Expectation((Listener(server.address, server.port),), ())
        assert Prover(10.0).live(expectation) == ID
