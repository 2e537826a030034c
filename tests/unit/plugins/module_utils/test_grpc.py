"""Calls over real sockets, to a staged HTTP/2 server and to grpcio's own server."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Callable

import grpc as grpcio
import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import grpc
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.h2_server import HEADERS, Peer, Request, Script, StagedServer, ipv6_loopback
from tests.unit.inventories import authority, server
from tests.unit.tls_files import ca, pair, serving_context

METHOD = "/skywalking.v3.ManagementService/keepAlive"
TIMEOUT_S = 10.0
MEGABYTE = bytes(range(256)) * 4096


def call(
    endpoint: Endpoint,
    method: str,
    timeout: float,
    metadata: Mapping[str, str] | None = None,
    message: bytes = b"",
) -> grpc.Reply:
    """Make one call on a connection of its own."""
    with grpc.Connection(endpoint, timeout) as connection:
        return connection.call(method, metadata, message)


def ask(script: Script, message: bytes = b"", timeout: float = TIMEOUT_S) -> grpc.Reply:
    """Make one call to a server that plays the script."""
    with StagedServer(script) as server:
        endpoint = Endpoint(server.address, server.port)
        return call(endpoint, METHOD, timeout, message=message)


def answering(
    headers: list[tuple[str, str]] | None, body: bytes, trailers: list[tuple[str, str]]
) -> Script:
    """Return a script that answers one call with headers, body and trailers."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, HEADERS if headers is None else headers)
        peer.data(stream, body)
        peer.headers(stream, trailers, end=True)
        peer.until_closed()

    return script


def test_message_and_trailers() -> None:
    """A normal reply: headers, messages without their prefix, trailers, no trailers-only."""
    body = grpc.frame(b"first") + grpc.frame(b"") + grpc.frame(b"third")
    reply = ask(answering(None, body, [("grpc-status", "0"), ("x-more", "yes")]))
    assert reply.messages == [b"first", b"", b"third"]
    assert (reply.http_status, reply.grpc_status, reply.status_name) == (200, 0, "OK")
    assert reply.headers == {"content-type": "application/grpc"}
    assert reply.trailers == {"grpc-status": "0", "x-more": "yes"}
    assert reply.trailers_only is False
    assert reply.reset is None
    assert 0 < reply.duration_ms < TIMEOUT_S * 1000


def test_trailers_only() -> None:
    """The one HEADERS frame that ends the stream is told apart from headers with trailers."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        status = [("grpc-status", "14"), ("grpc-message", "no%20OAP%3A 50%25")]
        peer.headers(stream, [*HEADERS, *status], end=True)
        peer.until_closed()

    reply = ask(script)
    assert reply.trailers_only is True
    assert (reply.grpc_status, reply.status_name) == (14, "UNAVAILABLE")
    assert reply.grpc_message == "no OAP: 50%"
    assert reply.trailers == {}
    assert reply.messages == []


def test_status_in_headers_but_stream_ended_by_data() -> None:
    """A status in headers that do not end the stream is not trailers-only."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, [*HEADERS, ("grpc-status", "14")])
        peer.http2.send_data(stream, b"", end_stream=True)
        peer.flush()
        peer.until_closed()

    reply = ask(script)
    assert (reply.grpc_status, reply.trailers_only) == (14, False)


def test_trailers_win_over_headers() -> None:
    """A status in the trailers is the one that clients take."""
    headers = [*HEADERS, ("grpc-status", "0"), ("grpc-message", "head")]
    reply = ask(answering(headers, b"", [("grpc-status", "13"), ("grpc-message", "tail")]))
    assert (reply.grpc_status, reply.grpc_message) == (13, "tail")


def test_the_request_on_the_wire() -> None:
    """What a gRPC server must find in a request: path, authority, te, metadata, framing."""
    seen: list[Request] = []

    def script(peer: Peer) -> None:
        seen.append(peer.request())
        peer.unavailable(seen[0].stream)
        peer.until_closed()

    with StagedServer(script) as server:
        endpoint = Endpoint(server.address, server.port, "oap.example:11800")
        call(endpoint, METHOD, TIMEOUT_S, {"x-one": "1"}, b"payload")
    assert seen[0].headers == {
        ":method": "POST",
        ":scheme": "http",
        ":path": METHOD,
        ":authority": "oap.example:11800",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "skywalking.oap_proxy",
        "x-one": "1",
    }
    assert seen[0].body == b"\x00\x00\x00\x00\x07payload"


def test_calls_one_after_another_on_one_connection() -> None:
    """A connection serves many calls, and no reply holds anything of the one before."""

    def script(peer: Peer) -> None:
        first = peer.request().stream
        peer.headers(first, [*HEADERS, ("x-first", "yes")])
        peer.data(first, grpc.frame(b"one"))
        peer.headers(first, [("grpc-status", "0")], end=True)
        peer.unavailable(peer.request().stream)
        peer.until_closed()

    with StagedServer(script) as server:
        endpoint = Endpoint(server.address, server.port)
        with grpc.Connection(endpoint, TIMEOUT_S) as connection:
            one = connection.call(METHOD)
            two = connection.call(METHOD)
        assert server.connections == 1
    assert (one.messages, one.grpc_status) == ([b"one"], 0)
    assert (two.messages, two.grpc_status, two.trailers) == ([], 14, {})
    assert "x-first" not in two.headers


def test_reset_before_any_answer() -> None:
    """A stream that is reset at once has no status, and tells the HTTP/2 error."""

    def script(peer: Peer) -> None:
        peer.http2.reset_stream(peer.request().stream, 7)
        peer.flush()
        peer.until_closed()

    reply = ask(script)
    assert (reply.http_status, reply.grpc_status, reply.reset) == (None, None, 7)
    assert reply.status_name == "no gRPC status (stream reset, HTTP/2 error 7)"


def test_reset_between_headers_and_status() -> None:
    """A reset after headers without a status leaves the call without a status."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, HEADERS)
        peer.data(stream, grpc.frame(b"half an answer"))
        peer.http2.reset_stream(stream, 2)
        peer.flush()
        peer.until_closed()

    reply = ask(script)
    assert (reply.http_status, reply.grpc_status, reply.reset) == (200, None, 2)
    assert reply.messages == [b"half an answer"]


def test_reset_after_the_status() -> None:
    """A reset that follows the status, as servers send that need no more, undoes nothing."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, [*HEADERS, ("grpc-status", "8")])
        peer.http2.reset_stream(stream, 0)
        peer.flush()
        peer.until_closed()

    reply = ask(script)
    assert (reply.grpc_status, reply.reset, reply.trailers_only) == (8, None, False)


def test_goaway_with_error() -> None:
    """A connection that is given up with an error is an error that names it."""

    def script(peer: Peer) -> None:
        peer.going_away(11, peer.request().stream)
        peer.until_closed()

    with pytest.raises(grpc.CallError, match=r"GOAWAY with HTTP/2 error 11"):
        ask(script)


@pytest.mark.parametrize("then", ["answered", "answered at once", "closed", "silent"])
def test_goaway_before_the_answer(then: str) -> None:
    """A GOAWAY(NO_ERROR), nginx's at a reload, ends a call that was not answered by then.

    As a CallError, soon, whatever comes after it.
    """

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.going_away(0, stream, held=then == "answered at once")
        if then.startswith("answered"):
            peer.unavailable(stream)
        if then != "closed":
            with suppress(OSError):
                peer.until_closed()

    with pytest.raises(grpc.CallError, match=METHOD):
        ask(script, timeout=0.5)


def test_goaway_in_the_middle_of_a_request() -> None:
    """The same for a request that was not sent to its end."""

    def script(peer: Peer) -> None:
        peer.pump()
        peer.going_away(0, 1)
        with suppress(OSError):
            peer.until_closed()

    with pytest.raises(grpc.CallError, match=METHOD):
        ask(script, MEGABYTE, timeout=2.0)


def test_goaway_after_the_answer() -> None:
    """A GOAWAY that follows the answer does not undo it; the next call has no connection."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.http2.send_headers(stream, [*HEADERS, ("grpc-status", "14")], end_stream=True)
        answer = peer.http2.data_to_send()
        peer.going_away(0, stream, held=True)
        peer.prepend(answer)
        peer.flush()
        peer.until_closed()

    with StagedServer(script) as server:
        endpoint = Endpoint(server.address, server.port)
        with grpc.Connection(endpoint, TIMEOUT_S) as connection:
            assert connection.call(METHOD).grpc_status == 14
            with pytest.raises(grpc.CallError, match=METHOD):
                connection.call(METHOD)


def closing_at_once(_peer: Peer) -> None:
    """Close without a word."""


def closing_after_the_request(peer: Peer) -> None:
    """Read the request and close."""
    peer.request()


def closing_after_headers(peer: Peer) -> None:
    """Close in the middle of an answer."""
    peer.headers(peer.request().stream, HEADERS)


@pytest.mark.parametrize(
    "script", [closing_at_once, closing_after_the_request, closing_after_headers]
)
def test_connection_closed_before_the_end(script: Script) -> None:
    """A connection that ends before its answer is an error, never a reply without status."""
    with pytest.raises(grpc.BrokenError, match=f"broke the connection during {METHOD}"):
        ask(script)


@pytest.mark.parametrize("started", [False, True])
def test_silence(started: bool) -> None:
    """A server that says nothing, or nothing more, is waited for no longer than told."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        if started:
            peer.headers(stream, HEADERS)
        peer.until_closed()

    with pytest.raises(grpc.CallError, match=r"gave no answer to \S+ within 0\.2 s"):
        ask(script, timeout=0.2)


def test_pings_do_not_prolong_the_wait() -> None:
    """Bytes that are no answer do not push the end of the time away."""

    def script(peer: Peer) -> None:
        peer.request()
        end = time.monotonic() + TIMEOUT_S
        with suppress(OSError):
            while time.monotonic() < end:
                peer.http2.ping(b"8 bytes.")
                peer.flush()
                peer.pump()

    with pytest.raises(grpc.CallError, match=r"gave no answer .* within 0\.3 s"):
        ask(script, timeout=0.3)


def test_http1_answer() -> None:
    """A port that speaks HTTP/1.1 is an error that names endpoint and method."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])

        def answer() -> None:
            connected, _address = listening.accept()
            with connected:
                connected.recv(65536)
                connected.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")

        with ThreadPoolExecutor(1) as pool:
            answered = pool.submit(answer)
            with pytest.raises(grpc.CallError, match=f"127.0.0.1:{port} broke the connection"):
                call(Endpoint("127.0.0.1", port), METHOD, TIMEOUT_S)
            answered.result()


def test_nothing_listens() -> None:
    """A port without a listener is an error that names the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    with pytest.raises(grpc.CallError, match=f"cannot connect to 127.0.0.1:{port}"):
        call(Endpoint("127.0.0.1", port), METHOD, TIMEOUT_S)


def test_reply_in_many_segments() -> None:
    """A reply of one byte a segment is read like any other."""

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, HEADERS, segment=1)
        peer.data(stream, grpc.frame(b"in pieces"), segment=1)
        peer.headers(stream, [("grpc-status", "5")], end=True, segment=1)
        peer.until_closed()

    reply = ask(script)
    assert (reply.messages, reply.grpc_status) == ([b"in pieces"], 5)


def test_reply_of_a_megabyte() -> None:
    """A message larger than every window comes through whole: the windows are reopened."""
    reply = ask(answering(None, grpc.frame(MEGABYTE), [("grpc-status", "0")]))
    assert reply.messages == [MEGABYTE]
    assert reply.grpc_status == 0


@pytest.mark.parametrize("size", [16384, 65536, len(MEGABYTE)])
def test_request_of_any_size(size: int) -> None:
    """A request larger than a frame, or than a window, reaches the server whole."""
    seen: list[Request] = []

    def script(peer: Peer) -> None:
        seen.append(peer.request())
        peer.unavailable(seen[0].stream)
        peer.until_closed()

    assert ask(script, MEGABYTE[:size]).grpc_status == 14
    assert seen[0].body == grpc.frame(MEGABYTE[:size])


def test_request_under_flow_control() -> None:
    """No more is sent than the server's windows allow, and the rest when they open."""
    seen: list[bytes] = []

    def script(peer: Peer) -> None:
        seen.append(peer.full())
        peer.reopen()
        request = peer.request()
        seen.append(request.body)
        peer.unavailable(request.stream)
        peer.until_closed()

    assert ask(script, MEGABYTE).grpc_status == 14
    assert [len(body) for body in seen] == [65535, len(MEGABYTE) + 5]
    assert seen[1] == grpc.frame(MEGABYTE)


def test_answer_before_the_request_is_whole() -> None:
    """A server that refuses early is read, and the next call begins anew."""
    bodies: list[bytes] = []

    def script(peer: Peer) -> None:
        stream = peer.begun()
        peer.unavailable(stream)
        peer.http2.reset_stream(stream, 0)
        peer.flush()
        peer.forget(stream)
        request = peer.request()
        bodies.append(request.body)
        peer.unavailable(request.stream)
        peer.until_closed()

    with StagedServer(script) as server:
        endpoint = Endpoint(server.address, server.port)
        with grpc.Connection(endpoint, TIMEOUT_S) as connection:
            assert connection.call(METHOD, message=MEGABYTE).grpc_status == 14
            assert connection.call(METHOD, message=b"next").grpc_status == 14
    assert bodies == [grpc.frame(b"next")]


@pytest.mark.parametrize("source", ["127.0.0.1", "127.0.0.9", ""])
def test_source(source: str) -> None:
    """A call comes from the address that is asked for; from the kernel's choice without one."""
    seen: list[str] = []

    def script(peer: Peer) -> None:
        seen.append(peer.socket.getpeername()[0])
        peer.unavailable(peer.request().stream)
        peer.until_closed()

    with StagedServer(script) as server:
        endpoint = Endpoint(server.address, server.port, source=source)
        assert call(endpoint, METHOD, TIMEOUT_S).grpc_status == 14
    assert seen == [source or "127.0.0.1"]


def test_source_that_is_not_of_this_host() -> None:
    """An address that the host does not have is told like an endpoint that is not reached."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
        endpoint = Endpoint("127.0.0.1", port, source="192.0.2.1")
        with pytest.raises(grpc.CallError, match=f"cannot connect to 127.0.0.1:{port}"):
            call(endpoint, METHOD, TIMEOUT_S)


def test_ipv6() -> None:
    """An IPv6 address is connected to, and written in brackets."""
    seen: list[str] = []

    def script(peer: Peer) -> None:
        request = peer.request()
        seen.append(request.headers[":authority"])
        peer.unavailable(request.stream)
        peer.until_closed()

    with StagedServer(script, ipv6_loopback()) as server:
        endpoint = Endpoint(server.address, server.port)
        assert call(endpoint, METHOD, TIMEOUT_S).grpc_status == 14
    assert seen == [f"[{server.address}]:{server.port}"]


def test_html_page() -> None:
    """An answer that is no gRPC keeps its HTTP status, which stands in for the name."""
    page = [(":status", "502"), ("content-type", "text/html")]

    def script(peer: Peer) -> None:
        stream = peer.request().stream
        peer.headers(stream, page)
        peer.http2.send_data(stream, b"<html>", end_stream=True)
        peer.flush()
        peer.until_closed()

    reply = ask(script)
    assert (reply.http_status, reply.grpc_status) == (502, None)
    assert reply.status_name == "no gRPC status (HTTP 502)"


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "\xb2"])
def test_status_that_is_no_number(text: str) -> None:
    """A grpc-status that is no number counts as none."""
    reply = grpc.Reply(http_status=200, headers={"grpc-status": text})
    assert reply.grpc_status is None
    assert reply.status_name == "no gRPC status (HTTP 200)"


def test_status_names() -> None:
    """The names stand at their numbers (grpc/doc/statuscodes.md)."""
    numbers = {code.name: code.value[0] for code in grpcio.StatusCode}
    assert {name: number for number, name in enumerate(grpc.STATUS_NAMES)} == numbers
    assert grpc.STATUS_NAMES[grpc.UNAVAILABLE] == "UNAVAILABLE"


@given(messages=st.lists(st.binary(max_size=40)), cut=st.integers(min_value=0))
def test_frames(messages: list[bytes], cut: int) -> None:
    """Whole messages come out of any prefix of their frames, and the rest is kept."""
    whole = b"".join(grpc.frame(message) for message in messages)
    found, rest = grpc.unframe(whole[: cut % (len(whole) + 1)])
    assert found == messages[: len(found)]
    assert (
        b"".join(grpc.frame(message) for message in found) + rest
        == (whole[: cut % (len(whole) + 1)])
    )
    assert grpc.unframe(whole) == (messages, b"")
    again, nothing = grpc.unframe(rest + whole[cut % (len(whole) + 1) :])
    assert (found + again, nothing) == (messages, b"")


def test_tls_of_a_megabyte(tmp_path: Path) -> None:
    """Windows and records together lose nothing, on the way there and back."""
    seen: list[Request] = []

    def script(peer: Peer) -> None:
        seen.append(peer.request())
        peer.headers(seen[0].stream, HEADERS)
        peer.data(seen[0].stream, grpc.frame(MEGABYTE))
        peer.headers(seen[0].stream, [("grpc-status", "0")], end=True)
        peer.until_closed()

    with StagedServer(script, tls=serving_context(tmp_path, server())) as staged:
        endpoint = Endpoint(staged.address, staged.port, tls=Tls("proxy.example", ca=ca(tmp_path)))
        reply = call(endpoint, METHOD, TIMEOUT_S, message=MEGABYTE)
    assert (reply.messages, seen[0].body) == ([MEGABYTE], grpc.frame(MEGABYTE))


class Handler(grpcio.GenericRpcHandler):
    """Answers one method of grpcio's server with the behaviour given.

    :param behaviour: takes the request and the context, returns the reply.
    """

    def __init__(self, behaviour: Callable[[bytes, Any], bytes]) -> None:
        self._behaviour = behaviour

    def service(
        self, handler_call_details: grpcio.HandlerCallDetails
    ) -> grpcio.RpcMethodHandler[Any, Any] | None:
        """Return the handler of the one method there is."""
        if handler_call_details.method != METHOD:
            return None
        return grpcio.unary_unary_rpc_method_handler(self._behaviour)


@pytest.fixture
def serving() -> Iterator[Callable[[Callable[[bytes, Any], bytes]], Endpoint]]:
    """Start servers of grpcio, and stop them at the end."""
    servers: list[grpcio.Server] = []

    def start(behaviour: Callable[[bytes, Any], bytes]) -> Endpoint:
        started = grpcio.server(ThreadPoolExecutor(2))
        started.add_generic_rpc_handlers((Handler(behaviour),))
        port = started.add_insecure_port("127.0.0.1:0")
        started.start()
        servers.append(started)
        return Endpoint("127.0.0.1", port)

    yield start
    for started in servers:
        started.stop(None).wait()


Serving = Callable[[Callable[[bytes, Any], bytes]], Endpoint]


def test_grpcio_ok(serving: Serving) -> None:
    """A server that is not of this project's making reads the request and is read."""
    seen: dict[str, Any] = {}

    def echo(request: bytes, context: Any) -> bytes:
        seen.update(context.invocation_metadata())
        context.set_trailing_metadata((("x-tail", "yes"),))
        return request[::-1]

    reply = call(serving(echo), METHOD, TIMEOUT_S, {"x-head": "yes"}, b"abc")
    assert (reply.messages, reply.grpc_status, reply.http_status) == ([b"cba"], 0, 200)
    assert reply.trailers["x-tail"] == "yes"
    assert seen["x-head"] == "yes"


def test_grpcio_abort(serving: Serving) -> None:
    """An abort is UNAVAILABLE with its message."""

    def abort(_request: bytes, context: Any) -> bytes:
        context.abort(grpcio.StatusCode.UNAVAILABLE, "störung 100%")
        raise AssertionError("abort() raises")

    reply = call(serving(abort), METHOD, TIMEOUT_S)
    assert (reply.grpc_status, reply.grpc_message) == (14, "störung 100%")
    assert reply.messages == []


def test_grpcio_over_tls(tmp_path: Path) -> None:
    """A server that is not of this project's making, with client certificates."""
    shown, trusted = server(), authority().certificate.encode()
    credentials = grpcio.ssl_server_credentials(
        [(shown.private_key.encode(), shown.chain.encode())], trusted, require_client_auth=True
    )
    staged = grpcio.server(ThreadPoolExecutor(2))
    staged.add_generic_rpc_handlers((Handler(lambda request, _context: request[::-1]),))
    port = staged.add_secure_port("127.0.0.1:0", credentials)
    staged.start()
    try:
        files = pair(tmp_path, authority().client("agent"), "client")
        tls = Tls("proxy.example", True, ca(tmp_path), *files)
        endpoint = Endpoint("127.0.0.1", port, tls=tls)
        with grpc.Connection(endpoint, TIMEOUT_S) as connection:
            reply = connection.call(METHOD, message=b"abc")
    finally:
        staged.stop(None).wait()
    assert (reply.messages, reply.grpc_status, connection.alpn) == ([b"cba"], 0, "h2")


def test_grpcio_unknown_method(serving: Serving) -> None:
    """A method that the server does not know is UNIMPLEMENTED."""
    endpoint = serving(lambda request, _context: request)
    assert call(endpoint, "/no.Such/method", TIMEOUT_S).status_name == "UNIMPLEMENTED"


def test_grpcio_megabyte(serving: Serving) -> None:
    """A megabyte from grpcio's server comes through whole."""
    reply = call(serving(lambda _request, _context: MEGABYTE), METHOD, TIMEOUT_S)
    assert (reply.messages, reply.grpc_status) == ([MEGABYTE], 0)
