# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An nginx that is a unit of systemd: its binary, its commands, its journal, its processes."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import (
    ErrorLog,
    Mark,
    trouble,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.processes import process
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Stage
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.stage import transient
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.upgrade import Upgrade

Run = Callable[..., tuple[int, str, str]]
"""AnsibleModule.run_command: returns a command's exit status, standard output and error."""

_STOPPED = ("T", "t")
# Why systemd did not start a unit.
_REFUSED = re.compile(r"[Cc]ondition check|asserts? failed|Refusing|process exited|Failed at step")
_VERSION = re.compile(r"nginx/(\S+)")
# Seconds since boot, host, program, words; as journalctl writes short-monotonic.
_JOURNAL = re.compile(r"^\[ *(\d+\.\d+)\] \S+ \S+: (.*)$")


class SystemdInstance:
    """An nginx that is a unit of systemd.

    :param unit: name of the unit.
    :param binary: path of the nginx binary.
    :param error_log: path of the instance's error log.
    :param runtime: its runtime directory.
    :param run: how to run a command.
    """

    inherits_ports = True

    def __init__(self, unit: str, binary: str, error_log: str, runtime: str, run: Run) -> None:
        self.unit = unit
        self.binary = binary
        self.error_log = ErrorLog(Path(error_log))
        self.runtime = Path(runtime)
        self._run = run
        self._upgrade = Upgrade(self.runtime / "nginx.pid", self._call, self._master)

    def _call(self, *command: str) -> tuple[int, str, str]:
        """Run a command; one that cannot be run has failed, and ends nothing half-way."""
        try:
            return self._run(list(command), handle_exceptions=False)
        except OSError as error:
            return 127, "", f"cannot run {command[0]}: {error.strerror}"

    def _properties(self) -> dict[str, str]:
        wanted = "ActiveState,MainPID,LoadState,DropInPaths,Type,PIDFile"
        _status, out, _error = self._call("systemctl", "show", "--property", wanted, self.unit)
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def running(self) -> bool:
        """See :class:`instance.Instance`."""
        return self._properties().get("ActiveState") in ("active", "reloading")

    def test(self, configuration: Path) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        status, out, error = self._call(self.binary, "-t", "-q", "-c", str(configuration))
        return status == 0, (error or out).strip()

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """See :class:`instance.Instance`."""
        command = [self.binary, "-c", str(configuration)]
        return transient(
            self.unit, command, self.error_log.path, self.runtime, lambda words: self._call(*words)
        )

    def _systemctl(self, verb: str) -> tuple[bool, str]:
        status, out, error = self._call("systemctl", verb, self.unit)
        return status == 0, (error or out).strip()

    def start(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`. A unit that failed too often before may start again."""
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
        """See :class:`instance.Instance`."""
        self._systemctl("stop")

    def reload(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._systemctl("reload")

    def restart(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`.

        Ended by TERM: with QUIT the ports would be closed for as long as streams are held.
        """
        self._call("systemctl", "kill", "--kill-who=main", "--signal=TERM", self.unit)
        self._systemctl("reset-failed")
        return self._started("restart")

    def workers(self) -> set[int]:
        """See :class:`instance.Instance`. A worker that drains says so in its process title."""
        return self._upgrade.workers()

    def settle(self) -> list[str]:
        """See :class:`instance.Instance`. A handover takes back what is left of another one."""
        return []

    def outdated(self) -> str | None:
        """See :class:`instance.Instance`.

        Of a script it is not known which binary it starts, as long as the running one is there.
        """
        master = self._master()
        if not master:
            return None
        try:
            running = os.readlink(f"/proc/{master}/exe")
        except OSError:
            return None  # it ended in this moment, which others see
        if running == os.path.realpath(self.binary):
            return None
        if not running.endswith(" (deleted)") and _is_script(self.binary):
            return None
        return (
            f"the running {self.unit} is {self._version(f'/proc/{master}/exe')}, of a binary that "
            f"was replaced since ({running}): {self.binary} is {self._version(self.binary)} now."
        )

    def _version(self, binary: str) -> str:
        _status, out, error = self._call(binary, "-v")
        found = _VERSION.search(out + error)
        return f"nginx {found[1]}" if found else "of no version that it tells"

    def obstacle(self) -> str | None:
        """See :class:`instance.Instance`. Nobody but its pid file tells systemd who took over."""
        told = self._properties()
        pid_file = str(self.runtime / "nginx.pid")
        if (told.get("Type"), told.get("PIDFile")) != ("forking", pid_file):
            return (
                f"systemd would not follow to a new master process: the unit {self.unit} has no "
                f"Type=forking with PIDFile={pid_file}."
            )
        return self._upgrade.obstacle(self.binary)

    def hand_over(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._upgrade.begin()

    def complete(self) -> None:
        """See :class:`instance.Instance`."""
        self._upgrade.complete()

    def take_back(self) -> None:
        """See :class:`instance.Instance`."""
        self._upgrade.take_back()

    def retire(self) -> None:
        """See :class:`instance.Instance`. The unit ends by QUIT, which takes as long as streams."""
        self._systemctl("disable")
        self._call("systemctl", "stop", "--no-block", self.unit)

    def stopped(self) -> str | None:
        """See :class:`instance.Instance`.

        A signal other than CONT and KILL waits until it goes on.
        """
        master = self._master()
        if not master or process(master).state not in _STOPPED:
            return None
        return (
            f"the master process {master} of {self.unit} is stopped (SIGSTOP) and acts on nothing: "
            f"'kill -CONT {master}' lets it go on."
        )

    def troubles(self) -> list[str]:
        """See :class:`instance.Instance`."""
        return [told for told in (self.outdated(), self.stopped(), self.error_log.mute()) if told]

    def altered(self) -> str | None:
        """See :class:`instance.Instance`."""
        paths = self._properties().get("DropInPaths", "")
        return f"drop-ins change the unit {self.unit}: {paths}." if paths else None

    def _master(self) -> int:
        return int(self._properties().get("MainPID", "0"))

    def mark(self) -> Mark:
        """See :class:`instance.Instance`."""
        return self.error_log.mark()

    def log_since(self, mark: Mark) -> list[str]:
        """See :class:`instance.Instance`.

        Before nginx has opened its log its words go to the journal, so that is read when
        the log holds nothing of weight.
        """
        return self.error_log.trouble_since(mark) or trouble(self._journal(mark))

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
        """See :class:`instance.Instance`."""
        return self.error_log.alerts_since(mark)

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """See :class:`instance.Instance`."""
        return self.error_log.given_up(mark, before) or not self.running()


def _is_script(path: str) -> bool:
    try:
        with open(path, "rb") as stream:
            return stream.read(2) == b"#!"
    except OSError:
        return False
