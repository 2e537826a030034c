"""Tokens: what clients must send, what the OAPs get, and that nobody else sees either."""

from __future__ import annotations

import os
import secrets
import string
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.capabilities import raw_http2, wire
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import SITE, VERIFY, Deployment
from tests.capabilities.standin import StandIn
from tests.faults.playbook import OWN_CONNECTION, Variables
from tests.hosts import arrivals, oap
from tests.hosts.agents import run_python
from tests.hosts.clients import CLIENTS, Client, call
from tests.hosts.paths import ROOT

OPEN, ONE, MANY = 13200, 13210, 13220
AGENTS_METHOD = "/skywalking.v3.JVMMetricReportService/collect"
OTHER_METHOD = "/helloworld.Greeter/SayHello"
SEGMENTS = 40
LONGEST = 4080
PLAYBOOK_SECONDS = 120
TOKENS_FILE = "http.d/15-tokens.conf"

# New in each run, so that whoever shows them is found; letters and digits look alike in every
# notation.
AGENTS_TOKEN = f"Of-the-Agents-{secrets.token_hex(8)}"
CORES = {
    name: secrets.token_hex(16) for name in ("client", "oap", "changed", "changed_oap", "long")
}
PRINTABLE = "".join(map(chr, range(33, 127)))
NASTY = (
    PRINTABLE,
    PRINTABLE[::-1],
    f"client {CORES['client']}",
    '"',
    "'",
    "\\",
    "\\\\",
    '\\"',
    '"\'"',
    "ends with \\",
    'quote " within',
    "new \\n line",
    "\\x41",
    "\\E\\Q.*",
    "\\z",
    "$",
    "$$",
    "$http_host",
    "${http_host}",
    "a${x}b",
    "{",
    "}",
    "{}",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{# none #}",
    ";",
    "a;}",
    "; } server { listen 1; }",
    "#",
    "# no comment",
    "a#b",
    "~",
    "~.",
    "~*.",
    "~^.*$",
    "*",
    "*.*",
    ".",
    ".*",
    "a|b",
    "(?i)abc",
    "[a-z]+",
    "^$",
    "default",
    "hostnames",
    "volatile",
    "include",
    "include /etc/hostname;",
    "0",
    "1",
    "two  spaces",
    "!unsafe",
    "%41%00",
    "Bearer eyJhbGciOiJIUzI1NiJ9.e30.ZRrHA1JJJW8opsbCGfG_HACGpVUMN_a9IV7pAx_Zmeo=",
)
NAMES = [f"number-{number}" for number in range(len(NASTY))]
OAP_TOKEN = f"\\\"'${{x}} $http_host ~^*;}}{{#\\n\\ {PRINTABLE[::-1]}{CORES['oap']}\\"


# --- one token, and a real OAP that demands another ------------------------------------------


@pytest.fixture(scope="module")
def settings(proxies: Proxies) -> dict[str, object]:
    """One token for clients, and the one that the real OAP demands."""
    return {
        "grpc_proxy_token": AGENTS_TOKEN,
        "grpc_proxy_oap_token": proxies("token", ONE).lab.host("oaptoken").token,
    }


@pytest.fixture(scope="module")
def proxy(proxies: Proxies, settings: dict[str, object]) -> Deployment:
    """The proxy between clients with one token and a real OAP that demands another."""
    made = proxies("token", ONE, "oaptoken")
    made.deploy(settings)
    return made


def _wrong(token: str) -> dict[str, str]:
    return {
        "another": "wrong",
        "in another case": token.swapcase(),
        "a prefix": token[:-1],
        "a suffix": token[1:],
        "with more before it": f"x{token}",
        "with more after it": f"{token}x",
        "with a scheme": f"Bearer {token}",
        "twice": f"{token}{token}",
        "in a list": f"{token},{token}",
    }


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_needs_it(proxy: Deployment, client: Client) -> None:
    """With the token a client is served; without, or with any other, UNAUTHENTICATED."""
    sent: dict[str, dict[str, str]] = {"none": {}} | {
        how: {"authentication": value} for how, value in _wrong(AGENTS_TOKEN).items()
    }
    with ThreadPoolExecutor(max_workers=4) as pool:
        made = {
            how: pool.submit(call, client, proxy.target, AGENTS_METHOD, metadata)
            for how, metadata in sent.items()
        }
    ended = {how: one.result() for how, one in made.items()}
    assert {how: one.code for how, one in ended.items()} == dict.fromkeys(sent, "UNAUTHENTICATED")
    assert ended["none"].message == "token: this client is not authenticated (401)"
    right = {"authentication": AGENTS_TOKEN}
    assert call(client, proxy.target, AGENTS_METHOD, right).code == "OK"


def test_no_byte_more(proxy: Deployment) -> None:
    """Also bytes that gRPC libraries strip or refuse to send make it another token."""
    token = AGENTS_TOKEN.encode()
    with raw_http2.Caller(proxy.address, proxy.port) as caller:

        def code(value: bytes) -> str:
            fields = raw_http2.plain(path=AGENTS_METHOD, authentication=value)
            return caller.call(fields).grpc_code

        assert code(token) == "0"
        for byte in range(0x20, 0x100):
            more = bytes([byte])
            for value in (token + more, more + token, token[:9] + more + token[9:]):
                # None: nginx closes the connection over a byte that no header may hold.
                assert code(value) in {"16", "none"}, value
        for value in (b"", b" ", token + b"\t", token.upper(), token.lower()):
            assert code(value) in {"16", "none"}, value
        twice = [*raw_http2.plain(path=AGENTS_METHOD, authentication="wrong")]
        assert caller.call([*twice, (b"authentication", token)]).grpc_code == "16"


def test_real_agent_arrives(proxy: Deployment) -> None:
    """A real agent with the clients' token reports to an OAP that demands its own."""
    made = run_python(
        proxy.target, f"token-{time.time_ns()}", SEGMENTS, seconds=2.0, token=AGENTS_TOKEN
    )
    oaps = {"oaptoken": proxy.lab.host("oaptoken").address}
    assert arrivals.segments(oaps, made.service, made.created).troubles() == []


def test_oaps_refusal_reaches_the_client(proxies: Proxies) -> None:
    """Without a token for the OAP the client's own is passed on, and the OAP judges it."""
    proxy = proxies("token-open", OPEN, "oaptoken")
    proxy.deploy()
    host = proxy.lab.host("oaptoken")
    direct = wire.call(f"{host.address}:{oap.GRPC_PORT}", AGENTS_METHOD)
    through = wire.call(proxy.target, AGENTS_METHOD)
    assert (through.code, through.message) == (direct.code, direct.message)
    assert through.code == "PERMISSION_DENIED"
    for token, code in ((host.token, "OK"), (host.token.upper(), "PERMISSION_DENIED")):
        assert wire.call(proxy.target, AGENTS_METHOD, {"authentication": token}).code == code


def test_proof_and_second_run(proxy: Deployment, settings: dict[str, object]) -> None:
    """The host itself, which has no token, proves the listeners; a second run changes nothing."""
    assert proxy.play(settings).changed() == 0
    run = proxy.play(settings, playbook=VERIFY)
    assert run.changed() == 0
    rows = run.of_module("skywalking.oap_proxy.nginx_config")["proof"]
    assert rows
    assert not [row for row in rows if row["fault"]]


# --- many tokens, hard to write, and who sees them -------------------------------------------


@dataclass
class Watched:
    """What was seen while a playbook ran."""

    code: int
    transcript: str
    processes: set[bytes] = field(default_factory=set)
    """Command lines and environments of all processes, those of the proxy host too."""
    rounds: int = 0


@pytest.fixture(scope="module")
def standins(proxies: Proxies) -> Iterator[dict[str, StandIn]]:
    """Stand-ins that note what they are sent: for an OAP, and for another service."""
    gateway = str(proxies("tokens", MANY).lab.subnet[1])
    both = {name: StandIn(gateway, name) for name in ("oap", "other")}
    yield both
    for one in both.values():
        one.stop()


@pytest.fixture(scope="module")
def hard(standins: dict[str, StandIn]) -> dict[str, object]:
    """Tokens by name, one for the OAP, and another service."""
    other = standins["other"]
    return {
        "grpc_proxy_token": [
            {"name": name, "token": token} for name, token in zip(NAMES, NASTY, strict=True)
        ],
        "grpc_proxy_oap_token": OAP_TOKEN,
        "grpc_proxy_services": [
            {
                "name": "other",
                "prefix": "/helloworld.Greeter/",
                "servers": [{"address": other.address, "port": other.port}],
            }
        ],
    }


def watch(proxy: Deployment, settings: Variables, *arguments: str) -> Watched:
    """Run site.yml as a person does who wants to know everything, and look who sees what."""
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        "-i",
        str(proxy.inventory(settings)),
        SITE,
        "--diff",
        "-vvv",
        *OWN_CONNECTION,
        *arguments,
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    environment = {**kept, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    seen = Watched(-1, "")
    over = threading.Event()
    watching = threading.Thread(target=_watch_processes, args=(seen, over.is_set))
    watching.start()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False, timeout=PLAYBOOK_SECONDS,
        )  # fmt: skip
    finally:
        over.set()
        watching.join()
    seen.code, seen.transcript = done.returncode, done.stdout
    return seen


def _watch_processes(seen: Watched, over: Callable[[], bool]) -> None:
    """Read /proc again and again; the hosts' processes are this machine's too."""
    while not over():
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            for name in ("cmdline", "environ"):
                try:
                    seen.processes.add((entry / name).read_bytes())
                except OSError:
                    continue  # it has ended
        seen.rounds += 1


@pytest.fixture(scope="module")
def watched(proxies: Proxies, standins: dict[str, StandIn], hard: dict[str, object]) -> Watched:
    """What was seen while the proxy with all these tokens came live."""
    return watch(_many(proxies, standins), hard)


def _many(proxies: Proxies, standins: dict[str, StandIn]) -> Deployment:
    made = proxies("tokens", MANY)
    one = standins["oap"]
    made.groups = {"skywalking_oap": {"oap": {"oap_address": one.address, "oap_port": one.port}}}
    return made


@pytest.fixture(scope="module")
def many(proxies: Proxies, standins: dict[str, StandIn], watched: Watched) -> Deployment:
    """The proxy with all these tokens, live."""
    assert watched.code == 0, watched.transcript[-3000:]
    return _many(proxies, standins)


def _one_byte_off(token: str) -> Iterator[str]:
    """Return the token with each of its bytes changed, to its neighbour and in case."""
    for place, one in enumerate(token):
        others = {one.swapcase(), chr(ord(one) + 1), chr(ord(one) - 1)} - {one}
        for other in sorted(others):
            if " " <= other <= "~":
                yield token[:place] + other + token[place + 1 :]
        yield token[:place] + token[place + 1 :]


def test_every_byte_counts(many: Deployment) -> None:
    """Each token is accepted, and none with one byte changed or left out."""
    assert set("".join(NASTY)) >= set(string.printable) - set("\t\n\r\v\f")
    with raw_http2.Caller(many.address, many.port) as caller:

        def code(token: str) -> str:
            fields = raw_http2.plain(path=AGENTS_METHOD, authentication=token)
            return caller.call(fields).grpc_code

        for token in NASTY:
            assert code(token) == "0", token
        for token in NASTY:
            for other in _one_byte_off(token):
                if other not in NASTY:
                    assert code(other) == "16", (token, other)


def test_tokens_are_known_by_name(many: Deployment) -> None:
    """The access log tells whose token it was, and not which."""
    stamp = secrets.token_hex(8)
    metadata = {"authentication": NASTY[2], "x-request-id": stamp}
    assert wire.call(many.target, "/skywalking.v3.EventService/collect", metadata).code == "OK"
    assert many.log_of(stamp)["token"] == NAMES[2]


def test_oap_token_arrives_byte_by_byte(many: Deployment, standins: dict[str, StandIn]) -> None:
    """The OAPs get their own token and none of the clients'; another service gets neither."""
    for path, server, expected in (
        (AGENTS_METHOD, "oap", [OAP_TOKEN]),
        ("/some.Other/Method", "oap", [OAP_TOKEN]),
        ("/skywalking.v3.MeterReportService/collect", "oap", [OAP_TOKEN]),
        (OTHER_METHOD, "other", []),
    ):
        standins[server].taken()
        assert wire.call(many.target, path, {"authentication": NASTY[0]}).code == "OK"
        (arrived,) = standins[server].taken()
        assert arrived.method == path
        assert arrived.values("authentication") == expected
        sent = " ".join(str(value) for _name, value in arrived.metadata)
        assert NASTY[0] not in sent


def test_nobody_else_sees_them(many: Deployment, watched: Watched) -> None:
    """No token is in what -vvv --diff prints, in a process list, a log, or a file for others."""
    assert "(secret, not shown)" in watched.transcript
    for name, core in CORES.items():
        assert core not in watched.transcript, f"the token {name} is shown"
        assert not [one for one in watched.processes if core.encode() in one], name
    # It was looked where the work was done: what tests the configuration on the host was seen.
    assert watched.rounds
    assert [one for one in watched.processes if f"{many.root}/".encode() in one]

    wire.call(many.target, AGENTS_METHOD, {"authentication": f"{NASTY[2]} wrong"})
    wire.call(many.target, AGENTS_METHOD, {"authentication": NASTY[2]})
    for core in (CORES["client"], CORES["oap"]):
        places = "/etc /root /home /run /srv /tmp /usr/local /var"
        told = many.machine.run("sh", "-c", f"grep -rlsF {core} {places} || true")
        assert {path.removeprefix(f"{many.root}/").partition("/")[0] for path in told.split()} == {
            "generations"
        }, told
        assert {path.rpartition("http.d/")[2] for path in told.split()} == {"15-tokens.conf"}
        journal = many.machine.run("sh", "-c", f"journalctl --no-pager | grep -cF {core} || true")
        assert journal == "0"


def test_file_is_roots_alone(many: Deployment) -> None:
    """The one file that holds them is root's alone; nginx's workers cannot read it either."""
    path = f"{many.root}/current/{TOKENS_FILE}"
    assert many.machine.run("stat", "-L", "-c", "%a %U %G", path) == "600 root root"
    user = many.machine.run("ps", "-o", "user=", "-C", "nginx").split()
    assert "www-data" in user
    readable = ("runuser", "-u", "www-data", "--", "test", "-r")
    assert many.machine.status(*readable, path) != 0
    assert many.machine.status(*readable, f"{many.root}/current/nginx.conf") == 0


def test_a_change_is_told_without_showing_it(many: Deployment, hard: dict[str, object]) -> None:
    """`--check --diff -vvv` of other tokens says that they change, not to what, and keeps all."""
    before = many.generations()
    tokens = [{"name": "new", "token": f"new {CORES['changed']}"}]
    changed = {
        **hard,
        "grpc_proxy_token": tokens,
        "grpc_proxy_oap_token": f"${CORES['changed_oap']}",
    }
    seen = watch(many, changed, "--check")
    assert seen.code == 0, seen.transcript[-3000:]
    assert "(secret, changed, not shown)" in seen.transcript
    assert "changed=1 " in seen.transcript
    for name, core in CORES.items():
        assert core not in seen.transcript, f"the token {name} is shown"
        assert not [one for one in seen.processes if core.encode() in one], name
    assert many.generations() == before


def test_long_tokens(many: Deployment, hard: dict[str, object]) -> None:
    """A token is as long as nginx can read it, or refused in words that do not show it."""
    core = CORES["long"]
    rest = LONGEST - len(core)
    longest = [core + rest * "a", core[::-1] + rest // 4 * "$"]
    tokens = [{"name": f"long-{len(one)}", "token": one} for one in longest]
    run = many.play({**hard, "grpc_proxy_token": tokens, "grpc_proxy_oap_token": longest[1]})
    assert run.changed() == 1
    for token in longest:
        assert wire.call(many.target, AGENTS_METHOD, {"authentication": token}).code == "OK"
        other = {"authentication": f"{token[:-1]}b"}
        assert wire.call(many.target, AGENTS_METHOD, other).code == "UNAUTHENTICATED"
    tokens = [{"name": f"long-{len(one)}", "token": f"{one}$"} for one in longest]
    message = many.refused({**hard, "grpc_proxy_token": tokens})
    for number in range(2):
        assert f"grpc_proxy_token[{number}] is longer than {LONGEST} characters" in message
    assert core not in message
