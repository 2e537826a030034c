"""The bus between the OAPs, which answers anyone without authentication, is closed to everyone."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.capabilities import wire
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import Deployment
from tests.capabilities.standin import StandIn
from tests.hosts import oap
from tests.hosts.clients import CLIENTS, Client, call

NAME = "bus"
PORT = 13500
CALL = "/RemoteService/call"
BY_NAME = "oaps.example"
SPELLINGS = (
    CALL,
    "/RemoteService/syncStatus",
    "/RemoteService/AnyOther",
    "/RemoteService/",
    "/RemoteService",
    "/RemoteService/call/",
    "/RemoteService/call/call",
    "/remoteservice/call",
    "/REMOTESERVICE/CALL",
    "//RemoteService/call",
    "/RemoteService//call",
    "/./RemoteService/call",
    "/RemoteService/./call",
    "/x/../RemoteService/call",
    "/skywalking.v3.EventService/../RemoteService/call",
    "/RemoteService/../RemoteService/call",
    "/RemoteService/x/../call",
    "/%52emoteService/call",
    "/Remote%53ervice/call",
    "/RemoteService%2Fcall",
    "/RemoteService/c%61ll",
    "/x/%2e%2e/RemoteService/call",
    "/%2e/RemoteService/call",
    "/RemoteService/call?",
    "/RemoteService/call?x=/skywalking.v3.EventService/collect",
    "/RemoteService?/call",
    "/RemoteService/call#x",
)
# Snippets that mean to open it: locations of its own, and rewrites to it. (One that rewrites and
# names the OAPs as its target in one location is a way of its own around all that is here.)
SNIPPET = """
location = /RemoteService/call { grpc_pass grpc://oap_proxy_oaps; }
location ~ ^/RemoteService { grpc_pass grpc://oap_proxy_oaps; }
location /rewritten/ { rewrite ^/rewritten/(.*)$ /$1 last; }
rewrite ^/moved/(.*)$ /$1 last;
rewrite ^/changed/(.*)$ /$1 break;
"""
REWRITTEN = ("/rewritten", "/moved", "/changed")


@pytest.fixture(scope="module")
def standin(proxies: Proxies) -> Iterator[StandIn]:
    """A stand-in for an OAP, which answers every method and notes what arrives."""
    one = StandIn(str(proxies(NAME, PORT).lab.subnet[1]), "stand-in")
    yield one
    one.stop()


@pytest.fixture(scope="module")
def settings(proxies: Proxies) -> dict[str, object]:
    """Everything that could open the bus; a real OAP is served as a service of its own, by name."""
    lab = proxies(NAME, PORT).lab
    return {
        "grpc_proxy_allow": [str(lab.subnet), str(lab.subnet6), "127.0.0.1", "::1"],
        "grpc_proxy_services": [
            {
                "name": "oaps_by_name",
                "server_name": BY_NAME,
                "servers": [{"address": lab.host("oap1").address, "port": oap.GRPC_PORT}],
            }
        ],
        "grpc_proxy_snippets": {"server": SNIPPET},
    }


@pytest.fixture(scope="module")
def proxy(proxies: Proxies, standin: StandIn, settings: dict[str, object]) -> Deployment:
    """The proxy, with a stand-in in the place of the OAPs."""
    made = proxies(NAME, PORT)
    oaps = {"standin": {"oap_address": standin.address, "oap_port": standin.port}}
    made.groups = {"skywalking_oap": oaps}
    made.deploy(settings)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_told(proxy: Deployment, client: Client) -> None:
    """A real OAP answers the bus to anyone; through the proxy every client reads UNIMPLEMENTED."""
    direct = wire.call(f"{proxy.lab.host('oap1').address}:{oap.GRPC_PORT}", CALL)
    assert direct.code == "OK"
    outcome = call(client, proxy.target, CALL)
    assert outcome.code == "UNIMPLEMENTED"
    assert outcome.message == f"{NAME}: this method is not served here (404)"


@pytest.mark.parametrize("authority", ["", BY_NAME, "localhost"])
@pytest.mark.parametrize("path", SPELLINGS)
def test_no_spelling_opens_it(
    proxy: Deployment, standin: StandIn, path: str, authority: str
) -> None:
    """However it is spelled, the proxy itself refuses it, and nothing reaches an OAP."""
    standin.taken()
    probe = {"x-oap-proxy-probe": "unavailable", "x-original-url": CALL, "x-rewrite-url": CALL}
    with wire.Caller(proxy.target, authority) as caller:
        for metadata in ({}, probe):
            answer = caller.call(path, metadata)
            assert (answer.code, answer.refused_by(NAME)) == ("UNIMPLEMENTED", True), answer
        held = caller.hold(path)
        assert held.end().code == "UNIMPLEMENTED"
    assert standin.taken() == []


@pytest.mark.parametrize("before", REWRITTEN)
def test_no_rewrite_opens_it(proxy: Deployment, standin: StandIn, before: str) -> None:
    """A user's snippet that rewrites other calls rewrites none to the bus."""
    standin.taken()
    for path in ("/RemoteService/syncStatus", "/remoteservice/call", "/RemoteService"):
        for authority in ("", BY_NAME):
            with wire.Caller(proxy.target, authority) as caller:
                answer = caller.call(before + path)
        assert (answer.code, answer.refused_by(NAME)) == ("UNIMPLEMENTED", True), answer
    assert standin.taken() == []
    # The same rewrite serves what is for agents.
    events = "/skywalking.v3.EventService/collect"
    assert wire.call(proxy.target, before + events).code == "OK"


def test_others_pass(proxy: Deployment, standin: StandIn) -> None:
    """Names that only resemble it are others' methods, which are passed when nothing is said."""
    standin.taken()
    others = [
        "/RemoteServices/call",
        "/MyRemoteService/call",
        "/some.RemoteService/call",
        "/skywalking.v3.EventService/collect",
    ]
    for path in others:
        answer = wire.call(proxy.target, path)
        assert (answer.code, answer.body) == ("OK", b"stand-in")
    assert [one.method for one in standin.taken()] == others


def test_service_cannot_take_it(proxy: Deployment, settings: dict[str, object]) -> None:
    """A further service under the bus's name is refused before anything is written."""
    servers = [{"address": "192.0.2.1", "port": 9090}]
    services = [{"name": "own", "prefix": "/RemoteService/", "servers": servers}]
    message = proxy.refused({**settings, "grpc_proxy_services": services})
    assert "grpc_proxy_services[0].prefix" in message


def test_proof_and_second_run(proxy: Deployment, settings: dict[str, object]) -> None:
    """The proof holds that the bus is closed on every listener; a second run changes nothing."""
    assert proxy.play(settings).changed() == 0
    told = json.loads(proxy.file("proof.json"))
    assert all(
        {"method": CALL, "statuses": [12]} in listener["refusals"] for listener in told["listeners"]
    )
