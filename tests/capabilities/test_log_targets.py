"""Where the access log goes: syslog, the journal, a full disk, nowhere."""

import math
import re
import socket
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Thread

import pytest

from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import Deployment
from tests.capabilities.lines import POLL_SECONDS, Line, Log, call, read, until
from tests.capabilities.raw_http2 import Caller
from tests.faults.machine import Machine
from tests.faults.playbook import Variables
from tests.hosts.spec import Lab

JOURNAL_PORT = 13610
SYSLOG_PORT = 13620
FULL_PORT = 13630
OFF_PORT = 13640
RECEIVER_PORT = 13690
# nginx writes within a second what it has kept.
WRITTEN_SECONDS = 1.5
JVM = "/skywalking.v3.JVMMetricReportService/collect"
TRACES = "/skywalking.v3.TraceSegmentReportService/collect"


@dataclass
class Elsewhere:
    """A proxy for each target, and what arrives at a receiver of syslog on this machine."""

    proxies: dict[str, Deployment]
    receiver: socket.socket
    received: list[bytes] = field(default_factory=list)

    def take(self) -> None:
        """Keep every datagram until the receiver is closed."""
        try:
            while datagram := self.receiver.recv(65536):
                self.received.append(datagram)
        except OSError:
            return


@pytest.fixture(scope="module")
def elsewhere(hosts: Lab, proxies: Proxies, machine: Machine) -> Iterator[Elsewhere]:
    """A proxy for each other target of the log, and one whose file system is full soon."""
    gateway = str(hosts.subnet[1])
    full = "/var/log/log-full"
    machine.run(
        "sh", "-c", f"mkdir -p {full}; mountpoint -q {full} || mount -t tmpfs -o size=1m log {full}"
    )
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    receiver.bind((gateway, RECEIVER_PORT))
    logs: dict[str, Variables] = {
        # Without a word on samples.
        "stdout": {"to": "stdout"},
        "syslog": {"to": "syslog", "syslog_server": f"{gateway}:{RECEIVER_PORT}", "sample": {}},
        "full": {"to": "file"},
        "off": {"to": "off"},
    }
    ports = (JOURNAL_PORT, SYSLOG_PORT, FULL_PORT, OFF_PORT)
    made = {
        name: proxies(f"log-{name}", port, "oap1") for name, port in zip(logs, ports, strict=True)
    }
    with receiver, ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: made[name].deploy({"grpc_proxy_access_log": logs[name]}), logs))
        found = Elsewhere(made, receiver)
        Thread(target=found.take, daemon=True).start()
        yield found


LONG = "/" + '"' * 2000
"""A path of which the log keeps 512 characters, each of them escaped."""


def _odd(proxy: Deployment) -> dict[str, str]:
    """Make calls that are hard on a line; return the expected path by the call's id."""
    made = {}
    with Caller(proxy.address, proxy.port) as caller:
        for path in (TRACES, LONG, '/\\"', "/a%0ab", "/caf\u00e9"):
            request_id, answer = call(caller, path, b"")
            assert answer.grpc_code != "none"
            made[request_id] = path[:512].partition("\u00e9")[0]
    return made


def _agree(lines: list[Line], made: dict[str, str]) -> bool:
    found = {line["request_id"]: line["path"] for line in lines}
    return {request_id: found.get(request_id) for request_id in made} == made


def _journal(proxy: Deployment) -> bytes:
    """Return what the journal has of a unit, by way of a file: it is long."""
    name = proxy.name.replace("-", "_")
    ask = f"journalctl -u {proxy.name} -t {name} -o cat --all --no-pager"
    proxy.machine.run("sh", "-c", f"{ask} > /var/log/{proxy.name}/journal")
    return (Log(proxy).directory / "journal").read_bytes()


def test_journal(elsewhere: Elsewhere) -> None:
    """The standard output of a unit is the journal: every line whole, under the unit's name."""
    proxy = elsewhere.proxies["stdout"]
    made = _odd(proxy)
    until(
        lambda: _agree([read(line) for line in _journal(proxy).splitlines()], made),
        "all lines in the journal",
    )


def test_usual_samples(elsewhere: Elsewhere) -> None:
    """Where nothing is said of samples, one of a hundred of an agent's metrics is kept."""
    proxy, mark, calls = elsewhere.proxies["stdout"], uuid.uuid4().hex, 1000
    with Caller(proxy.address, proxy.port) as caller:
        for _call in range(calls):
            _id, answer = call(caller, JVM, x_request_id=mark)
            assert answer.grpc_code == "0"
        last, _answer = call(caller, TRACES, b"")
    until(lambda: last.encode() in _journal(proxy), "the last line")
    # More is rarer than once in a thousand million runs.
    most = calls * (0.01 + math.sqrt(math.log(1e9) / (2 * calls)))
    assert _journal(proxy).count(mark.encode()) < most


def test_syslog(elsewhere: Elsewhere) -> None:
    """One datagram a call, and none is cut."""
    proxy = elsewhere.proxies["syslog"]
    made = _odd(proxy)
    head = re.compile(rb"<190>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d log_syslog: ")

    def told() -> bool:
        received = list(elsewhere.received)
        assert all(head.match(one) for one in received)
        return _agree([read(head.sub(b"", one, count=1)) for one in received], made)

    until(told, "all datagrams")
    assert max(map(len, elsewhere.received)) > 1024 + 512


def test_full_disk(elsewhere: Elsewhere, machine: Machine) -> None:
    """A log that cannot be written stops no call, and goes on when there is space again."""
    proxy, made = elsewhere.proxies["full"], set()
    log, filler = Log(proxy).directory / "access.log", f"/var/log/{proxy.name}/filler"
    machine.run("sh", "-c", f"cat /dev/zero > {filler} 2>/dev/null; test -s {filler}")
    try:
        with Caller(proxy.address, proxy.port) as caller:
            # More than nginx keeps for a second before it writes.
            for _call in range(400):
                request_id, answer = call(caller, TRACES, b"")
                assert answer.grpc_code == "0"
                made.add(request_id)
    finally:
        machine.run("rm", filler)

    def goes_on() -> bool:
        with Caller(proxy.address, proxy.port) as caller:
            request_id, _answer = call(caller, TRACES, b"")
        time.sleep(2 * POLL_SECONDS)
        return request_id in log.read_text()

    until(goes_on, "a line after the disk was full")
    kept = log.read_text()
    # It was full: else this says nothing.
    assert len([one for one in made if one in kept]) < len(made)


def test_off(elsewhere: Elsewhere) -> None:
    """Nothing anywhere."""
    proxy = elsewhere.proxies["off"]
    made = _odd(proxy)
    time.sleep(WRITTEN_SECONDS)
    assert Log(proxy).lines() == []
    journal = _journal(proxy)
    assert not [request_id for request_id in made if request_id.encode() in journal]
