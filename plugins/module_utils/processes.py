# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of the host, as /proc tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """One line of /proc/PID/stat; source: proc(5)."""

    state: str = ""
    parent: int = 0
    started: int = 0
    """In ticks since the boot."""


def process(pid: int) -> Process:
    """Return what the kernel tells of a process, nothing where it has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return Process()
    # The name in parentheses may hold anything: the fields after it are counted.
    fields = status.rpartition(")")[2].split()
    return Process(fields[0], int(fields[1]), int(fields[19]))


def title(pid: int) -> str:
    """Return the words of a process, nothing where it has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ""
    return words.replace(b"\0", b" ").decode(errors="replace").strip()


def children(parent: int) -> list[tuple[int, str]]:
    """Return process id and title of each child of a process."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [(pid, title(pid)) for pid in pids if process(pid).parent == parent]
