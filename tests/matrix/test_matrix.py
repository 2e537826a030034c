"""What people rely on, with each nginx: as it is deployed, and as real clients see it."""

import time

import pytest

from tests.faults.site import none_lost, steady
from tests.hosts import certificates, clients
from tests.hosts.clients import Tls
from tests.hosts.load import Load
from tests.hosts.oap import COLLECT, HEALTH
from tests.hosts.streams import held
from tests.matrix.column import BOTH, EVERYTHING, SHORTEST, VERIFY, Column
from tests.matrix.conftest import LAB
from tests.resilience import fallback

FALLBACK = {
    "grpc_proxy_name": "fallback",
    "grpc_proxy_listen": [{"port": 11810}],
    **fallback.SETTINGS,
}
PROXIES = (SHORTEST, EVERYTHING, "fallback")
# Of the proxy with everything; see extensions/molecule/distributions/converge.yml.
TLS_PORT = 12843
TOKEN = {"authentication": "of-team-b"}
NOT_SERVED = "this method is not served here"
STREAM_SECONDS = 10.0


def test_site_converges(column: Column) -> None:
    """From a bare host, the shortest proxy and one with everything; that nginx is what runs."""
    assert column.play(playbook=BOTH).changed() > 0
    assert column.play(FALLBACK).changed() > 0
    assert f"nginx/{column.nginx}." in column.machine.run(column.binary, "-v")
    for name in PROXIES:
        running = column.machine.run("readlink", f"/proc/{column.machine.pid(name)}/exe")
        assert running == column.binary


def test_nothing_changes_in_a_second_run(column: Column) -> None:
    """Nor is anything reloaded."""
    assert column.play(playbook=BOTH).changed() == 0
    assert column.play(FALLBACK).changed() == 0


def test_verify_is_green(column: Column) -> None:
    """Nothing differs, and every OAP answers."""
    for settings in ({}, FALLBACK):
        assert column.play(settings, VERIFY).changed() == 0


def test_nginx_warns_of_nothing(column: Column) -> None:
    """Of what is live, in the words of its own test."""
    for name in PROXIES:
        path = f"/etc/nginx/{name}/current/nginx.conf"
        assert column.told(name) == [
            f"nginx: the configuration file {path} syntax is ok",
            f"nginx: configuration file {path} test is successful",
        ]


def test_fallback_in_every_client(column: Column) -> None:
    """Every code in grpcio, each status in all."""
    target = column.target(11810)
    faults = {code: fallback.faults(target, code, ["grpcio"]) for code in fallback.EXPECTED}
    faults |= {code: fallback.faults(target, code) for code in fallback.EACH.values()}
    assert {code: one for code, one in faults.items() if one} == {}


def test_a_long_stream(column: Column) -> None:
    """Held open, with messages at its beginning and its end."""
    with held(column.target(), None, None) as streams:
        time.sleep(STREAM_SECONDS)
        for stream in streams:
            stream.send()
        assert [stream.end() for stream in streams] == ["OK", "OK"]


def test_a_reload_under_load(column: Column) -> None:
    """There and back again: no call is lost, and no stream that was open."""
    before = column.workers(SHORTEST)
    with Load(column.target(), nginx=column.nginx) as load:
        steady(load)
        for settings in ({"grpc_proxy_answer_timeout": "6s"}, {}):
            with held(column.target(), None) as (stream,):
                assert column.play(settings).changed() == 1
                stream.send()
                assert stream.end() == "OK"
        steady(load)
    assert not set(before) & set(column.workers(SHORTEST))
    none_lost(load)


@pytest.fixture(scope="module")
def trusted() -> Tls:
    """A client of the laboratory's authority, that asks for the proxy by its name."""
    own = certificates.authority(LAB)
    return Tls(own.certificate, own.client("agent"), "proxy.example")


def test_tls_and_token_in_every_client(column: Column, trusted: Tls) -> None:
    """With certificate and token, unary and streaming; without either of them nobody is served."""
    target = column.target(TLS_PORT)
    for client in clients.CLIENTS:
        for method, stream in ((HEALTH, False), (COLLECT, True)):
            outcome = clients.call(client, target, method, TOKEN, trusted, stream=stream)
            assert outcome.code == "OK", (client, outcome)
        assert clients.call(client, target, HEALTH, {}, trusted).code == "UNAUTHENTICATED"
        stranger = Tls(trusted.ca, None, trusted.server_name)
        assert clients.call(client, target, HEALTH, TOKEN, stranger).code == "UNAUTHENTICATED"


def test_services(column: Column, trusted: Tls) -> None:
    """By prefix and by name they reach their servers; another method is refused by the proxy."""
    target = column.target(TLS_PORT)
    # The server is an OAP, which does not know it either.
    greeter = clients.call("go", target, "/helloworld.Greeter/SayHello", TOKEN, trusted)
    assert greeter.code == "UNIMPLEMENTED"
    assert NOT_SERVED not in greeter.message
    named = Tls(trusted.ca, trusted.client, "named.example")
    assert clients.call("go", target, HEALTH, TOKEN, named).code == "OK"
    other = clients.call("go", target, "/helloworld.Other/SayHello", TOKEN, trusted)
    assert other.code == "UNIMPLEMENTED"
    assert NOT_SERVED in other.message
