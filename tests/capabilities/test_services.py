"""Further gRPC services on one endpoint with SkyWalking.

The servers of the further services are stand-ins, unrelated to SkyWalking, that answer with their
own names. Here: `greeter` by prefix, `echo` by the name that clients ask for.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml

from tests.capabilities import wire
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import VERIFY, Deployment
from tests.capabilities.standin import StandIn
from tests.hosts import oap
from tests.hosts.clients import CLIENTS, Client, call
from tests.hosts.paths import ROOT

NAME = "services"
PORT = 13400
GREET = "/helloworld.Greeter/SayHello"
ECHO_NAME = "echo.example"
LARGE = b"x" * 70_000
ECHOES = ("echo1", "echo2")
GREETERS = ("greeter1", "greeter2")
# What an OAP 10.1 wants to be sent: it never answers an export of logs that names no service.
RESOURCE_LOGS = b"\x0a\x1c\x0a\x1a\x0a\x18\x0a\x0cservice.name\x12\x08\x0a\x06orders"
MESSAGES = {"/opentelemetry.proto.collector.logs.v1.LogsService/Export": RESOURCE_LOGS}
METHODS = yaml.safe_load((ROOT / "roles/grpc_proxy/vars/methods.yml").read_text(encoding="utf-8"))

# In the place of a path: what `echo()` returns.
ANY = ""


def echo() -> str:
    """Return a method of a gRPC service of its own, by which its calls are counted."""
    return f"/echo.Echo{secrets.token_hex(8)}/Say"


@pytest.fixture(scope="module")
def standins(proxies: Proxies) -> Iterator[dict[str, StandIn]]:
    """Two servers of each service, by name; the greeters have one port on two addresses."""
    lab = proxies(NAME, PORT).lab
    servers = {name: StandIn(str(lab.subnet[1]), name) for name in ("greeter1", *ECHOES)}
    port = servers["greeter1"].port
    servers["greeter2"] = StandIn(str(lab.subnet6[1]), "greeter2", port=port)
    assert servers["greeter2"].port == port
    yield servers
    for one in servers.values():
        one.stop()


@pytest.fixture(scope="module")
def settings(proxies: Proxies, standins: dict[str, StandIn]) -> dict[str, object]:
    """The two services, each with what is its own; other methods than known ones are rejected."""
    gateway6 = str(proxies(NAME, PORT).lab.subnet6[1])
    echoes = [{"address": standins[name].address, "port": standins[name].port} for name in ECHOES]
    return {
        "grpc_proxy_unknown_methods": "reject",
        "grpc_proxy_services": [
            {
                "name": "greeter",
                "prefix": "/helloworld.Greeter/",
                "group": "greeters",
                "port": standins["greeter1"].port,
                "deny": [gateway6],
                "tag": "greetings",
            },
            {
                "name": "echo",
                "server_name": ECHO_NAME,
                "servers": echoes,
                "balance": {"hash": "metadata:user"},
                "rate_limit": [{"rate": "1/m", "burst": 5, "key": "service"}],
                "connection_limit": [{"streams": 2, "key": "service"}],
                "body_limit": "64k",
            },
        ],
    }


@pytest.fixture(scope="module")
def proxy(
    proxies: Proxies, standins: dict[str, StandIn], settings: dict[str, object]
) -> Deployment:
    """The proxy, with a real OAP and both services behind it on one port."""
    made = proxies(NAME, PORT)
    weights = dict(zip(GREETERS, (3, 1), strict=True))
    made.groups = {
        "greeters": {
            name: {"oap_address": standins[name].address, "oap_weight": weight}
            for name, weight in weights.items()
        }
    }
    made.deploy(settings)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_one_port_serves_both(proxy: Deployment, client: Client) -> None:
    """Every client reaches SkyWalking and another service, and is told what is served by none."""
    assert call(client, proxy.target, oap.HEALTH).code == "OK"
    assert call(client, proxy.target, GREET).code == "OK"
    outcome = call(client, proxy.target, "/some.Other/Method")
    assert outcome.code == "UNIMPLEMENTED"
    assert outcome.message == f"{NAME}: this method is not served here (404)"


@pytest.mark.parametrize(
    ("authority", "path", "server"),
    [
        ("", GREET, "greeter"),
        ("localhost", GREET, "greeter"),
        ("", "/helloworld.Greeter/Any", "greeter"),
        ("", "/helloworld.Greeters/SayHello", ""),
        ("", "/helloworld.greeter/SayHello", ""),
        ("", ANY, ""),
        (ECHO_NAME, ANY, "echo"),
        (f"{ECHO_NAME}:{PORT}", ANY, "echo"),
        (ECHO_NAME.upper(), ANY, "echo"),
        (f"www.{ECHO_NAME}", ANY, ""),
        # All that its clients ask for is the service's own, under whatever method.
        (ECHO_NAME, "/helloworld.Greeter/SayHello", "echo"),
        (ECHO_NAME, "/skywalking.v3.EventService/collect", "echo"),
    ],
)
def test_whose_call_it_is(
    proxy: Deployment, standins: dict[str, StandIn], authority: str, path: str, server: str
) -> None:
    """A call goes to the service of its name or prefix, and to no other's servers."""
    for one in standins.values():
        one.taken()
    with wire.Caller(proxy.target, authority) as caller:
        answer = caller.call(path or echo(), {"user": secrets.token_hex(8)})
    reached = [name for name, one in standins.items() for _call in one.taken()]
    if server:
        assert (answer.code, reached) == ("OK", [answer.body.decode()])
        assert answer.body.decode().startswith(server)
    else:
        assert (answer.code, answer.refused_by(NAME), reached) == ("UNIMPLEMENTED", True, [])


def test_tags_in_the_log(proxy: Deployment, standins: dict[str, StandIn]) -> None:
    """The access log calls each service by its tag, and names the server that was reached."""
    cases = [
        ("", GREET, "greeter", "greetings"),
        (ECHO_NAME, echo(), "echo", "echo"),
        # A method that is another service's by its prefix is still a call of this service.
        (ECHO_NAME, GREET, "echo", "echo"),
        ("", oap.HEALTH, "health", "skywalking"),
        ("", echo(), "others", "skywalking"),
    ]
    made = []
    for authority, path, kind, tag in cases:
        stamp = secrets.token_hex(8)
        with wire.Caller(proxy.target, authority) as caller:
            answer = caller.call(path, {"user": stamp, "x-request-id": stamp})
        server = standins.get(answer.body.decode())
        made.append((stamp, kind, tag, server))
    for stamp, kind, tag, server in made:
        line = proxy.log_of(stamp)
        assert (line["kind"], line["tag"]) == (kind, tag)
        assert (server is None) == (tag == "skywalking")
        assert server is None or line["upstream"] == server.endpoint


def test_balance_of_its_own(proxy: Deployment) -> None:
    """One service is balanced by weight, the other by a hash of metadata."""
    with wire.Caller(proxy.target) as caller:
        fell = Counter(caller.call(GREET).body.decode() for _number in range(40))
    assert fell == {"greeter1": 30, "greeter2": 10}
    seen = {}
    # The rate is counted by service: here each call is of one of its own.
    with wire.Caller(proxy.target, ECHO_NAME) as caller:
        for user in map(str, range(16)):
            path = echo()
            fell = Counter(caller.call(path, {"user": user}).body.decode() for _number in range(3))
            assert len(fell) == 1, f"calls of user {user} fell to {fell}"
            seen[user] = next(iter(fell))
    assert set(seen.values()) == set(ECHOES)


def test_limits_of_its_own(proxy: Deployment) -> None:
    """One service's limits on rate, streams and size are not the others'."""
    rate, streams, size = echo(), echo(), echo()
    with wire.Caller(proxy.target, ECHO_NAME) as caller:
        assert [caller.call(rate).code for _number in range(7)] == 6 * ["OK"] + ["UNAVAILABLE"]
        assert caller.call(size, {}, LARGE).code == "RESOURCE_EXHAUSTED"
        held = [caller.hold(streams) for _number in range(3)]
        assert [one.code for one in wire.ended(held, 1)] == ["UNAVAILABLE"]
        assert sorted(one.end().code for one in held) == ["OK", "OK", "UNAVAILABLE"]
    with wire.Caller(proxy.target) as caller:
        assert {caller.call(GREET, {}, LARGE).code for _number in range(20)} == {"OK"}
        assert {caller.call(oap.HEALTH).code for _number in range(20)} == {"OK"}


def test_access_list_of_its_own(proxy: Deployment) -> None:
    """Who may not call one service may call the others."""
    target = f"[{proxy.lab.host('proxy1').address6}]:{PORT}"
    with wire.Caller(target) as caller:
        assert caller.call(GREET).code == "PERMISSION_DENIED"
        assert caller.call(oap.HEALTH).code == "OK"
    with wire.Caller(target, ECHO_NAME) as caller:
        assert caller.call(echo()).code == "OK"
        assert caller.call(GREET).body.decode() in ECHOES


def _paths() -> list[str]:
    """Return a path of each of SkyWalking's methods, those of old agents too."""
    listed = [one for item in METHODS["__grpc_proxy_classes"] for one in item["methods"]]
    paths = [f"/{one.replace('*', 'anyMethod')}" for one in listed]
    old = [one.replace("/skywalking.v3.", "/") for one in paths]
    return sorted({*paths, *old})


def test_skywalkings_own_pass(proxy: Deployment) -> None:
    """With unknown methods rejected, what is SkyWalking's still reaches the OAP.

    That is told by the answer: it is the one that the OAP itself gives.
    """
    paths = _paths()
    assert {"/TraceSegmentReportService/collect", "/skywalking.v3.EventService/collect"} < {*paths}
    direct = f"{proxy.lab.host('oap1').address}:{oap.GRPC_PORT}"
    with wire.Caller(proxy.target) as through, wire.Caller(direct) as straight:
        for path in paths:
            message = MESSAGES.get(path, b"")
            answers = [caller.call(path, {}, message) for caller in (through, straight)]
            told = [(one.code, one.message) for one in answers]
            assert told[0] == told[1], path
            assert not answers[0].refused_by(NAME), path


def test_second_run_and_difference(proxy: Deployment, settings: dict[str, object]) -> None:
    """A second run changes nothing; `--check --diff` shows what a further service brings."""
    assert proxy.play(settings).changed() == 0
    before = proxy.generations()
    services = settings["grpc_proxy_services"]
    assert isinstance(services, list)
    servers = [{"address": "192.0.2.9", "port": 9090}]
    another = {"name": "billing", "prefix": "/billing.", "servers": servers}
    changed = {**settings, "grpc_proxy_services": [*services, another]}
    run = proxy.play(changed, "--check", "--diff")
    assert run.changed() == 1
    shown = run.of_module("skywalking.oap_proxy.nginx_config")["diff"]
    assert [one for one in shown if "services.d/billing.conf" in one["after_header"]]
    assert "server 192.0.2.9:9090" in json.dumps(shown)
    assert proxy.generations() == before


def test_verify_names_who_is_silent(
    proxy: Deployment, settings: dict[str, object], standins: dict[str, StandIn]
) -> None:
    """Verify lists each server of each service, and fails naming the one that does not answer."""
    run = proxy.play(settings, playbook=VERIFY)
    assert run.changed() == 0
    lines = run.of_module("ansible.builtin.debug")["msg"]
    names = ["oap1", "greeter-greeter1", "greeter-greeter2", "echo-0", "echo-1"]
    for name in names:
        assert [one for one in lines if one.startswith(f"{name} ") and "SERVING" in one], lines
    standins["greeter2"].stop()
    message = proxy.play(settings, playbook=VERIFY).failure().message
    assert message.startswith("greeter-greeter2: no answer through proxy1")
    # Calls go on where one server is left.
    with wire.Caller(proxy.target) as caller:
        assert {caller.call(GREET).body for _number in range(8)} == {b"greeter1"}
