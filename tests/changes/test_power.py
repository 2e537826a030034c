"""The run killed before, in and after every step, on a real host with real nginx and systemd.

Once more where nginx is a container, of a real engine. Killed is by SIGKILL from itself, at every
system call that changes something, at every command and at every request to the engine.
What nginx would read at a boot must be a whole generation then, what is live one of the two, and
the next run repairs. What a disk loses with the power is not shown: the disk here is never cut off.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from tests.changes.conftest import CONTAINED, SCENARIOS
from tests.changes.hosts import ChangesHost
from tests.changes.traced import changes
from tests.faults.site import CONTAINER, USUAL
from tests.faults.table import Row, Table

TRACE = "/opt/oap-proxy-tests/trace"
# What every scenario comes by, so that an enumeration that misses it is found out.
STEPS = {
    "package": {
        "open .lock", "write nginx.conf", "fsync generations", "before nginx -t",
        "during nginx -t", "before systemctl reload", "during systemctl reload", "ask a listener",
    },
    "container": {
        "open .lock", "write nginx.conf", "fsync generations", "engine create", "engine start",
        "engine delete", "ask a listener",
    },
}  # fmt: skip
TOLD = {
    "good": "a good change",
    "bad": "a change that is rolled back",
    "edited": "mending what was edited by hand",
    "handover": "another container in the place of one",
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


# What of it has another name where the engine does it.
REQUESTS = {
    "before nginx -t": "engine create",
    "before systemctl reload": "engine kill HUP",
    "during systemctl reload": "engine kill HUP",
}
# The first start is that of the test.
HANDOVERS = {
    "swapped": ("engine start", 2),
    "reloaded": ("engine rename", 1),
    "proven, or not": ("engine rename", 2),
    "noted, or swapped back": ("engine kill QUIT", 1),
}


@dataclass(frozen=True)
class Subject:
    """What is killed.

    :ivar nginx: as the table calls it.
    :ivar names: the places that a run of each scenario comes to.
    """

    kind: str
    nginx: str
    host: ChangesHost
    names: dict[str, list[str]]

    def at(self, step: str) -> dict[str, tuple[str, int]]:
        """Return the places after a step, by scenario."""
        if self.kind == "package":
            return BOOTS[step]
        same = {one: (REQUESTS.get(name, name), at) for one, (name, at) in BOOTS[step].items()}
        return {**same, **({"handover": HANDOVERS[step]} if step in HANDOVERS else {})}


@pytest.fixture(scope="module", params=["package", "container"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """A host, and the places that runs on it come to."""
    kinds = {
        "package": (USUAL, "proxy1", SCENARIOS),
        "container": (CONTAINER, "contained1", CONTAINED),
    }
    nginx, fixture, scenarios = kinds[request.param]
    host: ChangesHost = request.getfixturevalue(fixture)
    names = {
        scenario: json.loads(host.run("power", f"power-{scenario}", scenario, "watch"))
        for scenario in scenarios
    }
    return Subject(request.param, nginx, host, names)


@pytest.mark.parametrize("subject", ["package"], indirect=True)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_change_is_a_place(subject: Subject, scenario: str) -> None:
    """The places are the very system calls that strace sees, so none of them is left out."""
    proxy = f"power-{scenario}"
    command = subject.host.command("power", proxy, scenario, "watch")
    command = command[command.index("env") :]
    watched = f"cd / && strace -y -o {TRACE} {' '.join(command)}"
    counted = json.loads(subject.host.shell(watched))
    assert sorted(counted) == sorted(subject.names[scenario])
    commands = ("ask", "before", "during")
    own = [name.split()[0] for name in counted if not name.startswith(commands)]
    # A rehearsal has a directory of its own beside the instance's.
    roots = (f"/etc/nginx/{proxy}", f"/run/{proxy}-rehearsal")
    seen = list(changes(subject.host.shell(f"cat {TRACE}"), roots))
    assert seen[-len(own) :] == own


def test_killed_everywhere(subject: Subject, capsys: pytest.CaptureFixture[str]) -> None:
    """Killed at any place, with or without a new start after it: the next run puts it right."""

    def every(scenario: str) -> list[dict[str, Any]]:
        told = subject.host.run("power", f"power-{scenario}", scenario, "every")
        return [json.loads(line) for line in told.splitlines()]

    with ThreadPoolExecutor(max_workers=len(subject.names)) as pool:
        rows = dict(zip(subject.names, pool.map(every, subject.names), strict=True))
    for scenario, (*killed, last) in rows.items():
        names = subject.names[scenario]
        assert set(names) >= STEPS[subject.kind]
        assert sorted(last["names"]) == sorted(names)
        wrong = [row for row in killed if row["wrong"]]
        assert not wrong, f"{scenario}: {len(wrong)} of {len(killed)}: {wrong[:5]}"
        # Every number was killed at. What it is called may differ from run to run: the entries
        # of a directory come in any order, and a listener is asked as often as it takes.
        assert len(killed) == 2 * len(names)
        places = {(row["place"], row["reboot"]) for row in killed}
        assert places == {(name, one) for name in names for one in (False, True)}
    table = Table([
        Row("power", f"SIGKILL at each of {len(names)} places: {TOLD[one]}", subject.nginx, *AFTER)
        for one, names in subject.names.items()
    ])  # fmt: skip
    table.keep()
    with capsys.disabled():
        print("", *list(table.lines())[:-1], sep="\n")


@pytest.mark.parametrize("step", BOOTS)
def test_power_cut(subject: Subject, step: str) -> None:
    """The host loses its power after a step of each scenario, boots, and the next runs repair."""
    known = {}
    for scenario, (name, which) in subject.at(step).items():
        places = enumerate(subject.names[scenario], 1)
        found = [number for number, one in places if one == name]
        number = str(found[which - 1])
        told = json.loads(subject.host.run("power", f"power-{scenario}", scenario, "kill", number))
        assert told["place"] == name
        known[scenario] = json.dumps(told["known"])
    subject.host.boot()
    for scenario, given in known.items():
        subject.host.run("power", f"power-{scenario}", scenario, "after", given)
    Table([Row("power", f"the power cut, then a boot: {step}", subject.nginx, *AFTER)]).keep()
