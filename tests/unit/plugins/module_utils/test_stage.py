"""The throw-away unit: what systemd is asked, what is made of its log, what is left.

Stand-ins: the commands, the network of its own (a plain thread) and whoever answers there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import stage
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import CallError
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Inconclusive,
    rehearse,
)

from tests.unit.model_nginx import Answering, Loaded, expecting

ID = "0123456789ab"
AT = "2026/11/22 17:00:01 "
FATAL = "[alert] 7#7: worker process 8 exited with fatal code 2 and cannot be respawned"
SEGFAULT = "[alert] 7#7: worker process 8 exited on signal 11"
CONNECT = "[error] 8#8: *1 connect() failed (111: Connection refused) while connecting to upstream"
UNIT = """\
[Unit]
Description=x
[Service]
Type=forking
ExecStart=/usr/sbin/nginx \\
  NoNewPrivileges=no
ProtectSystem=strict
ReadWritePaths=/run/oap-proxy
NoNewPrivileges=yes
CapabilityBoundingSet=CAP_CHOWN \\
 CAP_SETUID
LimitNOFILE=9
# PrivateTmp=no
KillMode=mixed
[Install]
UMask=0
# a drop-in
[Service]
PrivateTmp=yes
"""


class Plain:
    """A thread in the network of the tests."""

    identity, path = "net:[1]", "/proc/1/task/1/ns/net"

    def __init__(self, others: Sequence[str]) -> None:
        self.others = others
        self._pool = ThreadPoolExecutor(1)
        self.submit = self._pool.submit

    def __enter__(self) -> Plain:
        """Begin."""
        return self

    def __exit__(self, *_error: object) -> None:
        """End."""
        self._pool.shutdown()


class Host:
    """A host on which a unit can be run: notes each command, and plays the throw-away nginx."""

    def __init__(self, root: Path) -> None:
        self.made: list[list[str]] = []
        self.place = root / "run" / "proxy-rehearsal"
        self.candidate = root / "candidate"
        self.logs, self.runtime = root / "log", root / "runtime"
        for folder in (self.place.parent, self.candidate, self.logs, self.runtime / "deep"):
            folder.mkdir(parents=True)
        (self.runtime / "deep").chmod(0o710)
        self.configure(f"error_log {self.logs}/error.log warn;")
        self.status = 0
        self.words: list[str] = []
        self.log: list[str] = []
        self.seen: list[str] = []

    def configure(self, text: str) -> None:
        """Write the configuration."""
        (self.candidate / "nginx.conf").write_text(text)

    def run(self, command: list[str]) -> tuple[int, str, str]:
        """Run a command."""
        self.made.append(command)
        if command[:2] == ["systemctl", "cat"]:
            return 0, UNIT, ""
        if command[0] == "systemd-run":
            self.seen = sorted(str(one.relative_to(self.place)) for one in self.place.rglob("*"))
            (self.place / "words").write_text("".join(f"{line}\n" for line in self.words))
            self.say(*self.log)
            return self.status, "", "Job failed." if self.status else ""
        return 0, "", ""

    def say(self, *lines: str) -> None:
        """Write to the throw-away nginx's error log."""
        (self.place / "log" / "error.log").write_text("".join(f"{AT}{one}\n" for one in lines))

    def rehearse(self, configuration: Path) -> object:
        """Put a configuration on the stage."""
        command = ["/opt/nginx", "-c", str(configuration)]
        return stage.transient("proxy", command, self.logs / "error.log", self.runtime, self.run)

    def rehearsal(self) -> tuple[bool, list[Row], str, list[str]]:
        """Rehearse, and return all that a rehearsal says."""
        told = rehearse(self, self.candidate / "nginx.conf", ID, expecting())  # type: ignore[arg-type]
        assert not self.place.exists()
        assert self.made[-1] == ["systemctl", "stop", "proxy-rehearsal"]
        return told.held, told.wrong, told.cause, list(told.died)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host where the proof of a rehearsal holds."""
    monkeypatch.setattr(stage, "PLACES", tmp_path / "run")
    monkeypatch.setattr(stage, "Namespace", Plain)
    monkeypatch.setattr(stage, "failed_connections", lambda: 0)
    answered_by(monkeypatch, "right")
    return Host(tmp_path)


def answered_by(monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    """Have the proof answered by a configuration of some words."""
    loaded = Loaded(ID, words, frozenset())
    monkeypatch.setattr(stage, "Prover", lambda: Prover(dial=partial(Answering, loaded)))


def test_held(host: Host) -> None:
    """The unit runs the command apart from everything, held as the instance's own unit is."""
    (host.runtime / "htpasswd").write_text("small")
    assert host.rehearsal() == (True, [], "", [])
    command = next(one for one in host.made if one[0] == "systemd-run")
    assert command[1:3] == ["--quiet", "--unit=proxy-rehearsal"]
    begin = command.index("/bin/sh")
    assert command[begin + 1] == "-c"
    assert command[begin + 3 :] == [
        "net:[1]", "/opt/nginx", "-c", str(host.candidate / "nginx.conf")
    ]  # fmt: skip
    properties = [one.partition("--property=")[2] for one in command[3:begin]]
    assert properties[: len(stage.holding(UNIT))] == stage.holding(UNIT)
    for wanted in (
        "NetworkNamespacePath=/proc/1/task/1/ns/net", "ProtectSystem=strict", "ReadOnlyPaths=/run",
        f"BindPaths={host.place}/run:{host.runtime}", f"BindPaths={host.place}/log:{host.logs}",
        f"BindReadOnlyPaths={host.place}/hosts:/etc/hosts", "RuntimeMaxSec=30",
    ):  # fmt: skip
        assert wanted in properties
    assert host.seen == ["hosts", "log", "run", "run/deep", "run/htpasswd"]


def test_what_holds_a_unit() -> None:
    """Hardening and limits are taken over, drop-ins too; what it runs and writes is not."""
    assert stage.holding(UNIT) == [
        "NoNewPrivileges=yes", "CapabilityBoundingSet=CAP_CHOWN   CAP_SETUID", "LimitNOFILE=9",
        "PrivateTmp=yes",
    ]  # fmt: skip


def test_wrong(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong answer is held against the configuration, whatever was forced is in the log."""
    answered_by(monkeypatch, "wrong-fallback")
    host.log = ['[error] 8#8: *1 no live upstreams, upstream: "grpc://oap_proxy_unavailable"']
    held, wrong, cause, died = host.rehearsal()
    assert (held, [row.wrong_answer for row in wrong], cause, died) == (False, [True], "", [])


@pytest.mark.parametrize(
    ("log", "refused", "cause"),
    [
        ([CONNECT], 0, f"it needs what a rehearsal has not: {CONNECT}"),
        ([], 1, "it asks another server, which a rehearsal cannot reach"),
        (['[crit] 8#8: *1 open() "/x" failed (30: Read-only)'], 0, "it needs what"),
        (["[error] 8#8: *1 auth.example could not be resolved (3: Host not found)"], 0, "it needs"),
    ],
)
def test_wrong_for_want_of_the_host(
    host: Host, monkeypatch: pytest.MonkeyPatch, log: list[str], refused: int, cause: str
) -> None:
    """Where it lacked what the host may have, a wrong answer says nothing."""
    answered_by(monkeypatch, "wrong-fallback")
    counts = iter([5, 5 + refused])
    monkeypatch.setattr(stage, "failed_connections", lambda: next(counts))
    host.log = log
    held, wrong, said, died = host.rehearsal()
    assert (held, wrong, died) == (False, [], [])
    assert said.startswith(cause)


@pytest.mark.parametrize(
    ("more", "frank"),
    [
        ("", True),
        ("# error_log /dev/null;", True),
        ("error_log /dev/null;", False),
        ("error_log {log} crit;", False),
        ("error_log {log};", True),
    ],
)
def test_errors_that_are_hidden(
    host: Host, monkeypatch: pytest.MonkeyPatch, more: str, frank: bool
) -> None:
    """Where errors are hidden nobody knows what it lacked, so nothing is held against it."""
    answered_by(monkeypatch, "wrong-fallback")
    log = host.logs / "error.log"
    host.configure(f"error_log {log} warn;\n{more.format(log=log)}")
    _held, wrong, cause, _died = host.rehearsal()
    assert (bool(wrong), "does not log all of its errors" in cause) == (frank, not frank)


def test_right_for_want_of_the_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was sent to a real OAP fails there as a forced one does: it says nothing."""
    counts = iter([5, 6])
    monkeypatch.setattr(stage, "failed_connections", lambda: next(counts))
    assert "asks another server" in host.rehearsal()[2]


@pytest.mark.parametrize(
    "line",
    [
        "[alert] 8#8: *1 send() failed (111: Connection refused) while logging to syslog",
        "[error] 8#8: recv() failed (111: Connection refused) while resolving, resolver: [::1]:53",
        "[alert] 8#8: send() failed (101: Network unreachable) while resolving, resolver: [::1]:53",
    ],
)
def test_a_server_that_answers_no_call(
    host: Host, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """A syslog server or a name server that is out of reach has no part in what is answered."""
    answered_by(monkeypatch, "wrong-fallback")
    host.log = [line]
    assert host.rehearsal()[1]


@pytest.mark.parametrize("line", [FATAL, SEGFAULT, f"{SEGFAULT} (core dumped)"])
def test_workers_that_die(host: Host, line: str) -> None:
    """They are refused though another worker answered, with nginx's words without their times."""
    host.log = ["[notice] 7#7: start worker process 8", line]
    assert host.rehearsal() == (False, [], "", [line])


@pytest.mark.parametrize("signal", [9, 15])
def test_workers_that_are_killed(host: Host, signal: int) -> None:
    """Killed from outside, for want of memory say, they are held against nothing."""
    host.log = [f"[alert] 7#7: worker process 8 exited on signal {signal}"]
    assert host.rehearsal()[0]


def waiting(monkeypatch: pytest.MonkeyPatch, until: Callable[[], bool]) -> None:
    """Have nobody answer until something has come about."""

    class Waiting:
        def prove(self, _generation: str, _expectation: object) -> list[Row]:
            while not until():
                pass
            return [Row("0.0.0.0:1", fault=str(CallError("no answer")))]

    monkeypatch.setattr(stage, "Prover", Waiting)


def stopped(host: Host) -> bool:
    """Tell whether the throw-away unit was ended."""
    return ["systemctl", "stop", "proxy-rehearsal"] in host.made


def test_workers_that_die_end_the_wait(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who wait for an answer of the dead wait no longer."""
    waiting(monkeypatch, lambda: stopped(host))
    host.log = [FATAL]
    assert host.rehearsal()[3] == [FATAL]


def test_no_answer(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence has an end, and is held against nothing."""
    monkeypatch.setattr(stage, "_PROOF_S", 0.05)
    waiting(monkeypatch, lambda: stopped(host))
    assert host.rehearsal() == (False, [], "in the rehearsal no answer", [])


@pytest.mark.parametrize(
    ("words", "log", "cause"),
    [
        (["nginx: [emerg] bind() failed"], [], "it did not start there: nginx: [emerg] bind()"),
        ([], ["[notice] 7#7: x", "[emerg] 7#7: y"], "it did not start there: [emerg] 7#7: y"),
        ([], [], "Job failed."),
    ],
)
def test_no_start(host: Host, words: list[str], log: list[str], cause: str) -> None:
    """What does not start says why, in nginx's words before systemd's."""
    host.status, host.words, host.log = 1, words, log
    held, wrong, said, died = host.rehearsal()
    assert (held, wrong, died) == (False, [], [])
    assert said.startswith(cause)


def test_what_a_killed_run_left(host: Host) -> None:
    """Its unit is ended and its files are gone before the next begins."""
    (host.place / "log").mkdir(parents=True)
    (host.place / "log" / "error.log").write_text(f"{FATAL}\n")
    (host.place / "hosts").write_text("")
    assert host.rehearsal() == (True, [], "", [])
    assert host.made[0] == ["systemctl", "stop", "proxy-rehearsal"]


def test_two_at_once(host: Host) -> None:
    """The second leaves the first one alone."""
    host.place.mkdir()
    held = os.open(host.place, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Inconclusive, match="another rehearsal is at work"):
            host.rehearse(host.candidate / "nginx.conf").__enter__()  # type: ignore[attr-defined]
    finally:
        os.close(held)
    assert (host.made, host.place.exists()) == ([], True)


def test_a_full_disk(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the host cannot do is told as the cause, nothing worse."""

    def full(*_given: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stage, "_folders", full)
    told = rehearse(host, host.candidate / "nginx.conf", ID, expecting())  # type: ignore[arg-type]
    assert "No space left on device" in told.cause
    assert not host.place.exists()
