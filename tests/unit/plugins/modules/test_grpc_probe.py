"""The module ``grpc_probe``: real calls to a staged server, and arguments that do not do."""

from __future__ import annotations

import base64
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.modules import grpc_probe

from tests.unit.h2_server import HEADERS, Peer, Request, StagedServer
from tests.unit.inventories import authority, server
from tests.unit.plugins.modules.documented import (
    ANSIBLES,
    options,
    returned,
    run,
    specification,
    without_no_log,
)
from tests.unit.tls_files import ca, pair, serving_context

METHOD = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
ALWAYS, ANSWERED = {"always"}, {"always", "when an answer came"}


class Oap:
    """A staged server that answers each call with a status, and notes the requests."""

    def __init__(self, status: str = "0", message: str = "") -> None:
        self.status = status
        self.message = message
        self.requests: list[Request] = []

    def __call__(self, peer: Peer) -> None:
        """Answer one call."""
        request = peer.request()
        self.requests.append(request)
        status = [("grpc-status", self.status), ("grpc-message", self.message)]
        if self.status == "0":
            peer.headers(request.stream, HEADERS)
            peer.data(request.stream, b"\0\0\0\0\x02" + SERVING)
            peer.headers(request.stream, status, end=True)
        else:
            peer.headers(request.stream, [*HEADERS, *status], end=True)
        peer.until_closed()


def probe(
    oap: Oap, capsys: pytest.CaptureFixture[str], check_mode: bool = False, **arguments: Any
) -> dict[str, Any]:
    """Probe a staged server."""
    with StagedServer(oap) as server:
        given = {"address": server.address, "port": server.port, "method": METHOD, **arguments}
        return run(grpc_probe.main, capsys, given, check_mode=check_mode)


def test_arguments_are_documented() -> None:
    """The specification is what the documentation says."""
    documented = yaml.safe_load(grpc_probe.DOCUMENTATION)
    assert documented["module"] == "grpc_probe"
    assert specification(options(grpc_probe.DOCUMENTATION)) == without_no_log(grpc_probe.ARGUMENTS)


@pytest.mark.parametrize("check_mode", [False, True])
def test_success(capsys: pytest.CaptureFixture[str], check_mode: bool) -> None:
    """An answer as it came on the wire, in check mode too; nothing is changed."""
    oap = Oap(message="all%20well")
    result = probe(oap, capsys, check_mode)
    assert set(result) - ANSIBLES == returned(grpc_probe.RETURN, ANSWERED)
    assert result.pop("duration_ms") > 0
    assert result == {
        "changed": False,
        "grpc_status": 0,
        "grpc_status_name": "OK",
        "grpc_message": "all well",
        "http_status": 200,
        "headers": {"content-type": "application/grpc"},
        "trailers": {"grpc-status": "0", "grpc-message": "all%20well"},
        "trailers_only": False,
        "messages": [base64.b64encode(SERVING).decode()],
        "alpn": None,
        "peer_certificate": None,
    }


def test_what_is_sent(capsys: pytest.CaptureFixture[str]) -> None:
    """Authority, metadata and message reach the server; names in lower case, values as text."""
    oap = Oap()
    message = base64.b64encode(b"\x0a\x03oap").decode()
    metadata = {"X-Token": "secret", "x-number": 7}
    probe(oap, capsys, authority="oap.example", metadata=metadata, request=message)
    (request,) = oap.requests
    assert request.headers[":authority"] == "oap.example"
    assert request.headers[":path"] == METHOD
    assert (request.headers["x-token"], request.headers["x-number"]) == ("secret", "7")
    assert request.body == b"\0\0\0\0\x05\x0a\x03oap"


def test_source(capsys: pytest.CaptureFixture[str]) -> None:
    """The call comes from the address that is asked for."""
    seen: list[str] = []

    class Noting(Oap):
        def __call__(self, peer: Peer) -> None:
            seen.append(peer.socket.getpeername()[0])
            super().__call__(peer)

    assert "failed" not in probe(Noting(), capsys, source="127.0.0.9")
    assert seen == ["127.0.0.9"]


def test_request_larger_than_any_window(capsys: pytest.CaptureFixture[str]) -> None:
    """A request of any size is sent whole."""
    oap = Oap()
    message = b"0123456789abcdef" * 20000
    result = probe(oap, capsys, request=base64.b64encode(message).decode())
    assert "failed" not in result
    assert oap.requests[0].body == b"\0" + len(message).to_bytes(4, "big") + message


def probe_over_tls(
    oap: Oap,
    capsys: pytest.CaptureFixture[str],
    context: ssl.SSLContext,
    **arguments: Any,
) -> dict[str, Any]:
    """Probe a staged server with TLS."""
    with StagedServer(oap, tls=context) as staged:
        given = {"address": staged.address, "port": staged.port, "method": METHOD, "tls": True}
        return run(grpc_probe.main, capsys, {**given, **arguments})


def test_tls(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A server that is verified by authority and name, with what it showed."""
    context = serving_context(tmp_path, server())
    result = probe_over_tls(Oap(), capsys, context, ca=ca(tmp_path), server_name="proxy.example")
    assert "failed" not in result
    assert set(result) - ANSIBLES == returned(grpc_probe.RETURN, ANSWERED)
    assert (result["alpn"], result["peer_certificate"]) == ("h2", server().certificate)


def test_tls_by_address(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a name the address is verified."""
    context = serving_context(tmp_path, server("127.0.0.1"))
    assert "failed" not in probe_over_tls(Oap(), capsys, context, ca=ca(tmp_path))
    result = probe_over_tls(Oap(), capsys, serving_context(tmp_path, server()), ca=ca(tmp_path))
    assert "no TLS with 127.0.0.1:" in result["msg"]
    assert (result["grpc_status"], result["grpc_status_name"]) == (None, "no answer")


@pytest.mark.parametrize("arguments", [{}, {"server_name": "proxy.example"}])
def test_tls_verification(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: dict[str, Any]
) -> None:
    """A stranger is refused, unless nothing is verified."""
    context = serving_context(tmp_path, server())
    oap = Oap()
    result = probe_over_tls(oap, capsys, context, **arguments)
    assert "certificate verify failed" in result["msg"]
    assert oap.requests == []
    result = probe_over_tls(oap, capsys, context, validate_certs=False, **arguments)
    assert (result["grpc_status"], result["peer_certificate"]) == (0, server().certificate)


def test_client_certificate(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It is shown where it is given, and asked for otherwise."""
    context = serving_context(tmp_path, server(), clients=ca(tmp_path))
    certificate, key = pair(tmp_path, authority().client("agent"), "client")
    verified = {"ca": ca(tmp_path), "server_name": "proxy.example"}
    result = probe_over_tls(
        Oap(), capsys, context, certificate=certificate, private_key=key, **verified
    )
    assert result["grpc_status"] == 0
    assert probe_over_tls(Oap(), capsys, context, **verified)["failed"] is True


def test_status_that_was_not_expected(capsys: pytest.CaptureFixture[str]) -> None:
    """A failure says who answered what to which call, and holds all that came."""
    result = probe(Oap("14", "no%20OAP"), capsys)
    assert result["failed"] is True
    assert f"answered {METHOD} with UNAVAILABLE: no OAP; expected OK." in result["msg"]
    assert set(result) - ANSIBLES == returned(grpc_probe.RETURN, ANSWERED)
    assert (result["grpc_status"], result["trailers_only"]) == (14, True)


def test_status_that_was_expected(capsys: pytest.CaptureFixture[str]) -> None:
    """Any status may be the one to expect."""
    result = probe(Oap("14"), capsys, expect=["OK", "UNAVAILABLE"])
    assert result["grpc_status_name"] == "UNAVAILABLE"
    assert "failed" not in result


def test_ok_that_was_not_expected(capsys: pytest.CaptureFixture[str]) -> None:
    """OK is a failure where something else is expected."""
    result = probe(Oap(), capsys, expect=["UNAVAILABLE", "INTERNAL"])
    assert result["failed"] is True
    assert "with OK; expected UNAVAILABLE or INTERNAL." in result["msg"]


def test_no_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody there: a failure that names the endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = int(listening.getsockname()[1])
    arguments = {"address": "127.0.0.1", "port": port, "method": METHOD}
    result = run(grpc_probe.main, capsys, arguments)
    assert result["failed"] is True
    assert f"cannot connect to 127.0.0.1:{port}" in result["msg"]
    assert set(result) - ANSIBLES == returned(grpc_probe.RETURN, ALWAYS)
    assert (result["grpc_status"], result["grpc_status_name"]) == (None, "no answer")


@pytest.mark.parametrize("address", ["a" * 64 + ".example", ".example"])
def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str], address: str) -> None:
    """A name that no resolver takes is told like one that is not known."""
    arguments = {"address": address, "port": 1, "method": METHOD}
    result = run(grpc_probe.main, capsys, arguments)
    assert f"cannot connect to {address}:1" in result["msg"]


def test_request_that_is_no_base64(capsys: pytest.CaptureFixture[str]) -> None:
    """A request that is no base64 is told as such, and nobody is called."""
    oap = Oap()
    result = probe(oap, capsys, request="***")
    assert result["failed"] is True
    assert result["msg"].startswith("request: not base64: ")
    assert oap.requests == []


def test_status_that_nobody_knows(capsys: pytest.CaptureFixture[str]) -> None:
    """A status that gRPC has not is told, with those that it has."""
    oap = Oap()
    result = probe(oap, capsys, expect=["OK", "FINE"])
    assert result["failed"] is True
    assert result["msg"].startswith("expect: 'FINE' is no gRPC status")
    assert "UNAVAILABLE" in result["msg"]
    assert oap.requests == []


@pytest.mark.parametrize("missing", ["address", "port", "method"])
def test_required(capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """What is required is asked for by its name."""
    arguments: dict[str, Any] = {"address": "127.0.0.1", "port": 1, "method": METHOD}
    del arguments[missing]
    result = run(grpc_probe.main, capsys, arguments)
    assert result["failed"] is True
    assert missing in result["msg"]


def test_h2_is_missing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without h2 the package to install is named."""
    monkeypatch.setattr(grpc_probe, "H2_IMPORT_ERROR", "Traceback: no h2")
    oap = Oap()
    result = probe(oap, capsys)
    assert (result["failed"], oap.requests) == (True, [])
    assert "python3-h2" in result["msg"]
