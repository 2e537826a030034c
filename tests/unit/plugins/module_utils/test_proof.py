"""What counts as live and as UNAVAILABLE, on replies, on the wire, and over a stand-in."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Union

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    Expectation,
    Listener,
    Refusal,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    BrokenError,
    CallError,
    Connection,
    Reply,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import (
    GENERATION_HEADER,
    GENERATION_METHOD,
    PROBE_HEADER,
    PROBE_UNAVAILABLE,
    Prover,
    Row,
    certificate_fault,
    fingerprint,
    unavailable_fault,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from tests.unit.h2_server import HEADERS, Headers, Peer, StagedServer
from tests.unit.inventories import server
from tests.unit.tls_files import serving_context

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


# The prover, over a stand-in for the connection

Answers = Mapping[str, Union[Reply, CallError]]
SHOWN = ssl.PEM_cert_to_DER_cert(server().certificate)


class Dialled(Connection):
    """A stand-in for a connection: answers from a table, and notes what it was asked."""

    def __init__(self, answers: Answers, asked: list[tuple[str, Mapping[str, str] | None]]) -> None:
        self.answers = answers
        self.asked = asked
        self.peer_certificate = SHOWN

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
    assert not row.wrong_answer


def test_proof_of_a_stranger() -> None:
    """Another program at the port is a fault that says what came instead."""
    page = Reply(404, {"content-type": "text/html"})
    (row,) = proven(Dial({"127.0.0.1:11800": {GENERATION_METHOD: page}}), WIDE[0])
    assert row.generation is None
    assert "answers with no gRPC status (HTTP 404) instead" in (row.fault or "")
    assert not row.wrong_answer


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
    assert row.wrong_answer
    assert (row.http_status, row.grpc_status, row.trailers_only) == (204, 14, False)
    assert method in (row.fault or "")
    assert "HTTP status 204 instead of 200" in (row.fault or "")


def refusing(status: str = "12") -> Reply:
    """The answer to a call that is refused."""
    return Reply(200, {**GRPC, "grpc-status": status}, trailers_only=True, duration_ms=1.0)


BUS, CHECK = "/RemoteService/call", "/grpc.health.v1.Health/Check"
CLOSED = Listener("0.0.0.0", 11800, refusals=(Refusal(BUS, (12,)), Refusal(CHECK, (7, 16))))


def test_proof_of_refusals() -> None:
    """After the forced calls, without their metadata, in their order; any of the statuses does."""
    for status in ("7", "16"):
        answers = {**GOOD, BUS: refusing(), CHECK: refusing(status)}
        dial = Dial({"127.0.0.1:11800": answers})
        (row,) = proven(dial, CLOSED)
        assert (row.fault, row.grpc_status, row.wrong_answer) == (None, 14, False)
        assert row.duration_ms == 6.0
        assert dial.asked[3:] == [(BUS, None), (CHECK, None)]


@pytest.mark.parametrize(
    ("method", "answer", "words"),
    [
        (BUS, refusing("0"), "OK instead of UNIMPLEMENTED"),
        (BUS, refusing("14"), "UNAVAILABLE instead of UNIMPLEMENTED"),
        (CHECK, refusing("0"), "OK instead of PERMISSION_DENIED or UNAUTHENTICATED"),
        (CHECK, refusing("12"), "UNIMPLEMENTED instead of PERMISSION_DENIED or UNAUTHENTICATED"),
        (CHECK, Reply(403), "no gRPC status (HTTP 403) instead of PERMISSION_DENIED or UNAUTH"),
        (CHECK, Reply(reset=7), "no gRPC status (stream reset, HTTP/2 error 7) instead of PERM"),
    ],
)
def test_proof_of_what_is_not_refused(method: str, answer: Reply, words: str) -> None:
    """One that is let in, or refused in another way, is a fault that no waiting mends."""
    answers = {**GOOD, BUS: refusing(), CHECK: refusing("7"), method: answer}
    (row,) = proven(Dial({"127.0.0.1:11800": answers}), CLOSED)
    beginning = f"0.0.0.0:11800 answers {method}, which it must refuse, with {words}"
    assert (row.fault or "").startswith(beginning)
    assert row.wrong_answer
    assert row.grpc_status == 14


def test_refusals_are_asked_of_the_right_generation_alone() -> None:
    """Neither where another one answers, nor after a fallback that is wrong."""
    dial = Dial({"127.0.0.1:11800": {GENERATION_METHOD: told(OTHER_ID)}})
    proven(dial, CLOSED)
    wrong = {**GOOD, ONE: Reply(204)}
    dial = Dial({"127.0.0.1:11800": wrong})
    proven(dial, CLOSED)
    assert BUS not in [method for method, _metadata in dial.asked]


def test_refusals_are_not_asked_to_know_what_is_live() -> None:
    """The id alone tells it."""
    dial = Dial({"127.0.0.1:11800": {GENERATION_METHOD: told(ID)}})
    assert Prover(1.5, dial).live(Expectation((CLOSED,), (ONE,))) == ID
    assert [method for method, _metadata in dial.asked] == [GENERATION_METHOD]


# Certificates


def digest(pem: str) -> str:
    """The SHA-256 of a certificate, computed in another way than the proof does."""
    parsed = x509.load_pem_x509_certificate(pem.encode())
    return parsed.fingerprint(hashes.SHA256()).hex()


def test_fingerprint() -> None:
    """The first of a text counts, whatever stands around it."""
    first, then = server().certificate, server("other.example").certificate
    for text in (first, first + then, "# a comment\n" + first, first.replace("\n", "\r\n")):
        assert fingerprint(text) == digest(first)
    assert fingerprint(then + first) == digest(then)
    assert fingerprint(server().private_key + first) == digest(first)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        server().private_key,
        server().certificate[:200],
        server().certificate[40:],
        "-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n",
    ],
)
def test_no_fingerprint(text: str) -> None:
    """What holds no certificate is a ValueError."""
    with pytest.raises(ValueError, match=r"certificate|padding|base64"):
        fingerprint(text)


def test_certificate_by_its_digest() -> None:
    """The one and no other; without an expectation, any."""
    other = digest(server("other.example").certificate)
    shown = digest(server().certificate)
    assert certificate_fault("", SHOWN) is None
    assert certificate_fault(shown, SHOWN) is None
    assert certificate_fault(other, SHOWN) == (
        f"shows the certificate {shown[:12]} instead of {other[:12]}"
    )
    assert "instead of" in (certificate_fault(shown, b"") or "")


def test_certificate_by_its_path(tmp_path: Path) -> None:
    """What is on disk now counts: one renewed there is demanded, and one that is gone a fault."""
    place = tmp_path / "proxy.pem"
    fault = certificate_fault(str(place), SHOWN) or ""
    assert fault.startswith(f"cannot be held against {place}: ")
    place.write_text(server().chain)
    assert certificate_fault(str(place), SHOWN) is None
    renewed = server("other.example").certificate
    place.write_text(renewed)
    assert certificate_fault(str(place), SHOWN) == (
        f"shows the certificate {digest(server().certificate)[:12]} instead of "
        f"{digest(renewed)[:12]} of {place}"
    )
    place.write_bytes(b"\xff\xfe")
    assert certificate_fault(str(place), SHOWN) == (
        f"cannot be held against {place}: no certificate in PEM"
    )
    assert "cannot be held against" in (certificate_fault(str(tmp_path), SHOWN) or "")


def test_proof_of_a_certificate() -> None:
    """Compared before any call is forced; waiting may mend it, when it is about to be loaded."""
    right_one = digest(server().certificate)
    listener = Listener("0.0.0.0", 11800, True, "proxy.example", right_one)
    (row,) = proven(Dial({"127.0.0.1:11800": GOOD}), listener)
    assert (row.listener, row.fault) == ("0.0.0.0:11800 (proxy.example)", None)
    dial = Dial({"127.0.0.1:11800": GOOD})
    (row,) = proven(dial, Listener("0.0.0.0", 11800, True, "proxy.example", "0" * 64))
    assert row.fault == (
        f"0.0.0.0:11800 (proxy.example) shows the certificate {right_one[:12]} instead of "
        "000000000000"
    )
    assert (row.generation, row.wrong_answer) == (ID, False)
    assert [method for method, _metadata in dial.asked] == [GENERATION_METHOD]
    # In clear text nothing is shown.
    (row,) = proven(dial, Listener("0.0.0.0", 11800, False, "", "0" * 64))
    assert row.fault is None


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


@pytest.mark.parametrize(
    ("ends", "asked", "live"),
    [
        ([BrokenError("closed")], 2, ID),
        ([BrokenError("closed")] * 2, 2, None),
        ([CallError("no answer")], 1, None),
    ],
)
def test_live_on_a_worker_that_ends(ends: list[CallError], asked: int, live: str | None) -> None:
    """Who is cut off asks once more, whom nobody answers does not."""
    hosts = {"127.0.0.1:11800": {GENERATION_METHOD: told(ID)}}
    dial = Dial(hosts)

    def cut_off(endpoint: Endpoint, timeout: float) -> Connection:
        connection = dial(endpoint, timeout)
        return Dialled({GENERATION_METHOD: ends.pop()}, []) if ends else connection

    assert Prover(1.5, cut_off).live(Expectation(WIDE[:1], (ONE,))) == live
    assert len(dial.dialled) == asked


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
    assert row.wrong_answer
    assert "HTTP status 204" in (row.fault or "")


def test_wire_content_length() -> None:
    """A content-length that promises a body does not."""
    row = on_the_wire([*HEADERS, ("grpc-status", "14"), ("content-length", "5")])
    assert row.wrong_answer
    assert "content-length 5" in (row.fault or "")


def test_wire_tls(tmp_path: Path) -> None:
    """Over TLS: asked by name, compared as a whole, and what is refused last."""
    asked: list[tuple[str, str]] = []
    names: list[str | None] = []

    def script(peer: Peer) -> None:
        for status in ("0", "14", "12"):
            request = peer.request()
            asked.append((request.headers[":authority"], request.headers[":path"]))
            headers = [*HEADERS, ("grpc-status", status), (GENERATION_HEADER, ID)]
            peer.headers(request.stream, headers, end=True)
        peer.until_closed()

    context = serving_context(tmp_path, server())
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with StagedServer(script, tls=context) as staged:
        listener = Listener(
            staged.address,
            staged.port,
            True,
            "proxy.example",
            digest(server().certificate),
            (Refusal(BUS, (12,)),),
        )
        (row,) = Prover(10.0).prove(ID, Expectation((listener,), (ONE,)))
    assert row.fault is None
    assert asked == [("proxy.example", path) for path in (GENERATION_METHOD, ONE, BUS)]
    assert names == ["proxy.example"]


def test_wire_clear_text_instead_of_tls() -> None:
    """A listener that does not speak TLS yet is a fault that waiting may mend."""

    def script(peer: Peer) -> None:
        with suppress(Exception):
            peer.until_closed()

    with StagedServer(script) as staged:
        listener = Listener(staged.address, staged.port, True)
        (row,) = Prover(10.0).prove(ID, Expectation((listener,), (ONE,)))
    assert (row.fault or "").startswith(f"no TLS with {staged.address}:{staged.port}: ")
    assert not row.wrong_answer


def test_live_of_a_real_server() -> None:
    """The id is read over a real connection."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, [*HEADERS, (GENERATION_HEADER, ID)], end=True)
        peer.until_closed()

    with StagedServer(script) as server:
        expectation = Expectation((Listener(server.address, server.port),), ())
        assert Prover(10.0).live(expectation) == ID
