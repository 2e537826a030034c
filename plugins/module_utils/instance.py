# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running nginx: test a configuration with its binary, start, signal, read its log.

Only this file knows how an instance is kept running.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Protocol

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Stage
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.stage import transient

Run = Callable[..., tuple[int, str, str]]
"""AnsibleModule.run_command: returns a command's exit status, standard output and error."""

_TIMESTAMP = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_SEVERE = re.compile(r"\[(warn|error|crit|alert|emerg)\]")
# What the proof's own calls make nginx log.
_FORCED = 'upstream: "grpc://oap_proxy_unavailable"'
_ALERT = re.compile(r"\[(crit|alert|emerg)\]")
_GIVEN_UP = re.compile(r"still could not bind\(\)|\[emerg\](?!.*bind\(\) to \S+ failed \(98:)")
# A worker that comes to its end by itself or by a signal; one that was told to stop says less.
_DIED = re.compile(r"\[alert\].* process (\d+) exited (on signal|with fatal code)")
_STOPPED = ("T", "t")
# Why systemd did not start a unit.
_REFUSED = re.compile(r"condition|asserts? failed|Refusing|process exited|Failed at step")
# Seconds since boot, host, program, words; as journalctl writes short-monotonic.
_JOURNAL = re.compile(r"^\[ *(\d+\.\d+)\] \S+ \S+: (.*)$")


@dataclass(frozen=True)
class Mark:
    """A place in the error log and in the journal, to read on from.

    :ivar inode: of the log file, 0 when there was none.
    :ivar offset: bytes.
    :ivar clock: seconds since the epoch.
    :ivar monotonic: seconds on the clock that nobody can set.
    """

    inode: int
    offset: int
    clock: float
    monotonic: float = 0.0


class Instance(Protocol):
    """What a transaction needs of an instance, systemd's or another's."""

    def running(self) -> bool:
        """Tell whether a master process serves."""

    def test(self, configuration: Path) -> tuple[bool, str]:
        """Test a configuration with the binary that will run it; return verdict and words."""

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """Run a configuration apart from what serves; see :class:`rehearsal.Rehearsing`."""

    def start(self) -> tuple[bool, str]:
        """Start the instance; return success and what was said."""

    def stop(self) -> None:
        """Stop the instance."""

    def reload(self) -> tuple[bool, str]:
        """Tell the running master to read its configuration; return success and words."""

    def restart(self) -> tuple[bool, str]:
        """Stop and start; return success and what was said."""

    def workers(self) -> set[int]:
        """Return the worker processes that accept connections."""

    def outdated(self) -> str | None:
        """Say when what runs is not the binary that a start would take now."""

    def stopped(self) -> str | None:
        """Say when the master process cannot act on what it is told."""

    def troubles(self) -> list[str]:
        """Say what a person should know of an instance, also of one that serves."""

    def altered(self) -> str | None:
        """Say when somebody has changed how it is started and reloaded."""

    def mark(self) -> Mark:
        """Remember where the log ends now."""

    def log_since(self, mark: Mark) -> list[str]:
        """Return the log lines written since the mark that tell of trouble."""

    def alerts_since(self, mark: Mark) -> list[str]:
        """Return what nginx has logged since the mark as critical, an alert or an emergency."""

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """Tell whether nginx has said since the mark that it will not take the change.

        :param before: worker processes of before, whose end means nothing.
        """


class SystemdInstance:
    """An nginx that is a unit of systemd.

    :param unit: name of the unit.
    :param binary: path of the nginx binary.
    :param error_log: path of the instance's error log.
    :param runtime: its runtime directory.
    :param run: how to run a command.
    """

    def __init__(self, unit: str, binary: str, error_log: str, runtime: str, run: Run) -> None:
        self.unit = unit
        self.binary = binary
        self.error_log = Path(error_log)
        self.runtime = Path(runtime)
        self._run = run

    def _call(self, *command: str) -> tuple[int, str, str]:
        """Run a command; one that cannot be run has failed, and ends nothing half-way."""
        try:
            return self._run(list(command), handle_exceptions=False)
        except OSError as error:
            return 127, "", f"cannot run {command[0]}: {error.strerror}"

    def _properties(self) -> dict[str, str]:
        wanted = "ActiveState,MainPID,LoadState,DropInPaths"
        _status, out, _error = self._call("systemctl", "show", "--property", wanted, self.unit)
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def running(self) -> bool:
        """See :class:`Instance`."""
        return self._properties().get("ActiveState") in ("active", "reloading")

    def test(self, configuration: Path) -> tuple[bool, str]:
        """See :class:`Instance`."""
        status, out, error = self._call(self.binary, "-t", "-q", "-c", str(configuration))
        return status == 0, (error or out).strip()

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """See :class:`Instance`."""
        command = [self.binary, "-c", str(configuration)]
        return transient(
            self.unit, command, self.error_log, self.runtime, lambda words: self._call(*words)
        )

    def _systemctl(self, verb: str) -> tuple[bool, str]:
        status, out, error = self._call("systemctl", verb, self.unit)
        return status == 0, (error or out).strip()

    def start(self) -> tuple[bool, str]:
        """See :class:`Instance`. A unit that failed too often before may start again."""
        self._systemctl("reset-failed")
        return self._started("start")

    def _started(self, verb: str) -> tuple[bool, str]:
        """Start it. Where a condition of the unit does not hold, systemd ends well all the same."""
        mark = self.mark()
        done, words = self._systemctl(verb)
        if done and self.running():
            return True, words
        reasons = [line for line in self._journal(mark) if _REFUSED.search(line)]
        return False, f"systemd says: {reasons[-1].rstrip('.')}." if reasons else words

    def stop(self) -> None:
        """See :class:`Instance`."""
        self._systemctl("stop")

    def reload(self) -> tuple[bool, str]:
        """See :class:`Instance`."""
        return self._systemctl("reload")

    def restart(self) -> tuple[bool, str]:
        """See :class:`Instance`.

        Ended by TERM: with QUIT the ports would be closed for as long as streams are held.
        """
        self._call("systemctl", "kill", "--kill-who=main", "--signal=TERM", self.unit)
        self._systemctl("reset-failed")
        return self._started("restart")

    def workers(self) -> set[int]:
        """See :class:`Instance`. A worker that drains says so in its process title."""
        master = self._master()
        if not master:
            return set()
        return {pid for pid, title in _children(master) if "shutting down" not in title}

    def outdated(self) -> str | None:
        """See :class:`Instance`."""
        master = self._master()
        if not master:
            return None
        try:
            running = os.readlink(f"/proc/{master}/exe")
        except OSError:
            return None  # it ended in this moment, which others see
        if running == os.path.realpath(self.binary):
            return None
        return (
            f"the running {self.unit} is of a binary that was replaced since ({running}): "
            f"'systemctl restart {self.unit}' takes the new one, and cuts the streams in flight."
        )

    def stopped(self) -> str | None:
        """See :class:`Instance`. A signal other than CONT and KILL waits until it goes on."""
        master = self._master()
        if not master or _process(master).state not in _STOPPED:
            return None
        return (
            f"the master process {master} of {self.unit} is stopped (SIGSTOP) and acts on nothing: "
            f"'kill -CONT {master}' lets it go on."
        )

    def troubles(self) -> list[str]:
        """See :class:`Instance`."""
        return [told for told in (self.outdated(), self.stopped(), self._mute()) if told]

    def altered(self) -> str | None:
        """See :class:`Instance`."""
        paths = self._properties().get("DropInPaths", "")
        return f"drop-ins change the unit {self.unit}: {paths}." if paths else None

    def _mute(self) -> str | None:
        """Say when nginx cannot write to its log, which it tells nowhere else."""
        place = self.error_log.parent
        try:
            room = os.statvfs(place)
        except OSError:
            return None
        if room.f_bavail or not room.f_blocks:
            return None
        return (
            f"the file system of {place} is full: nginx logs nothing there, neither calls nor why "
            "it refuses a configuration. Make room."
        )

    def _master(self) -> int:
        return int(self._properties().get("MainPID", "0"))

    def mark(self) -> Mark:
        """See :class:`Instance`."""
        try:
            state = self.error_log.stat()
        except OSError:
            return Mark(0, 0, time.time(), time.monotonic())
        return Mark(state.st_ino, state.st_size, time.time(), time.monotonic())

    def _lines(self, mark: Mark) -> list[str]:
        try:
            with open(self.error_log, "rb") as stream:
                same = os.fstat(stream.fileno()).st_ino == mark.inode
                stream.seek(mark.offset if same else 0)
                text = stream.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if _FORCED not in line]

    def log_since(self, mark: Mark) -> list[str]:
        """See :class:`Instance`.

        Before nginx has opened its log its words go to the journal, so that is read when
        the log holds nothing of weight.
        """
        lines = [line for line in self._lines(mark) if _SEVERE.search(line)]
        if not lines:
            lines = [line for line in self._journal(mark) if _SEVERE.search(line)]
        return _unique(lines)

    def _journal(self, mark: Mark) -> list[str]:
        """Return what the journal has got since the mark.

        Where the clock was set back, lines of long ago are dated later than the mark.
        """
        self._call("journalctl", "--sync")
        since = f"--since=@{int(mark.clock)}"
        kind = "--output=short-monotonic"
        _status, out, _error = self._call(
            "journalctl", "--quiet", "--no-pager", kind, since, "-u", self.unit
        )
        told = map(_JOURNAL.match, out.splitlines())
        return [line[2] for line in told if line and float(line[1]) >= mark.monotonic]

    def alerts_since(self, mark: Mark) -> list[str]:
        """See :class:`Instance`."""
        return _unique([line for line in self._lines(mark) if _ALERT.search(line)])

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """See :class:`Instance`. A port that is taken alone is tried again by nginx, for 2.5 s."""
        lines = self._lines(mark)
        died = {int(found) for line in lines for found, _how in _DIED.findall(line)}
        gone = bool(died - before) or any(_GIVEN_UP.search(line) for line in lines)
        return gone or not self.running()


def _unique(lines: list[str]) -> list[str]:
    """Return twenty lines, each once, without its time: the gravest first, then the last."""
    told = list(dict.fromkeys(_TIMESTAMP.sub("", line) for line in lines))
    grave = [line for line in told if _ALERT.search(line)]
    other = [line for line in told if not _ALERT.search(line)]
    return (grave + other[::-1])[:20]


@dataclass(frozen=True)
class _Process:
    """One line of /proc/PID/stat; source: proc(5)."""

    state: str = ""
    parent: int = 0


def _process(pid: int) -> _Process:
    """Return what the kernel tells of a process, nothing where it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return _Process()
    # The name in parentheses may hold anything: the fields after it are counted.
    state, parent = status.rpartition(")")[2].split()[:2]
    return _Process(state, int(parent))


def _children(parent: int) -> list[tuple[int, str]]:
    """Return process id and title of each child of a process, from /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or _process(int(entry.name)).parent != parent:
            continue
        try:
            title = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # the process ended while /proc was read
        found.append((int(entry.name), title))
    return found


OPTIONS: dict[str, Any] = {
    "kind": {"type": "str", "choices": ["systemd"], "default": "systemd"},
    "name": {"type": "str", "required": True},
    "binary": {"type": "path", "default": "/usr/sbin/nginx"},
    "error_log": {"type": "path"},
    "runtime": {"type": "path"},
}
"""The module option ``instance``, documented in plugins/doc_fragments/nginx_instance.py."""


def from_options(options: dict[str, str | None], run: Run) -> SystemdInstance:
    """Return the instance that the module option ``instance`` describes."""
    name = options["name"] or ""
    return SystemdInstance(
        unit=name,
        binary=options["binary"] or "",
        error_log=options["error_log"] or f"/var/log/{name}/error.log",
        runtime=options.get("runtime") or f"/run/{name}",
        run=run,
    )


def missing(options: dict[str, str | None]) -> list[str]:
    """Return the paths without which a configuration cannot be tested on this host."""
    paths = [options["binary"] or "", options["runtime"] or f"/run/{options['name']}"]
    return [path for path in paths if not os.path.exists(path)]
