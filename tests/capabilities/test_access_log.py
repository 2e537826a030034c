"""The access log: one line of JSON a call, the truth about it, whatever a client sends."""

import json
import math
import re
import ssl
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import Deployment
from tests.capabilities.lines import SECONDS, TOKEN, Line, Log, call, until
from tests.capabilities.raw_http2 import EMPTY, MESSAGE, Answer, Caller, StagedServer, plain
from tests.faults.playbook import Variables
from tests.hosts import pki
from tests.hosts.clients.grpcio import channel

PORT = 13600
TLS_PORT = PORT + 1
DENIED_PORT = PORT + 2
STAND_IN_PORT = PORT + 91
DEAD_PORT = PORT + 92
TRACES = "/skywalking.v3.TraceSegmentReportService/collect"
LOGS = "/skywalking.v3.LogReportService/collect"
JVM = "/skywalking.v3.JVMMetricReportService/collect"
KEEP_ALIVE = "/skywalking.v3.ConfigurationDiscoveryService/fetchConfigurations"
BROWSER = "/skywalking.v3.BrowserPerfService/collectPerfData"
UNKNOWN = "/oap_proxy.Unknown/method"
HEALTH = "/grpc.health.v1.Health/Check"
STAGED = "/oap_proxy.Staged/"
DEAD = "/oap_proxy.Dead/anything"
EXAMPLES = 150
GARBAGE = b"\x00\x00\x00\x00\x02\xff\xff"
MADE_ID = re.compile("[0-9a-f]{32}")
# Longer than most receivers of syslog take; a line stays below it with few OAPs.
LONGEST = 4096


@dataclass(frozen=True)
class Site:
    """The proxy whose log is a file, and whom it knows."""

    proxy: Deployment
    ca: pki.Authority
    standin: StagedServer
    log: Log

    def caller(self, port: int = PORT) -> Caller:
        """Return who calls in clear text."""
        return Caller(self.proxy.address, port)

    def secure(self, directory: Path, client: pki.Identity, version: ssl.TLSVersion) -> Caller:
        """Return who calls over TLS and shows a certificate."""
        context = ssl.create_default_context(cadata=self.ca.certificate)
        context.minimum_version = context.maximum_version = version
        context.set_alpn_protocols(["h2"])
        path = directory / "client.pem"
        path.write_text(client.chain + client.private_key, encoding="ascii")
        context.load_cert_chain(path)
        return Caller(self.proxy.address, TLS_PORT, context)


@pytest.fixture(scope="module")
def site(proxies: Proxies) -> Iterator[Site]:
    """The proxy with the real OAPs, and with the services of the stand-in."""
    proxy = proxies("log", PORT, "oap1", "oap2")
    gateway = str(proxy.lab.subnet[1])
    ca = pki.authority("The authority of the log's tests")
    server = ca.server("oap", proxy.address)
    dead = {"address": gateway, "port": DEAD_PORT, "max_conns": 1000}
    live = {"address": gateway, "port": STAND_IN_PORT, "max_conns": 1000}
    wanted: Variables = {
        "grpc_proxy_listen": [
            {"port": PORT},
            {"port": TLS_PORT, "tls": True},
            {"port": DENIED_PORT, "deny": [gateway]},
        ],
        "grpc_proxy_tls": {
            "certificate": server.chain,
            "private_key": server.private_key,
            "client_ca": ca.certificate,
        },
        "grpc_proxy_token": [
            {"name": "others", "token": "another one"},
            {"name": "agents", "token": TOKEN},
        ],
        "grpc_proxy_services": [
            # With max_conns no server is left out for a while: the dead one is tried again
            # and again.
            {
                "name": "staged",
                "prefix": STAGED,
                "servers": [dead, live],
                "tag": "on-stage",
                "timeout": "3s",
            },
            {"name": "dead", "prefix": "/oap_proxy.Dead/", "servers": [dead]},
        ],
        "grpc_proxy_body_limit": {"traces": "1k", "logs": "1k"},
        "grpc_proxy_rate_limit": [{"rate": "1/m", "methods": ["health", "browser"]}],
        "grpc_proxy_access_log": {"to": "file", "sample": {"jvm": 0, "keep_alive": 50}},
    }
    with StagedServer(gateway, STAND_IN_PORT) as standin:
        # It is there until the proxy is proven.
        with StagedServer(gateway, DEAD_PORT):
            proxy.deploy(wanted)
        yield Site(proxy, ca, standin, Log(proxy))


ENDS = {"ok": "0", "missing": "5", "late": "15", "cut": "none", "dropped": "14", "silent": "14"}


Calls = dict[str, tuple[str, Answer]]


@pytest.fixture(scope="module")
def ended(site: Site) -> Calls:
    """One call of every end, all made before the first line is waited for."""
    with site.caller() as caller:
        return {how: call(caller, STAGED + how) for how in ENDS}


@pytest.mark.parametrize(("how", "code"), ENDS.items())
def test_code_of_every_end(site: Site, ended: Calls, how: str, code: str) -> None:
    """The code is the trailer's, else the header's, else none; HTTP's status is always 200."""
    request_id, answer = ended[how]
    assert answer.grpc_code == code
    line = site.log.of(request_id)
    assert (line["grpc_code"], line["http_status"]) == (code, 200)
    assert (line["service"], line["method"]) == ("oap_proxy.Staged", how)
    assert (line["kind"], line["tag"], line["path"]) == ("staged", "on-stage", STAGED + how)
    last = {"dropped": "502", "silent": "504"}.get(how, "200")
    assert line["upstream_status"].split(", ")[-1] == last


@dataclass(frozen=True)
class Refused:
    """A call that nginx itself answers."""

    code: str
    path: str = TRACES
    port: int = PORT
    body: bytes = EMPTY
    fields: tuple[tuple[str, str], ...] = ()
    calls: int = 1


BIG = b"\x00\x00\x00\x08\x00" + b"x" * 2048
REFUSED = {
    "no server": Refused("14", DEAD),
    "rate": Refused("14", HEALTH, calls=2),
    "rate of a kind that stands alone": Refused("13", BROWSER, calls=2),
    "size": Refused("8", body=BIG),
    "size of a kind that stands alone": Refused("13", LOGS, body=BIG),
    "denied": Refused("7", port=DENIED_PORT),
    "no token": Refused("16", fields=(("authentication", "guessed"),)),
    "bus": Refused("12", "/RemoteService/call"),
}


@pytest.fixture(scope="module")
def turned_away(site: Site) -> Calls:
    """One call of every refusal."""
    made = {}
    for name, one in REFUSED.items():
        with site.caller(one.port) as caller:
            for _call in range(one.calls):
                made[name] = call(caller, one.path, one.body, **dict(one.fields))
    return made


@pytest.mark.parametrize("name", REFUSED)
def test_code_of_every_refusal(site: Site, turned_away: Calls, name: str) -> None:
    """What nginx answers by itself is logged with the code that the client reads."""
    refused, (request_id, answer) = REFUSED[name], turned_away[name]
    assert answer.grpc_code == refused.code
    line = site.log.of(request_id)
    assert (line["grpc_code"], line["http_status"]) == (refused.code, 200)
    assert line["listener"] == f"{site.proxy.address}:{refused.port}"
    # The size is counted while the request is sent on.
    assert (line["upstream"] != "") == (name == "no server" or "size" in name)


def test_who_called(site: Site, tmp_path: Path) -> None:
    """Client, its certificate and token by name, the version of TLS, and the bytes."""
    shown = site.ca.client('agent "one"')
    with site.secure(tmp_path, shown, ssl.TLSVersion.TLSv1_2) as caller:
        request_id, answer = call(caller, STAGED + "ok", MESSAGE * 100)
    assert answer.data == MESSAGE
    line = site.log.of(request_id)
    assert line["client"] == str(site.proxy.lab.subnet[1])
    assert line["listener"] == f"{site.proxy.address}:{TLS_PORT}"
    assert (line["tls"], line["token"]) == ("TLSv1.2", "agents")
    assert (line["client_certificate"], line["client_verified"]) == (
        'CN=agent \\"one\\"',
        "SUCCESS",
    )
    assert line["bytes_received"] > len(MESSAGE) * 100
    assert line["bytes_sent"] > len(MESSAGE)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+]00:00", line["time"])
    assert line["generation"] in site.proxy.generations()


def test_stranger_is_no_friend(site: Site, tmp_path: Path) -> None:
    """A certificate that was refused is told from one that was believed."""
    shown = pki.authority("A stranger").client("agent")
    with site.secure(tmp_path, shown, ssl.TLSVersion.TLSv1_3) as caller:
        request_id, answer = call(caller, TRACES, b"")
    assert answer.grpc_code == "16"
    line = site.log.of(request_id)
    assert (line["tls"], line["client_certificate"]) == ("TLSv1.3", "CN=agent")
    assert line["client_verified"].startswith("FAILED:")


def test_in_clear(site: Site) -> None:
    """A caller without TLS has neither version nor certificate."""
    with site.caller() as caller:
        request_id, _answer = call(caller, TRACES, b"")
    line = site.log.of(request_id)
    assert {line[name] for name in ("tls", "client_certificate", "client_verified")} == {""}
    assert (line["grpc_code"], line["kind"], line["tag"]) == ("0", "traces", "skywalking")


def test_every_upstream_that_was_tried(site: Site) -> None:
    """A dead server and then a live one: both, with status and time."""
    gateway = site.proxy.lab.subnet[1]
    both = f"{gateway}:{DEAD_PORT}, {gateway}:{STAND_IN_PORT}"
    made = []
    with site.caller() as caller:
        for _call in range(4):
            request_id, answer = call(caller, STAGED + "ok")
            assert answer.grpc_code == "0"
            made.append(request_id)
    tried = [line for line in map(site.log.of, made) if line["upstream"] == both]
    # Servers take turns.
    assert len(tried) >= 1
    for line in tried:
        assert line["upstream_status"] == "502, 200"
        assert re.fullmatch(r"\d+\.\d{3}, \d+\.\d{3}", line["upstream_seconds"])
        assert re.fullmatch(r"(-|\d+\.\d{3}), \d+\.\d{3}", line["upstream_connect_seconds"])


PLAIN_IDS = ("a", "A-1_b.c:d", "9" * 128)
OTHER_IDS = ("", "9" * 129, "a b", 'a"b', "a\\b", "a,b", "ä", "a\x7fb")


@pytest.fixture(scope="module")
def identified(site: Site) -> dict[str, str]:
    """The paths of calls with these ids."""
    paths = {sent: f"{STAGED}{uuid.uuid4().hex}" for sent in (*PLAIN_IDS, *OTHER_IDS)}
    with site.caller() as caller:
        for sent, path in paths.items():
            call(caller, path, x_request_id=sent)
    return paths


@pytest.mark.parametrize("sent", [*PLAIN_IDS, *OTHER_IDS])
def test_request_id(site: Site, identified: dict[str, str], sent: str) -> None:
    """A plain one is taken, any other is made anew, and the OAP gets the one of the log."""
    path = identified[sent]
    line = until(
        lambda: [one for one in site.log.lines() if one["path"] == path], f"a line about {path}"
    )[0]
    assert site.standin.sent(path, "x-request-id") == [line["request_id"]]
    if sent in PLAIN_IDS:
        assert line["request_id"] == sent
    else:
        assert MADE_ID.fullmatch(line["request_id"])


NASTY = (
    b'"', b"\\", b'","grpc_code":"0', b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8",
    b"%0a%0d%00", b"%22%5c%ff", b"/../", b"//", b"?a=b", b"#", b"$remote_addr", b"\t", b" ", b"{}",
    b"\x7f", b"\x00", b"\n", b"\r\n", b"\x1b[2J", b"x" * 8192,
    "Zoë".encode(), "\U0001f916".encode(),
)  # fmt: skip
HOSTILE = st.lists(st.sampled_from(NASTY) | st.binary(max_size=12), max_size=4).map(b"".join)
CHOSEN = (
    b":path", b":authority", b"user-agent", b"x-request-id", b"content-type", b"x-other",
    b"x_other", b"x-other-bin", b"X-Upper", b"x other", b"x\xff",
)  # fmt: skip


@dataclass
class Made:
    """A hostile call, and what its client was told."""

    mark: str
    path: bytes
    answer: Answer

    def is_in(self, line: Line) -> bool:
        """Tell whether a line is about it."""
        return self.mark in line["path"] or self.mark == line["request_id"]


@dataclass
class Told:
    """The lines about hostile calls.

    nginx gives a request up at the first header field that it cannot read, often before the one
    that would tell which call it was. Such lines are only counted.
    """

    marked: list[tuple[Made, Line]]
    calls: list[Made]
    lines: list[Line]

    @classmethod
    def of(cls, made: list[Made], lines: list[Line]) -> "Told":
        """Bring calls and lines together, one line a call."""
        marked = [(one, line) for line in lines for one in made if one.is_in(line)]
        assert len({one.mark for one, _line in marked}) == len(marked)
        known = [one for one, _line in marked]
        return cls(
            marked,
            [one for one in made if one not in known],
            [line for line in lines if not any(line is other for _call, other in marked)],
        )

    def missing(self) -> Counter[tuple[str, int]]:
        """Return what clients were told, as far as no line tells it."""
        answers = [one.answer for one in self.calls]
        told = Counter((one.grpc_code, one.http_status) for one in answers if one.http_status)
        return told - Counter((line["grpc_code"], line["http_status"]) for line in self.lines)


def test_no_client_breaks_a_line(site: Site) -> None:
    """Whatever a client sends, its call is one line of JSON that tells what the client was told."""
    run = uuid.uuid4().hex
    made: list[Made] = []

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(
        hostile=st.dictionaries(st.sampled_from(CHOSEN), HOSTILE, min_size=1, max_size=3),
        marked_path=st.booleans(),
    )
    def send(hostile: dict[bytes, bytes], marked_path: bool) -> None:
        mark = f"{run}-{len(made)}-"
        fields = dict(plain(authentication=TOKEN, path=UNKNOWN, x_request_id=mark)) | hostile
        if marked_path:
            fields[b":path"] = f"/{mark}".encode() + hostile.get(b":path", b"")
        else:
            fields[b"x-request-id"] = mark.encode()
        made.append(Made(mark, fields[b":path"], caller.call(list(fields.items()))))

    with site.caller() as caller:
        first, _answer = call(caller, TRACES, b"")
        site.log.of(first)
        before = len(site.log.lines())
        send()

    def told() -> Told | None:
        told = Told.of(made, site.log.lines()[before:])
        return None if told.missing() else told

    found = until(told, "a line for every call that was answered")
    assert len(found.marked) > EXAMPLES / 10, "few calls are known again"
    for one, line in found.marked:
        printable = re.match(rb"[\x21-\x7e]{0,512}", one.path)
        assert printable is not None
        assert line["path"] == printable[0].decode()
        if one.answer.http_status is not None:
            assert line["grpc_code"] == one.answer.grpc_code, (one, line)
            assert line["http_status"] == one.answer.http_status, (one, line)
    assert max(len(json.dumps(line)) for _call, line in found.marked) < LONGEST


def test_call_that_ends_before_it_began(site: Site) -> None:
    """A client that leaves at once is a line of JSON too."""
    request_id = uuid.uuid4().hex
    caller = site.caller()
    caller.leave(plain(authentication=TOKEN, path=STAGED + "silent", x_request_id=request_id))
    line = site.log.of(request_id)
    assert (line["grpc_code"], line["http_status"]) == ("none", 499)


def hoeffding(calls: int) -> float:
    """Return how far a share may be off: more is rarer than once in a thousand million runs."""
    return math.sqrt(math.log(2 / 1e-9) / (2 * calls))


def test_samples(site: Site) -> None:
    """Of good calls the share that was asked for is logged, and every failed one."""
    mark = uuid.uuid4().hex
    good, bad = 600, 40
    with site.caller() as caller:
        for number in range(good):
            for path in (JVM, KEEP_ALIVE):
                _id, answer = call(caller, path, x_request_id=f"{mark}-good-{number}")
                assert answer.grpc_code == "0", answer
        for number in range(bad):
            for path in (JVM, KEEP_ALIVE):
                _id, answer = call(caller, path, GARBAGE, x_request_id=f"{mark}-bad-{number}")
                assert answer.grpc_code not in {"0", "none"}, answer
        last, _answer = call(caller, TRACES, b"")
    site.log.of(last)

    def counted() -> Counter[tuple[str, bool]]:
        return Counter(
            (line["kind"], line["grpc_code"] == "0")
            for line in site.log.lines()
            if line["request_id"].startswith(mark)
        )

    counts = counted()
    assert counts["jvm", False] == counts["keep_alive", False] == bad
    assert counts["jvm", True] == 0
    assert abs(counts["keep_alive", True] / good - 0.5) < hoeffding(good)


def test_proof_is_not_logged(site: Site) -> None:
    """What the host asks itself for its proof, before every change is live, is no call."""
    with site.caller() as caller:
        last, _answer = call(caller, TRACES, b"")
    site.log.of(last)
    assert {line["client"] for line in site.log.lines()} == {str(site.proxy.lab.subnet[1])}


@dataclass
class Load:
    """Calls of a real client one after another, each with a number."""

    target: str
    mark: str
    made: int = 0

    def run(self, stop: Event) -> None:
        """Call until told to stop; a call that fails ends it."""
        with channel(self.target) as opened:
            collect = opened.stream_unary(TRACES, bytes, bytes)
            while not stop.wait(0.001):
                pairs = (("authentication", TOKEN), ("x-request-id", f"{self.mark}-{self.made}"))
                collect(iter(()), timeout=SECONDS, metadata=pairs)
                self.made += 1

    def more(self, calls: int) -> None:
        """Wait until so many more were made."""
        wanted = self.made + calls
        until(lambda: self.made >= wanted, f"{calls} more calls")


def silent(stop: Event) -> Iterator[bytes]:
    """Send nothing, and be done when told to stop."""
    stop.wait()
    yield from ()


def test_rotation_loses_no_line(site: Site) -> None:
    """Rotations and a reload under load: every call is in one of the files, once.

    So is a stream that was held all the while, which the workers from before the reload serve.
    """
    machine, name = site.proxy.machine, site.proxy.name
    logs = f"/var/log/{name}"
    still = f"ls -l /proc/[0-9]*/fd 2>/dev/null | grep -c '{logs}/access.log.1$'"
    loads = [Load(site.proxy.target, uuid.uuid4().hex) for _caller in range(2)]
    stop = Event()
    held = uuid.uuid4().hex
    with channel(site.proxy.target) as opened, ThreadPoolExecutor() as pool:
        pairs = (("authentication", TOKEN), ("x-request-id", held))
        stream = opened.stream_unary(TRACES, bytes, bytes).future(
            silent(stop), timeout=3 * SECONDS, metadata=pairs
        )
        running = [pool.submit(load.run, stop) for load in loads]
        try:
            for rotation in range(4):
                for load in loads:
                    load.more(50)
                machine.run("logrotate", "-f", f"/etc/logrotate.d/{name}")
                until(lambda: machine.status("sh", "-c", still) == 1, "files that are let go")
                if rotation == 2:
                    machine.run("systemctl", "reload", name)
            for load in loads:
                load.more(50)
        finally:
            stop.set()
        for one in running:
            one.result()
        stream.result()
    site.log.of(held)
    made = {f"{load.mark}-{number}" for load in loads for number in range(load.made)}

    def complete() -> bool:
        found = Counter(line["request_id"] for line in site.log.everywhere())
        logged = {one: found[one] for one in made if one in found}
        assert set(logged.values()) <= {1}
        return len(logged) == len(made)

    until(complete, f"all of {len(made)} lines")
    listed = machine.run("sh", "-c", f"stat -c '%a %U %G' {logs}/access.log* | sort -u")
    assert listed == "640 www-data adm"
    assert machine.run("systemctl", "is-enabled", "logrotate.timer") == "enabled"
    assert machine.state("logrotate.timer") == "active"
