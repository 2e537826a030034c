"""The unit of systemd: what is asked of it, and what its journal and its processes say."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    from_options,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.systemd import SystemdInstance

from tests.unit.commands import Commands

BIND = "[emerg] 7#7: bind() to 0.0.0.0:11800 failed (98: Address already in use)"
MISSING = '[emerg] 7#7: cannot load certificate "/x": BIO_new_file() failed'
DIED = "[alert] 7#7: worker process 31 exited with fatal code 2 and cannot be respawned"
AT = "2026/11/22 17:00:01 "


@pytest.fixture
def commands() -> Commands:
    """Commands that all succeed."""
    return Commands()


@pytest.fixture
def instance(tmp_path: Path, commands: Commands) -> SystemdInstance:
    """A unit with its log in a directory of its own."""
    options: dict[str, str | None] = {
        "kind": "systemd",
        "name": "oap-proxy",
        "binary": "/opt/nginx",
        "error_log": str(tmp_path / "error.log"),
    }
    made = from_options(options, commands)
    assert isinstance(made, SystemdInstance)
    return made


def write(instance: SystemdInstance, *lines: str) -> None:
    """Append lines to the error log."""
    with instance.error_log.path.open("a") as stream:
        stream.writelines(f"{line}\n" for line in lines)


@pytest.mark.parametrize(
    ("state", "running"),
    [
        ("active", True),
        ("reloading", True),
        ("inactive", False),
        ("failed", False),
        ("activating", False),
        ("deactivating", False),
    ],
)
def test_running(instance: SystemdInstance, commands: Commands, state: str, running: bool) -> None:
    """A unit runs when systemd says so of this very unit."""
    commands.active = state
    assert instance.running() is running
    assert commands.made[0][-1] == "oap-proxy"


@pytest.mark.parametrize("status", [0, 1])
def test_test(instance: SystemdInstance, commands: Commands, status: int) -> None:
    """The binary that will run it tests the very file, and its words are told."""
    commands.status = status
    words = "said on stderr" if status else "said on stdout"
    assert instance.test(Path("/tree/nginx.conf")) == (status == 0, words)
    assert commands.made == [["/opt/nginx", "-t", "-q", "-c", "/tree/nginx.conf"]]


@pytest.mark.parametrize("status", [0, 5])
def test_verbs(instance: SystemdInstance, commands: Commands, status: int) -> None:
    """Start, reload and restart tell whether systemd took them; a failed unit starts again."""
    commands.status = status
    words = "said on stderr" if status else "said on stdout"
    ended = ["kill", "--kill-who=main", "--signal=TERM"]
    for verb, expected in (
        ("start", [["reset-failed"], ["start"]]),
        ("restart", [ended, ["reset-failed"], ["restart"]]),
        ("reload", [["reload"]]),
    ):
        commands.made.clear()
        assert getattr(instance, verb)() == (status == 0, words)
        given = [["systemctl", *words, "oap-proxy"] for words in expected]
        assert commands.made[: len(given)] == given
    commands.made.clear()
    instance.stop()
    assert commands.made == [["systemctl", "stop", "oap-proxy"]]


@pytest.mark.parametrize("verb", ["start", "restart"])
@pytest.mark.parametrize(
    "said",
    [
        # systemd 247, 252 and 257, as Debian 11, 12 and 13 have them.
        "Condition check resulted in oap-proxy being skipped.",
        "oap-proxy.service was skipped because of an unmet condition check (PathExists=/x).",
        "oap-proxy.service - oap-proxy skipped, unmet condition check PathExists=/x",
    ],
)
def test_a_condition_that_does_not_hold(
    instance: SystemdInstance, commands: Commands, verb: str, said: str
) -> None:
    """Systemd ends well without a start: that is no success, and its reason is told."""
    commands.active = "inactive"
    commands.journal = f"[{time.monotonic() + 60:12.6f}] host systemd[1]: {said}\n"
    done, words = getattr(instance, verb)()
    assert done is False
    assert said.rstrip(".") in words


def test_retired(instance: SystemdInstance, commands: Commands) -> None:
    """It starts no more, and nobody waits for its streams."""
    instance.retire()
    assert commands.made == [
        ["systemctl", "disable", "oap-proxy"],
        ["systemctl", "stop", "--no-block", "oap-proxy"],
    ]


def test_drop_ins_are_told(instance: SystemdInstance, commands: Commands) -> None:
    """A drop-in may change how it is started and reloaded."""
    assert instance.altered() is None
    commands.drop_ins = "/run/systemd/system/oap-proxy.service.d/x.conf"
    assert commands.drop_ins in str(instance.altered())


def test_a_command_that_is_not_there(instance: SystemdInstance, commands: Commands) -> None:
    """It has failed, with words that say so, and ends no run half-way."""
    commands.missing = {"systemctl", "journalctl", "/opt/nginx"}
    told = "cannot run systemctl: No such file or directory"
    assert instance.start() == instance.reload() == instance.restart() == (False, told)
    accepted, words = instance.test(Path("/x/nginx.conf"))
    assert (accepted, words) == (False, "cannot run /opt/nginx: No such file or directory")
    assert (instance.running(), instance.workers(), instance.stopped()) == (False, set(), None)
    assert instance.log_since(instance.mark()) == []
    instance.stop()


# The log and the journal


def test_the_log_is_asked(instance: SystemdInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the instance's own log tells, the instance tells."""
    monkeypatch.setattr(instance, "outdated", lambda: None)
    assert instance.troubles() == []
    monkeypatch.setattr(instance.error_log, "mute", lambda: "it is full.")
    assert instance.troubles() == ["it is full."]
    mark = instance.mark()
    assert instance.alerts_since(mark) == []
    write(instance, AT + DIED)
    assert instance.log_since(mark) == instance.alerts_since(mark) == [DIED]
    assert (instance.given_up(mark, set()), instance.given_up(mark, {31})) == (True, False)


def test_journal_where_the_log_is_silent(instance: SystemdInstance, commands: Commands) -> None:
    """What nginx says before it opens its log is read in the journal, of this unit, since then."""
    commands.journal = (
        f"[   77.500000] host nginx[7]: nginx: {BIND}\n"
        f"[   99.500000] host nginx[9]: nginx: {MISSING}\n"
        "[   99.600000] host systemd[1]: Failed to start it.\n"
    )
    # The older line is dated later where the clock was set back.
    assert instance.log_since(Mark(0, 0, 1000.9, 88.0)) == [f"nginx: {MISSING}"]
    command = commands.made[-1]
    assert "--since=@1000" in command
    assert command[command.index("-u") + 1] == "oap-proxy"
    write(instance, AT + BIND)
    commands.made.clear()
    assert instance.log_since(Mark(0, 0, 1000.9, 88.0)) == [BIND]
    assert commands.made == []


def test_given_up_when_dead(instance: SystemdInstance, commands: Commands) -> None:
    """An instance that runs no more has given up, whatever its log says."""
    commands.active = "failed"
    assert instance.given_up(instance.mark(), set()) is True


# The workers


@contextmanager
def process(title: str, program: Path) -> Iterator[int]:
    """A real child of this process with that title, for as long as it is needed."""
    with subprocess.Popen(
        [title, str(program)], executable="/bin/sh", stdin=subprocess.PIPE
    ) as child:
        yield child.pid


def test_workers(instance: SystemdInstance, commands: Commands, tmp_path: Path) -> None:
    """Workers are the master's children that do not say that they shut down."""
    waiting = tmp_path / "waiting"
    waiting.write_text("read line\n")
    with ExitStack() as stack:
        one = stack.enter_context(process("nginx: worker process", waiting))
        two = stack.enter_context(process("nginx: worker process is shutting down", waiting))
        found = instance.workers()
        assert one in found
        assert two not in found
        commands.pid = one
        assert instance.workers() == set()
    commands.pid = os.getpid()
    assert one not in instance.workers()


def test_workers_with_an_odd_name(instance: SystemdInstance, tmp_path: Path) -> None:
    """A program whose name looks like the fields after it is counted right."""
    odd = tmp_path / ") S 1 2"
    odd.write_text("#!/bin/sh\nread line\n")
    odd.chmod(0o755)
    with subprocess.Popen([str(odd)], stdin=subprocess.PIPE) as child:
        assert child.pid in instance.workers()


def test_no_master_has_no_workers(instance: SystemdInstance, commands: Commands) -> None:
    """A unit without a main process has no workers: the host's first process is none of them."""
    commands.pid = 0
    assert instance.workers() == set()
