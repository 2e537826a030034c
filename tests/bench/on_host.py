"""Run inside a host, on its own Python: the CPU time of a program between two moments.

``on_host.py PID BEGIN END``, the moments in seconds since 1970, prints as JSON the CPU seconds of
the process and all its descendants (0: of none), and the share of the time in which the core of the
host was busy.
"""

import json
import os
import sys
import time
from pathlib import Path


def family(first: int) -> list[int]:
    """Return a process and all its descendants."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            told = (place / "stat").read_text(encoding="ascii", errors="replace")
        except OSError:  # it ended meanwhile
            continue
        parents[int(place.name)] = int(told.rpartition(")")[2].split()[1])
    found = [first]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def used(processes: list[int]) -> float:
    """Return the CPU seconds of processes, all threads, as the scheduler counts them."""
    total = 0
    for process in processes:
        for thread in Path(f"/proc/{process}/task").iterdir():
            total += int((thread / "schedstat").read_text(encoding="ascii").split()[0])
    return total / 1e9


def busy() -> float:
    """Return the seconds that this core has worked since the machine started."""
    own = f"cpu{min(os.sched_getaffinity(0))} "
    lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    line = next(line for line in lines if line.startswith(own))
    user, nice, system, _idle, _waiting, *rest = map(int, line.split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def main(pid: int, begin: float, end: float) -> None:
    """Wait for both moments, and tell the difference."""
    processes = family(pid) if pid else []
    seen = []
    for moment in (begin, end):
        time.sleep(max(0.0, moment - time.time()))
        seen.append((used(processes), busy(), time.time()))
    cpu, worked, seconds = (after - before for before, after in zip(*seen, strict=True))
    print(json.dumps({"cpu": cpu, "seconds": seconds, "busy": worked / seconds}))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]))
