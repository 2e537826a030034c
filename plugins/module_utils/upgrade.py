# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another binary on the sockets of the one that serves: nginx's own upgrade, and the way back.

Source: https://nginx.org/en/docs/control.html#upgrade. On USR2 the master process starts the binary
that is at its path now, as a second master on the same sockets; on WINCH a master lets its workers
drain. While the second one is there, HUP has the first one start workers again of what it had
read, without reading anything anew.

nginx's documentation ends a master with QUIT. Then it waits for its last stream, for as long as
the drain time, and meanwhile nothing is as it should be: systemd has it as the main process, so a
reload is lost and a stop is not heard by who serves; the second one takes no USR2; the first one
reads no configuration. So it is killed as soon as its workers accept no more. They drain as
before, each with its own clock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.processes import (
    children,
    process,
    title,
)

_MASTER = "nginx: master process "
_WORKERS = ("nginx: worker process", "nginx: cache ")
# nginx tries a bind for 2.5 s, and a large configuration takes its time; the old one serves.
_START_S = 20.0
_REACT_S = 5.0
_POLL_S = 0.01


class Upgrade:
    """The processes of one nginx, while there is one master or while there are two.

    :param pid_file: where the last of its masters has written its process id.
    :param call: how to run a command.
    :param main: tells the master process that systemd knows; 0 for none.
    """

    def __init__(
        self,
        pid_file: Path,
        call: Callable[..., tuple[int, str, str]],
        main: Callable[[], int],
    ) -> None:
        self._pid_file = pid_file
        self._call = call
        self._main = main

    def workers(self) -> set[int]:
        """Return the workers that accept connections, of both masters where there are two."""
        master = self._main()
        second = self._second(master)
        return _accepting([master, second]) - {second}

    def obstacle(self, binary: str) -> str | None:
        """Say why the master would not start this binary on USR2.

        :param binary: path of what a start would take now.
        """
        master = self._main()
        started, _blank, _options = title(master).partition(_MASTER)[2].partition(" ")
        if os.path.realpath(started) != os.path.realpath(binary):
            return (
                f"the master process {master} would start what it was started as itself, "
                f"{started or 'which is not known'}, and not {binary}."
            )
        before = process(master).parent
        if title(before).startswith(_MASTER):
            return (
                f"the master process {before}, whose binary was replaced by hand, still waits for "
                "its last streams, and until then nginx takes no other one."
            )
        return None

    def begin(self) -> tuple[bool, str]:
        """Start the second master, and have the workers of the first one drain."""
        self.take_back()  # what a run that was killed has left
        master = self._main()
        if not master:
            return False, "there is no master process to take over from."
        begun, words = self._started(master)
        if begun:
            self._signal("WINCH", master)
            _wait(lambda: not _accepting([master]) - {self._second(master)})
        return begun, words

    def _started(self, master: int) -> tuple[bool, str]:
        """Have a master start a second one, and wait for that one's first worker."""
        before = self._renamed()
        self._signal("USR2", master)
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if _accepting([self._second(master)]):
                return True, ""
            if self._named() == master and self._renamed() != before:
                return False, "its master process ended before it had a worker process."
            time.sleep(_POLL_S)
        return False, f"it had no worker process after {_START_S:.0f} s."

    def complete(self) -> None:
        """End the first master; its workers drain without it."""
        master = self._main()
        second = self._second(master)
        if not second:
            return
        self._signal("KILL", master)
        _wait(lambda: self._main() == second)
        # It gives it away itself only at a quiet end.
        with suppress(OSError):
            self._pid_file.with_name(f"{self._pid_file.name}.oldbin").unlink()

    def take_back(self) -> None:
        """End what the first master has started beside itself, once it has workers again."""
        master = self._main()
        # One that has ended and is not reaped has no title.
        found = children(master) if master else []
        beside = [pid for pid, words in found if words and not words.startswith(_WORKERS)]
        if not beside:
            return
        if not _accepting([master]) - set(beside):
            self._signal("HUP", master)
            _wait(lambda: bool(_accepting([master]) - set(beside)))
        for second in beside:
            self._signal("WINCH", second)
        _wait(lambda: not _accepting(beside))
        # A worker that still accepts would do so for ever.
        for pid in (*_accepting(beside), *beside):
            self._signal("KILL", pid)
        _wait(lambda: self._named() == master)

    def _signal(self, name: str, pid: int) -> None:
        self._call("kill", f"-{name}", str(pid))

    def _named(self) -> int:
        """Return the process id in the pid file; 0 while there is none."""
        try:
            return int(self._pid_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def _renamed(self) -> int:
        """Return when the pid file last got its name: nginx gives it another one, and back."""
        try:
            return self._pid_file.stat().st_ctime_ns
        except OSError:
            return 0

    def _second(self, master: int) -> int:
        """Return the master that was started by the first one, 0 as long as it is not ready."""
        named = self._named()
        return named if master and named and process(named).parent == master else 0


def _accepting(masters: Iterable[int]) -> set[int]:
    """Return the children of some masters that do not say that they shut down."""
    return {
        pid
        for master in masters
        if master
        for pid, words in children(master)
        if "shutting down" not in words
    }


def _wait(done: Callable[[], bool]) -> None:
    """Wait for what takes milliseconds; the proof finds out where it does not come about."""
    end = time.monotonic() + _REACT_S
    while not done() and time.monotonic() < end:
        time.sleep(_POLL_S)
