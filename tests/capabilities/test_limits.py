"""Limits on rate, streams and size: what is refused, how it is told, and what goes on beside it."""

from __future__ import annotations

import datetime
import itertools
import json
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.capabilities import wire
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import VERIFY, Deployment
from tests.hosts import arrivals, oap
from tests.hosts.agents import run_java
from tests.hosts.clients import CLIENTS, Client, call

NAME = "limits"
PORT = 13300
# Here a refusal of JVM metrics is told as UNAVAILABLE, by a snippet: for the contrast.
CONTRAST = PORT + 1
TRACES = "/skywalking.v3.TraceSegmentReportService/collect"
LOGS = "/skywalking.v3.LogReportService/collect"
METERS = "/skywalking.v3.MeterReportService/collect"
MESH = "/skywalking.v3.ServiceMeshMetricService/collect"
JVM = "/skywalking.v3.JVMMetricReportService/collect"
PROFILING = "/skywalking.v3.ProfileTask/getProfileTaskCommands"
SNAPSHOTS = "/skywalking.v3.ProfileTask/collectSnapshot"
TOO_MANY = f"{NAME}: too many calls (429)"
TOO_LARGE = f"{NAME}: the request is too large (413)"
BURST, STREAMS = 4, 3
SMALL, LARGE = 40_000, 70_000
JAVA_SECONDS = 60
# A rate's bucket outlives a reload: each run has tokens of its own, whose buckets are full.
STAMP = secrets.token_hex(4)
CLIENTS_TOKENS = {
    f"{what}-{client}-{STAMP}": secrets.token_hex(8)
    for what in ("traces", "logs", "streams")
    for client in CLIENTS
}
OF_JAVA = f"java-agent-{STAMP}"
OTHERS = ("any", f"held-{STAMP}", f"sizes-{STAMP}", OF_JAVA)
TOKENS = {**CLIENTS_TOKENS, **{name: secrets.token_hex(8) for name in OTHERS}}
SETTINGS: dict[str, Any] = {
    "grpc_proxy_listen": [{"port": PORT}, {"port": CONTRAST}],
    "grpc_proxy_token": [{"name": name, "token": token} for name, token in TOKENS.items()],
    # Each call, where only some of these are logged by default.
    "grpc_proxy_access_log": {"to": "file", "sample": {"jvm": 100, "keep_alive": 100}},
    "grpc_proxy_rate_limit": [
        {"rate": "1/m", "burst": BURST, "key": "token", "methods": ["traces"]},
        {"rate": "1/m", "key": "token", "methods": ["logs"]},
        {"rate": "1/m", "methods": ["mesh"]},
        {"rate": "1/m", "key": "service", "methods": ["others"]},
        # The host itself asks for these, and would be told INTERNAL or UNAVAILABLE if it counted.
        {"rate": "1/m", "methods": ["jvm", "health", "browser"]},
    ],
    "grpc_proxy_connection_limit": [
        {"streams": STREAMS, "key": "token", "methods": ["meters", "traces"]},
        {"streams": 1, "key": "client_address", "methods": ["profiling"]},
    ],
    "grpc_proxy_body_limit": {"traces": "64k", "logs": "64k"},
    "grpc_proxy_snippets": {
        "http": f'map "$server_port $uri" $contrast {{ "~^{CONTRAST} {JVM}$" 1; default ""; }}\n',
        "server": "if ($contrast) { return 503; }\n",
    },
}


@pytest.fixture(scope="module")
def proxy(proxies: Proxies) -> Deployment:
    """The proxy with a limit of each sort, in front of a real OAP."""
    made = proxies(NAME, PORT)
    made.deploy(SETTINGS)
    return made


def sent_by(name: str) -> dict[str, str]:
    """Return the metadata of a client with the token of that name."""
    return {"authentication": TOKENS[name]}


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("what", "path", "good", "code"),
    [("traces", TRACES, 1 + BURST, "UNAVAILABLE"), ("logs", LOGS, 1, "INTERNAL")],
)
def test_rate_by_token(
    proxy: Deployment, client: Client, what: str, path: str, good: int, code: str
) -> None:
    """Each token has its own count, and every client reads what is above the rate and its burst.

    Traces are refused as UNAVAILABLE, and what may fail alone as INTERNAL.
    """
    metadata = sent_by(f"{what}-{client}-{STAMP}")
    with wire.Caller(proxy.target) as caller:
        assert [caller.call(path, metadata).code for _number in range(good)] == good * ["OK"]
    outcome = call(client, proxy.target, path, metadata, stream=True)
    assert (outcome.code, outcome.message) == (code, TOO_MANY)


def test_rate_by_address(proxy: Deployment) -> None:
    """Each address has its own count."""
    address6 = proxy.lab.host("proxy1").address6
    for target in (proxy.target, f"[{address6}]:{PORT}"):
        with wire.Caller(target) as caller:
            # An earlier run may have used up this minute's call.
            _until_ok(caller, MESH)
            answer = caller.call(MESH, sent_by("any"))
            assert (answer.code, answer.message) == ("INTERNAL", TOO_MANY)


def _until_ok(caller: wire.Caller, path: str) -> None:
    end = time.monotonic() + 90
    while (code := caller.call(path, sent_by("any")).code) != "OK":
        assert time.monotonic() < end, code
        time.sleep(1)


def test_rate_by_service(proxy: Deployment) -> None:
    """Each gRPC service has its own count, over all of its methods."""
    with wire.Caller(proxy.target) as caller:
        for service in (secrets.token_hex(8), secrets.token_hex(8)):
            told = [
                caller.call(f"/made_up.S{service}/{method}", sent_by("any"))
                for method in ("First", "Second")
            ]
            # The OAP does not know it, and says so of what it gets.
            assert [one.code for one in told] == ["UNIMPLEMENTED", "UNAVAILABLE"]
            assert [one.refused_by(NAME) for one in told] == [False, True]


@pytest.mark.parametrize("client", CLIENTS)
def test_streams_by_token(proxy: Deployment, client: Client) -> None:
    """So many streams may be open at a time with one token; every client reads that it is full."""
    metadata = sent_by(f"streams-{client}-{STAMP}")
    with wire.Caller(proxy.target) as caller:
        held = [caller.hold(METERS, metadata) for _number in range(STREAMS + 1)]
        assert [(one.code, one.message) for one in wire.ended(held, 1)] == [("INTERNAL", TOO_MANY)]
        outcome = call(client, proxy.target, METERS, metadata, stream=True)
        assert (outcome.code, outcome.message) == ("INTERNAL", TOO_MANY)
        # Another token has its own count, and one more of this one may begin where one has ended.
        assert caller.call(METERS, sent_by("any")).code == "OK"
        assert Counter(one.end().code for one in held) == {"OK": STREAMS, "INTERNAL": 1}
        assert caller.call(METERS, metadata).code == "OK"


def test_streams_of_traces(proxy: Deployment) -> None:
    """Traces above the limit are refused as UNAVAILABLE; those that are open go on."""
    with wire.Caller(proxy.target) as caller:
        held = [caller.hold(TRACES, sent_by(f"held-{STAMP}")) for _number in range(STREAMS + 1)]
        assert [one.code for one in wire.ended(held, 1)] == ["UNAVAILABLE"]
        assert Counter(one.end().code for one in held) == {"OK": STREAMS, "UNAVAILABLE": 1}


def test_streams_by_address(proxy: Deployment) -> None:
    """Each address has its own count."""
    address6 = proxy.lab.host("proxy1").address6
    with wire.Caller(proxy.target) as caller, wire.Caller(f"[{address6}]:{PORT}") as other:
        held = [caller.hold(SNAPSHOTS, sent_by("any")) for _number in range(2)]
        assert [one.code for one in wire.ended(held, 1)] == ["INTERNAL"]
        assert other.call(PROFILING, sent_by("any")).code == "OK"
        assert Counter(one.end().code for one in held) == {"OK": 1, "INTERNAL": 1}


@pytest.mark.parametrize(
    ("path", "sizes", "code"),
    [
        (TRACES, (LARGE,), "RESOURCE_EXHAUSTED"),
        (TRACES, (SMALL,), "OK"),
        # It counts all messages of a stream.
        (TRACES, (SMALL, SMALL), "RESOURCE_EXHAUSTED"),
        (LOGS, (LARGE,), "INTERNAL"),
        (METERS, (LARGE,), "OK"),
        (METERS, 30 * (LARGE,), "OK"),
    ],
)
def test_sizes(proxy: Deployment, path: str, sizes: tuple[int, ...], code: str) -> None:
    """What is too large for its kind of method is refused, and nothing else is."""
    messages = [_message(size) for size in sizes]
    answer = wire.call(proxy.target, path, sent_by(f"sizes-{STAMP}"), *messages)
    assert answer.code == code
    assert answer.message == ("" if code == "OK" else TOO_LARGE)


def _message(size: int) -> bytes:
    """Return a message of protobuf with one field that no OAP knows, and so passes over."""
    tag, length = b"\xc2\x3e", bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14])
    return tag + length + bytes(size)


def test_hosts_own_questions_are_not_counted(proxy: Deployment) -> None:
    """At one call a minute for whatever the proof asks, a second run and verify hold at once."""
    codes = [wire.call(proxy.target, oap.HEALTH, sent_by("any")).code for _number in range(2)]
    assert "UNAVAILABLE" in codes, "others are counted"
    assert proxy.play(SETTINGS).changed() == 0
    run = proxy.play(SETTINGS, playbook=VERIFY)
    assert run.changed() == 0
    rows = run.of_module("skywalking.oap_proxy.nginx_config")["proof"]
    assert len(rows) == 4
    assert not [row for row in rows if row["fault"]]


def test_a_limit_on_metrics_does_not_silence_a_java_agent(proxy: Deployment) -> None:
    """A real Java agent stays connected while its JVM metrics are refused as INTERNAL.

    Refused as UNAVAILABLE, the one call puts all its reporters off, until it tries again after
    half a minute: measured with agent 9.4.0, and shown here by the second agent. So it would be
    with logs, and the agent's traces would be lost.
    """
    over = threading.Event()

    def enough() -> bool:
        """Tell whether the first agent has gone on for long enough after both were refused."""
        first = _of_java(proxy, PORT)
        others = [line for line in _of_java(proxy, CONTRAST) if line["kind"] == "jvm"]
        if others:
            later = [line for line in first if _seconds(line) > _seconds(others[0])]
            refused = [line for line in later if line["grpc_code"] == "13"]
            if len(refused) >= 4 and [line for line in later if line["method"] == "keepAlive"]:
                over.set()
        return over.is_set()

    service = f"limits-{STAMP}"
    with ThreadPoolExecutor() as pool:
        agents = [
            pool.submit(
                run_java, f"{proxy.address}:{port}", f"{service}-{port}", JAVA_SECONDS,
                token=TOKENS[OF_JAVA], until=enough,
            )
            for port in (PORT, CONTRAST)
        ]  # fmt: skip
        logs = [one.result().log for one in agents]
    assert f"INTERNAL: {TOO_MANY}" in logs[0]
    first, second = _of_java(proxy, PORT), _of_java(proxy, CONTRAST)
    codes = Counter(line["grpc_code"] for line in first if line["kind"] == "jvm")
    assert codes["13"] >= 4
    assert codes["13"] + codes["0"] == codes.total()
    assert {line["grpc_code"] for line in first if line["kind"] == "keep_alive"} == {"0"}
    oaps = {"oap1": proxy.lab.host("oap1").address}
    assert arrivals.registered(oaps, f"{service}-{PORT}", f"{service}-{PORT}-1") == ["oap1"]

    assert "UNAVAILABLE" in logs[1]
    refused = [_seconds(line) for line in second if line["kind"] == "jvm"]
    assert refused
    pauses = [later - earlier for earlier, later in itertools.pairwise(refused)]
    assert not [pause for pause in pauses if pause < 10], "the second agent went on"


def _of_java(proxy: Deployment, port: int) -> list[dict[str, Any]]:
    """Return what the access log has of the Java agent at a port."""
    return [
        line
        for line in proxy.log_lines()
        if line["token"] == OF_JAVA and line["listener"].endswith(f":{port}")
    ]


def _seconds(line: dict[str, Any]) -> float:
    return datetime.datetime.fromisoformat(line["time"]).timestamp()


def test_difference_is_shown(proxy: Deployment) -> None:
    """`--check --diff` tells which rate comes, and changes nothing."""
    before = proxy.generations()
    limits = [{"rate": "250/s", "burst": 77, "methods": ["logs"]}]
    run = proxy.play({**SETTINGS, "grpc_proxy_rate_limit": limits}, "--check", "--diff")
    assert run.changed() == 1
    shown = json.dumps(run.of_module("skywalking.oap_proxy.nginx_config")["diff"])
    assert "rate=250r/s" in shown
    assert "burst=77 nodelay" in shown
    assert not [token for token in TOKENS.values() if token in shown]
    assert proxy.generations() == before
