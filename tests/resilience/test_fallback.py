"""What nginx answers by itself, as clients in Python, Go and Java and over plain HTTP read it."""

import socket

import h2.config
import h2.connection
import h2.events
import pytest

from tests.hosts import clients
from tests.resilience.fallback import EXPECTED, faults, method_of

# nginx's own numbers for kinds of 400.
AS_400 = {494, 495, 496}


@pytest.mark.parametrize("code", EXPECTED)
def test_every_client_reads_the_same_status(code: int, targets: dict[str, str]) -> None:
    """A page of nginx's becomes that gRPC status, with a message that names it."""
    assert faults(targets["fallback"], code) == {}


@pytest.mark.parametrize("code", EXPECTED)
def test_plain_http_reads_the_real_status(code: int, targets: dict[str, str]) -> None:
    """A health check that does not speak gRPC is not told 200."""
    headers = plain(targets["fallback"], method_of(code))
    assert headers[":status"] == str(400 if code in AS_400 else code)
    assert "grpc-status" not in headers


@pytest.mark.parametrize(
    "path", ["/RemoteService/call", "/%52emoteService/call", "//RemoteService/x"]
)
def test_the_bus_between_oaps_is_closed(path: str, targets: dict[str, str]) -> None:
    """A real OAP answers anyone there."""
    for client in clients.CLIENTS:
        outcome = clients.call(client, targets["real"], path, seconds=10)
        assert outcome.code == "UNIMPLEMENTED", (client, outcome)


def test_the_proof_answers_the_host_itself_alone(targets: dict[str, str]) -> None:
    """From another host the proof's locations do not exist, and its metadata does nothing."""
    for method in ("/-/oap-proxy/generation", "/-/oap-proxy/oap/oap1/grpc.health.v1.Health/Check"):
        assert clients.call("grpcio", targets["real"], method).code == "UNIMPLEMENTED"
    probe = {"x-oap-proxy-probe": "unavailable"}
    health = "/grpc.health.v1.Health/Check"
    assert clients.call("grpcio", targets["real"], health, probe).code == "OK"


def plain(target: str, path: str) -> dict[str, str]:
    """GET over HTTP/2 without a word of gRPC, and return the response's headers."""
    host, _colon, port = target.rpartition(":")
    http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http2.initiate_connection()
    fields = ((":method", "GET"), (":scheme", "http"), (":path", path), (":authority", target))
    http2.send_headers(1, fields, end_stream=True)
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(http2.data_to_send())
        while received := connection.recv(65536):
            for event in http2.receive_data(received):
                if isinstance(event, h2.events.ResponseReceived):
                    return {str(name): str(value) for name, value in event.headers}
            connection.sendall(http2.data_to_send())
    raise AssertionError(f"{target} gave no answer to {path}")
