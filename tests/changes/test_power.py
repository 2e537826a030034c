"""The run killed before, in and after every step, on a real host with real nginx and systemd.

Killed is by SIGKILL from itself, at every system call that changes something and at every command.
What nginx would read at a boot must be a whole generation then, what is live one of the two, and
the next run repairs. What a disk loses with the power is not shown: the disk here is never cut off.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.changes.conftest import SCENARIOS
from tests.changes.hosts import ChangesHost
from tests.changes.traced import changes
from tests.faults.table import Row, Table

TRACE = "/opt/oap-proxy-tests/trace"
# What every scenario comes by, so that an enumeration that misses it is found out.
STEPS = {
    "open .lock", "write nginx.conf", "fsync generations", "before nginx -t", "during nginx -t",
    "before systemctl reload", "during systemctl reload", "ask a listener",
}  # fmt: skip
TOLD = {
    "good": "a good change",
    "bad": "a change that is rolled back",
    "edited": "mending what was edited by hand",
}
AFTER = ("none: the next run repairs", "old or new, whole")
# One place after each step: for the runs by which one boot is made, name and which of that name.
BOOTS: dict[str, dict[str, tuple[str, int]]] = {
    "staged": {"good": ("rename ID", 1), "bad": ("rename ID", 1), "edited": ("renameat2 ID", 1)},
    "sealed": {
        "good": ("before nginx -t", 1),
        "bad": ("before nginx -t", 1),
        "edited": ("unlink nginx.conf", 1),
    },
    "tested": {
        "good": ("symlink .next-current", 1),
        "bad": ("symlink .next-current", 1),
        "edited": ("before systemctl reload", 1),
    },
    "swapped": {
        "good": ("before systemctl reload", 1),
        "bad": ("before systemctl reload", 1),
        "edited": ("unlink proven", 1),
    },
    "reloaded": {
        "good": ("ask a listener", 2),
        "bad": ("ask a listener", 2),
        "edited": ("ask a listener", 2),
    },
    "proven, or not": {
        "good": ("symlink .next-previous", 1),
        "bad": ("symlink .next-current", 2),
        "edited": ("symlink .next-proven", 1),
    },
    "noted, or swapped back": {
        "good": ("symlink .next-proven", 1),
        "bad": ("before systemctl reload", 2),
        "edited": ("rename proven", 1),
    },
    "pruned, or reloaded back": {
        "good": ("rename .broken-ID", 1),
        "bad": ("ask a listener", 3),
        "edited": ("fsync power-edited", 2),
    },
    "removed": {
        "good": ("unlink nginx.conf", 1),
        "bad": ("unlink nginx.conf", 1),
        "edited": ("during systemctl reload", 1),
    },
}


@pytest.fixture(scope="module")
def names(proxy1: ChangesHost) -> dict[str, list[str]]:
    """The places that a run of each scenario comes to."""
    return {
        scenario: json.loads(proxy1.run("power", f"power-{scenario}", scenario, "watch"))
        for scenario in SCENARIOS
    }


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_change_is_a_place(
    proxy1: ChangesHost, names: dict[str, list[str]], scenario: str
) -> None:
    """The places are the very system calls that strace sees, so none of them is left out."""
    proxy = f"power-{scenario}"
    command = proxy1.command("power", proxy, scenario, "watch")
    command = command[command.index("env") :]
    watched = f"cd / && strace -y -o {TRACE} {' '.join(command)}"
    counted = json.loads(proxy1.shell(watched))
    assert sorted(counted) == sorted(names[scenario])
    commands = ("ask", "before", "during")
    own = [name.split()[0] for name in counted if not name.startswith(commands)]
    # A rehearsal has a directory of its own beside the instance's.
    roots = (f"/etc/nginx/{proxy}", f"/run/{proxy}-rehearsal")
    seen = list(changes(proxy1.shell(f"cat {TRACE}"), roots))
    assert seen[-len(own) :] == own
    assert set(names[scenario]) >= STEPS


def test_killed_everywhere(
    proxy1: ChangesHost, names: dict[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed at any place, with or without a new start after it: the next run puts it right."""

    def every(scenario: str) -> list[dict[str, Any]]:
        told = proxy1.run("power", f"power-{scenario}", scenario, "every")
        return [json.loads(line) for line in told.splitlines()]

    with ThreadPoolExecutor(max_workers=len(SCENARIOS)) as pool:
        rows = dict(zip(SCENARIOS, pool.map(every, SCENARIOS), strict=True))
    for scenario, (*killed, last) in rows.items():
        assert sorted(last["names"]) == sorted(names[scenario])
        wrong = [row for row in killed if row["wrong"]]
        assert not wrong, f"{scenario}: {len(wrong)} of {len(killed)}: {wrong[:5]}"
        # A directory's entries, which a rehearsal makes again, come in any order.
        places = sorted((row["place"], row["reboot"]) for row in killed)
        assert places == sorted((name, one) for name in names[scenario] for one in (False, True))
    table = Table([
        Row("power", f"SIGKILL at each of {len(names[scenario])} places: {told}", "1.22", *AFTER)
        for scenario, told in TOLD.items()
    ])  # fmt: skip
    table.keep()
    with capsys.disabled():
        print("", *list(table.lines())[:-1], sep="\n")


@pytest.mark.parametrize("step", BOOTS)
def test_power_cut(proxy1: ChangesHost, names: dict[str, list[str]], step: str) -> None:
    """The host loses its power after a step of three runs, boots, and the next runs repair."""
    known = {}
    for scenario, (name, which) in BOOTS[step].items():
        found = [number for number, one in enumerate(names[scenario], 1) if one == name]
        number = str(found[which - 1])
        told = json.loads(proxy1.run("power", f"power-{scenario}", scenario, "kill", number))
        assert told["place"] == name
        known[scenario] = json.dumps(told["known"])
    proxy1.boot()
    for scenario, given in known.items():
        proxy1.run("power", f"power-{scenario}", scenario, "after", given)
    Table([Row("power", f"the power cut, then a boot: {step}", "1.22", *AFTER)]).keep()
