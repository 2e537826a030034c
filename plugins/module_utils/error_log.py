# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The error log of nginx: what it has said since a mark, and what of it tells of trouble."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

_TIMESTAMP = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_SEVERE = re.compile(r"\[(warn|error|crit|alert|emerg)\]")
# What the proof's own calls make nginx log, and a new binary that is taken back.
_OURS = re.compile(r'upstream: "grpc://oap_proxy_unavailable"|new binary process \d+ .* signal 9$')
_ALERT = re.compile(r"\[(crit|alert|emerg)\]")
_GIVEN_UP = re.compile(r"still could not bind\(\)|\[emerg\](?!.*bind\(\) to \S+ failed \(98:)")
# A worker that comes to its end by itself or by a signal; one that was told to stop says less.
_DIED = re.compile(r"\[alert\].* process (\d+) exited (on signal|with fatal code)")


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


class ErrorLog:
    """The error log of one nginx.

    :param path: of the log file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def mark(self) -> Mark:
        """Remember where the log ends now."""
        try:
            state = self.path.stat()
        except OSError:
            return Mark(0, 0, time.time(), time.monotonic())
        return Mark(state.st_ino, state.st_size, time.time(), time.monotonic())

    def trouble_since(self, mark: Mark) -> list[str]:
        """Return what was written since the mark that tells of trouble."""
        return trouble(self._lines(mark))

    def alerts_since(self, mark: Mark) -> list[str]:
        """Return what was written since the mark as critical, an alert or an emergency."""
        return _unique([line for line in self._lines(mark) if _ALERT.search(line)])

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """Tell whether nginx has said since the mark that it will not take the change.

        A port that is taken alone is tried again by nginx, for 2.5 s.

        :param before: worker processes of before, whose end means nothing.
        """
        lines = self._lines(mark)
        died = {int(found) for line in lines for found, _how in _DIED.findall(line)}
        return bool(died - before) or any(_GIVEN_UP.search(line) for line in lines)

    def mute(self) -> str | None:
        """Say when nginx cannot write to its log, which it tells nowhere else."""
        place = self.path.parent
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

    def _lines(self, mark: Mark) -> list[str]:
        try:
            with open(self.path, "rb") as stream:
                same = os.fstat(stream.fileno()).st_ino == mark.inode
                stream.seek(mark.offset if same else 0)
                text = stream.read().decode(errors="replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if not _OURS.search(line)]


def trouble(lines: list[str]) -> list[str]:
    """Return those of nginx's lines that tell of trouble, from its log or from the journal."""
    return _unique([line for line in lines if _SEVERE.search(line) and not _OURS.search(line)])


def _unique(lines: list[str]) -> list[str]:
    """Return twenty lines, each once, without its time: the gravest first, then the last."""
    told = list(dict.fromkeys(_TIMESTAMP.sub("", line) for line in lines))
    grave = [line for line in told if _ALERT.search(line)]
    other = [line for line in told if not _ALERT.search(line)]
    return (grave + other[::-1])[:20]
