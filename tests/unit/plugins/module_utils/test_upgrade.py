"""Two masters of one nginx: who is told what, in which order, and what is left of it.

The processes are those of ``Processes``, which do on a signal what nginx's masters do.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import upgrade
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.processes import Process
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.upgrade import Upgrade

OPTIONS = "-c /etc/nginx/oap-proxy/current/nginx.conf"
WORKER, DRAINING = "nginx: worker process", "nginx: worker process is shutting down"
MASTER, FIRST_WORKER = 100, 101
INIT = 1


@dataclass
class One:
    """A process."""

    parent: int
    title: str


class Processes:
    """The processes of a host, with one nginx that serves.

    :ivar binary: what the file of the binary is: good, ends, without workers, or no nginx.
    :ivar stuck: workers that do not hear that they should drain.
    """

    def __init__(self, place: Path) -> None:
        self.binary = "good"
        self.stuck: set[int] = set()
        self.signals: list[tuple[str, int]] = []
        self.now = 0.0
        self.pid_file = place / "nginx.pid"
        self.old_pid_file = place / "nginx.pid.oldbin"
        self.main = MASTER
        self._pids = itertools.count(200)
        self._named = 1_000_000_000
        self.there = {
            INIT: One(0, "/sbin/init"),
            MASTER: One(INIT, f"nginx: master process {place}/nginx {OPTIONS}"),
            FIRST_WORKER: One(MASTER, WORKER),
        }
        self.write(MASTER)

    def write(self, master: int) -> None:
        """Write the pid file, under a name that it has only now."""
        self.pid_file.write_text(f"{master}\n")

    def start(self, parent: int, title: str) -> int:
        """Start a process."""
        pid = next(self._pids)
        self.there[pid] = One(parent, title)
        return pid

    # What the module asks

    def process(self, pid: int) -> Process:
        """See processes.process."""
        return Process("S", self.there[pid].parent) if pid in self.there else Process()

    def title(self, pid: int) -> str:
        """See processes.title."""
        return self.there[pid].title if pid in self.there else ""

    def children(self, parent: int) -> list[tuple[int, str]]:
        """See processes.children."""
        return [(pid, one.title) for pid, one in self.there.items() if one.parent == parent]

    def monotonic(self) -> float:
        """See time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """See time."""
        self.now += seconds

    def call(self, *command: str) -> tuple[int, str, str]:
        """Run ``kill``."""
        program, signal, pid = command
        assert program == "kill"
        self.signals.append((signal[1:], int(pid)))
        getattr(self, signal[1:].lower())(int(pid))
        return 0, "", ""

    # What signals do

    def usr2(self, pid: int) -> None:
        """Start a second master, unless there is one; its pid file takes the place."""
        if self.second():
            return
        if self.binary == "ends":
            self.pid_file.rename(self.old_pid_file)
            self.old_pid_file.rename(self.pid_file)
            return
        self.pid_file.rename(self.old_pid_file)
        title = "sleep 60" if self.binary == "no nginx" else self.title(pid)
        second = self.start(pid, title)
        if self.binary != "no nginx":
            self.write(second)
        if self.binary == "good":
            self.start(second, WORKER)

    def winch(self, pid: int) -> None:
        """Let the workers of a master drain."""
        for worker, title in self.children(pid):
            if title == WORKER and worker not in self.stuck:
                self.there[worker].title = DRAINING

    def hup(self, pid: int) -> None:
        """Start workers of what the first master had read."""
        assert self.second(), "it would read its configuration anew"
        self.start(pid, WORKER)

    def kill(self, pid: int) -> None:
        """End a process. Who is left to its parent's parent, and the pid file, as nginx has it."""
        parent = self.there.pop(pid).parent
        for child, _title in self.children(pid):
            self.there[child].parent = INIT
        if parent == MASTER and self.old_pid_file.exists():
            self.old_pid_file.rename(self.pid_file)
        if pid == self.main:
            self.main = int(self.pid_file.read_text())

    # What tests ask

    def second(self) -> int:
        """Return the master beside the first one, or what stands in its place."""
        beside = [pid for pid, title in self.children(MASTER) if not title.startswith("nginx: w")]
        return beside[0] if beside else 0

    def of(self, master: int, title: str = WORKER) -> set[int]:
        """Return the workers of a master."""
        return {pid for pid, words in self.children(master) if words == title}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """A host where one nginx serves."""
    there = Processes(tmp_path)
    for name in ("process", "title", "children"):
        monkeypatch.setattr(upgrade, name, getattr(there, name))
    monkeypatch.setattr(upgrade, "time", there)
    yield there
    assert INIT in there.there


@pytest.fixture
def masters(host: Processes) -> Upgrade:
    """What is tested."""
    return Upgrade(host.pid_file, host.call, lambda: host.main)


def test_a_second_master_takes_over(host: Processes, masters: Upgrade) -> None:
    """It has workers before those of the first one are sent away; then they alone accept."""
    assert masters.workers() == {FIRST_WORKER}
    assert masters.begin() == (True, "")
    second = host.second()
    assert host.signals == [("USR2", MASTER), ("WINCH", MASTER)]
    assert masters.workers() == host.of(second) != set()
    assert host.of(MASTER, DRAINING) == {FIRST_WORKER}


def test_workers_of_both_are_told(host: Processes, masters: Upgrade) -> None:
    """While both accept, both are workers; the second master is none."""
    host.usr2(MASTER)
    assert masters.workers() == {FIRST_WORKER} | host.of(host.second())


def test_the_first_master_is_ended(host: Processes, masters: Upgrade) -> None:
    """Its workers drain without it, and systemd has the second one as the main process."""
    masters.begin()
    second = host.second()
    masters.complete()
    assert host.signals[2:] == [("KILL", MASTER)]
    assert (host.main, host.title(FIRST_WORKER)) == (second, DRAINING)
    assert not host.old_pid_file.exists()
    assert masters.workers() == host.of(second)


def test_nothing_is_ended_for_nobody(host: Processes, masters: Upgrade) -> None:
    """Where the second master has died meanwhile, the first one stays."""
    masters.complete()
    masters.take_back()
    assert (host.signals, masters.workers()) == ([], {FIRST_WORKER})


def test_one_that_ends_at_once(host: Processes, masters: Upgrade) -> None:
    """That is not waited for: nginx has given the pid file its name back."""
    host.binary = "ends"
    # The clock of a file system is coarser than that of a test.
    os.utime(host.pid_file, (0, 0))
    told, words = masters.begin()
    assert (told, words) == (False, "its master process ended before it had a worker process.")
    assert host.now < 1
    assert host.signals == [("USR2", MASTER)]


@pytest.mark.parametrize("binary", ["without workers", "no nginx"])
def test_one_that_never_serves(host: Processes, masters: Upgrade, binary: str) -> None:
    """It has its time; the workers of the first one are not sent away for it, and it is ended."""
    host.binary = binary
    assert masters.begin() == (False, "it had no worker process after 20 s.")
    assert 20 <= host.now < 21
    second = host.second()
    masters.take_back()
    assert host.signals == [("USR2", MASTER), ("WINCH", second), ("KILL", second)]
    assert host.pid_file.read_text() == f"{MASTER}\n"
    assert masters.workers() == {FIRST_WORKER}


def test_nothing_runs(host: Processes, masters: Upgrade) -> None:
    """Without a master nobody is signalled: process 0 would be ourselves."""
    host.main = 0
    assert masters.begin() == (False, "there is no master process to take over from.")
    masters.take_back()
    masters.complete()
    assert (host.signals, masters.workers()) == ([], set())


def test_the_way_back(host: Processes, masters: Upgrade) -> None:
    """The first master has workers again before the second one's accept no more; they drain."""
    masters.begin()
    second = host.second()
    [drains] = host.of(second)
    host.signals.clear()
    masters.take_back()
    assert host.signals == [("HUP", MASTER), ("WINCH", second), ("KILL", second)]
    assert host.title(drains) == DRAINING
    assert masters.workers() == host.of(MASTER) != set()
    assert host.pid_file.read_text() == f"{MASTER}\n"
    assert host.now < 1


def test_a_worker_that_does_not_drain(host: Processes, masters: Upgrade) -> None:
    """Without its master it would accept for ever."""
    masters.begin()
    second = host.second()
    [worker] = host.stuck = host.of(second)
    masters.take_back()
    assert host.signals[-2:] == [("KILL", worker), ("KILL", second)]
    assert worker not in host.there


@pytest.mark.parametrize("sent_away", [False, True])
def test_what_a_killed_run_has_left(host: Processes, masters: Upgrade, sent_away: bool) -> None:
    """A second master of another run goes, another one comes; nobody has too many workers."""
    host.usr2(MASTER)
    left = host.second()
    if sent_away:
        host.winch(MASTER)
    assert masters.begin() == (True, "")
    assert left not in host.there
    assert (("HUP", MASTER) in host.signals) is sent_away
    assert masters.workers() == host.of(host.second())
    assert host.of(MASTER) == set()


def test_an_ended_child_is_no_master(host: Processes, masters: Upgrade) -> None:
    """What has ended and is not reaped has no title."""
    host.start(MASTER, "")
    masters.take_back()
    assert host.signals == []


def test_the_path_that_it_was_started_by(host: Processes, masters: Upgrade, tmp_path: Path) -> None:
    """A master starts its own path again: another one is in the way, a link to it is not."""
    assert masters.obstacle(f"{tmp_path}/nginx") is None
    (tmp_path / "link").symlink_to(tmp_path / "nginx")
    assert masters.obstacle(f"{tmp_path}/link") is None
    told = masters.obstacle("/opt/nginx") or ""
    assert f"would start what it was started as itself, {tmp_path}/nginx, and not /opt/" in told
    host.there[MASTER].title = ""
    assert "which is not known" in (masters.obstacle("/opt/nginx") or "")


def test_a_master_that_waits_for_its_last_streams(
    host: Processes, masters: Upgrade, tmp_path: Path
) -> None:
    """After an upgrade by hand, nginx hears no USR2 until the first master has ended."""
    host.usr2(MASTER)
    host.main = host.second()
    told = masters.obstacle(f"{tmp_path}/nginx") or ""
    assert told.startswith(f"the master process {MASTER}, ")
    assert "still waits for its last streams" in told
