"""A hundred changes in a row under load: no call is lost, and old workers do not pile up.

The changes are made in the host by the transaction itself, without Ansible, so that a hundred of
them take about a minute. The load is grpcio and grpc-go with their default retry, on a real OAP.
"""

import json
import subprocess

import pytest

from tests.changes.conftest import DRAIN_SECONDS, LOADED, PORT
from tests.changes.hosts import ChangesHost
from tests.changes.load import Clients
from tests.faults.table import Row, Table

COUNT = 100
PAUSE_SECONDS = 0.25
# nginx's timers, and a process that ends, on a machine that has other things to do.
SPARE_SECONDS = 2.0
MIN_CALLS = 1000


@pytest.mark.parametrize(
    ("how", "reloads"),
    [
        pytest.param("proven", 1, id="all-good"),
        pytest.param("every-second-wrong", 2, id="half-bad"),
    ],
)
def test_nothing_is_lost(
    proxy1: ChangesHost, capsys: pytest.CaptureFixture[str], how: str, reloads: int
) -> None:
    """Every change is proven or rolled back, and every call and stream of its clients ends well."""
    command = proxy1.command("changes", LOADED, str(COUNT), str(PAUSE_SECONDS), how)
    with Clients(f"{proxy1.host.address}:{PORT}") as clients:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr[-3000:]
    begin, *changes, end = [json.loads(line) for line in done.stdout.splitlines()]

    wrong = changes[1::2] if how == "every-second-wrong" else []
    right = [row for row in changes if row not in wrong]
    assert len(right) + len(wrong) == COUNT
    assert not [row for row in right if (row["ended"], row["proven"]) != ("reloaded", True)]
    assert not [row for row in wrong if (row["ended"], row["rolled_back"]) != ("fallback", True)]

    assert clients.made > MIN_CALLS
    assert not clients.lost, f"{len(clients.lost)} of {clients.made} lost: {clients.lost[:5]}"
    cut = clients.cut(DRAIN_SECONDS)
    assert cut, "no stream was held for longer than the drain time, so nothing is shown of it"

    # Reloads are at least a pause apart, so so many generations can be draining at a time.
    serving = begin["workers"] - begin["draining"]
    most = serving * reloads * (int((DRAIN_SECONDS + SPARE_SECONDS) / PAUSE_SECONDS) + 1)
    highest = max(row["draining"] for row in changes)
    assert 0 < highest <= most < serving * reloads * COUNT
    assert (end["workers"], end["draining"]) == (serving, 0)
    every = ", every second one rolled back" if wrong else ""
    fault = f"{COUNT} changes in a row{every}"
    reason = "fallback, every second" if wrong else "none: green"
    row = Row("transaction", fault, "1.22", reason, "the last right one", None, clients.made, 0)
    Table([row]).keep()
    with capsys.disabled():
        print(
            f"\n{COUNT} changes, {how}: {clients.made} calls, {len(clients.lost)} lost; "
            f"{len(clients.held) - len(cut)} held streams ended OK, {len(cut)} were cut after "
            f"{min(one.lived for one in cut):.2f} s and more; "
            f"{highest} workers drained at a time, {most} allowed"
        )
