"""What a reload loses, by the number of worker processes.

Changes in a row by the collection's transaction, on a proxy with one, two and four workers, under
clients of grpc-go that call without a pause, with their default retry. That is more than agents
do: what is rare becomes countable.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path

from tests.changes.hosts import ChangesHost, deployed
from tests.hosts import clients
from tests.hosts.progress import LabError, say

CHANGES = 60
PAUSE_SECONDS = 0.1
CLIENTS = 50
PORTS = {1: 11831, 2: 11832, 4: 11834}
END_SECONDS = 60


def measure() -> str:
    """Measure each number of workers, and return the table."""
    proxies = {
        _name(workers): {
            "grpc_proxy_listen": [{"port": port}],
            "grpc_proxy_worker_processes": workers,
            "grpc_proxy_drain_timeout": "5s",
        }
        for workers, port in PORTS.items()
    }
    lines = [
        f"{CHANGES} changes each, {CLIENTS} clients of grpc-go that call without a pause.",
        f"{'workers':>7}  {'calls':>8}  {'lost':>5}  by words",
    ]
    with deployed(proxies) as host:
        lines += [_line(host, workers) for workers in PORTS]
    return "\n".join(lines)


def _name(workers: int) -> str:
    return f"workers-{workers}"


def _line(host: ChangesHost, workers: int) -> str:
    say(f"{CHANGES} changes with {workers} worker processes")
    program = clients.go_program(Path(__file__).with_name("load"))
    target = f"{host.host.address}:{PORTS[workers]}"
    with subprocess.Popen(
        [str(program), "run", "-clients", str(CLIENTS), "-full", "streams", "-empty", target],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as load:  # fmt: skip
        try:
            told = host.run("changes", _name(workers), str(CHANGES), str(PAUSE_SECONDS), "proven")
        finally:
            out, words = load.communicate(timeout=END_SECONDS)
    if load.returncode:
        raise LabError(f"the load of grpc-go failed: {words[-2000:]}")
    _begin, *changes, _end = [json.loads(line) for line in told.splitlines()]
    wrong = [row for row in changes if row["ended"] != "reloaded" or not row["proven"]]
    if wrong:
        raise LabError(f"{len(wrong)} of {CHANGES} changes went wrong: {wrong[:2]}")
    seen = json.loads(out)
    lost = sum(seen["failed"].values())
    kinds = Counter(one.partition("desc = ")[2] for one in seen["words"] or ())
    by_words = "; ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return f"{workers:>7}  {seen['made']:>8}  {lost:>5}  {by_words}".rstrip()
