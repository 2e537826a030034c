"""Two runs at the same moment, and runs while the clock is wrong."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.faults.around import CHANGE, SAME, drop_in, no_drop_in
from tests.faults.fault import Fault, undergo
from tests.faults.site import (
    CONFIGURE,
    GENERATION,
    PORT,
    ROOT,
    UNIT,
    USUAL,
    Site,
    none_lost,
    refused,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL)
BUSY = "busy"
HOLDER = "/run/holds-the-lock.pid"
ROUNDS = 3
# As a lock of a run that hangs: its process holds it until it is ended.
HOLD = f"""\
flock --no-fork {ROOT}/.lock sleep 600 >/dev/null 2>&1 </dev/null &
echo $! > {HOLDER}
while flock --nonblock {ROOT}/.lock true; do sleep 0.05; done
"""
OTHER = {"grpc_proxy_balance": "ip_hash"}
KEEP = {"grpc_proxy_keep_generations": 3}
# What no other test brings live: none of it is on disk before.
FRESH = [{"grpc_proxy_stream_timeout": f"{hours}h"} for hours in (31, 32, 33, 34)]
# A stand-in for a clock that was set back by a year: the module alone is told so, by its Python.
# The kernel and nginx have the right one (no container may set it, and libfaketime breaks sleep).
YEAR = 365 * 24 * 3600
PYTHON = "/usr/local/bin/python-of-last-year"
CLOCK = "/usr/local/lib/last-year"
WRAPPER = f"""\
#!/bin/sh
PYTHONPATH={CLOCK}:$PYTHONPATH exec /usr/bin/python3 "$@"
"""
SITE = f"""\
import time

time.time = lambda now=time.time: now() - {YEAR}
time.time_ns = lambda now=time.time_ns: now() - {YEAR} * 10**9
"""
LAST_YEAR: dict[str, Any] = {"ansible_python_interpreter": PYTHON}
# What was sealed before the clock was set back is dated later than what comes.
FROM_THE_FUTURE = (
    f"for one in {ROOT}/generations/*; do touch --date=@$(($(stat -c %Y $one) + {YEAR})) $one; done"
)


@pytest.mark.nginx(USUAL, container=True)
def test_lock_that_is_held(proxy: Site, story: Story) -> None:
    """Refused at once; nothing waits, and nothing is done beside the other run."""
    fault = Fault(
        "lock held by another run",
        CHANGE,
        BUSY,
        (f"another run is changing {ROOT}", "wait for it to end", "run again", "is still live"),
        cause=HOLD,
        mend=f"kill $(cat {HOLDER})\nrm {HOLDER}",
        plain=None,
    )
    undergo(proxy, story, fault)


@pytest.mark.nginx(USUAL, container=True)
def test_two_runs_together(proxy: Site, story: Story) -> None:
    """Each is done or busy; what is live is whole, on disk, and what one of them wanted."""
    wanted = [CHANGE, OTHER]
    ids = [proxy.have(settings) for settings in wanted]
    proxy.have_usual()
    with proxy.load() as load, ThreadPoolExecutor(len(wanted)) as pool:
        ended = []
        for _round in range(ROUNDS):
            runs = [pool.submit(proxy.play, one, playbook=CONFIGURE) for one in wanted]
            ends = [how_it_ended(run.result()) for run in runs]
            done = [one for one, end in zip(ids, ends, strict=True) if end != BUSY]
            assert done, "both say that the other one is at work"
            assert proxy.generation() == proxy.current()
            assert proxy.current() in done
            ended += ends
    none_lost(load)
    left = proxy.machine.run("ls", "-A", f"{ROOT}/generations").split()
    assert all(map(GENERATION.fullmatch, left)), left
    told = ", ".join(f"{ended.count(kind)} {kind}" for kind in sorted(set(ended)))
    story.tell(f"two runs together, {ROUNDS} times", told, "that of one of them", load)


def how_it_ended(run: Any) -> str:
    """Return busy, changed or unchanged, which is all that it may be."""
    if run.failures:
        refused(run.failure(), BUSY, "Nothing was changed")
        return BUSY
    return "changed" if run.changed() else "unchanged"


def set_back(proxy: Site) -> None:
    """Have a clock on the host that is a year back, for the module."""
    machine = proxy.machine
    machine.run("mkdir", "-p", CLOCK)
    machine.write(f"{CLOCK}/sitecustomize.py", SITE)
    machine.write(PYTHON, WRAPPER, "0755")
    says = "import time; print(time.time())"
    right, wrong = (float(machine.run(one, "-c", says)) for one in ("python3", PYTHON))
    assert right - wrong > YEAR - 60, "the clock of the module is not set back"


@pytest.mark.nginx(USUAL, container=True)
def test_clock_set_back(proxy: Site, story: Story) -> None:
    """Changes come live and the newest are kept, whatever the clock says; so do later ones."""
    proxy.have_usual()
    set_back(proxy)
    proxy.machine.run("sh", "-euc", FROM_THE_FUTURE)
    made = []
    with proxy.load() as load:
        for settings in FRESH[:3]:
            run = proxy.play({**settings, **KEEP, **LAST_YEAR}, playbook=CONFIGURE)
            assert run.changed() == 1
            assert proxy.generation() == proxy.current()
            made.append(proxy.current())
        assert kept(proxy) == set(made)
        # Back on the right clock.
        assert proxy.play({**settings, **KEEP}, playbook=CONFIGURE).changed() == 0
        assert proxy.play({**FRESH[3], **KEEP}, playbook=CONFIGURE).changed() == 1
    assert proxy.generation() == proxy.current()
    assert kept(proxy) == {*made[1:], proxy.current()}
    none_lost(load)
    story.tell("clock set back by a year, 3 changes", "none", "the new one", load)


def kept(proxy: Site) -> set[str]:
    """Return the generations on disk."""
    return set(proxy.machine.run("ls", f"{ROOT}/generations").split())


def test_clock_set_back_and_a_reload_that_fails(proxy: Site, story: Story) -> None:
    """What the journal holds of long before, dated later now, is no reason of today's."""
    machine = proxy.machine
    live = proxy.have_usual()
    set_back(proxy)
    # A start that fails before nginx has opened its log is told in the journal.
    machine.run("systemctl", "stop", UNIT)
    holder = proxy.hold(PORT)
    assert machine.status("systemctl", "start", UNIT) != 0
    proxy.release(holder)
    machine.run("systemctl", "start", UNIT)
    machine.run("journalctl", "--sync")
    assert "98: Address already in use" in machine.run("journalctl", "--no-pager", "-u", UNIT)
    machine.run("sh", "-euc", drop_in("[Service]", "ExecReload=", "ExecReload=/bin/true"))
    try:
        with proxy.load() as load:
            run = proxy.play({**CHANGE, **LAST_YEAR}, playbook=CONFIGURE)
        says = ("drop-ins change the unit", f"Rolled back: generation {live} is live again")
        result = refused(run.failure(), "not_live", *says)
        assert result["nginx_log"] == []
        assert "another program" not in run.failure().message
    finally:
        machine.run("sh", "-euc", no_drop_in())
    none_lost(load)
    story.tell("clock set back, a reload that does nothing", "not_live", SAME, load)
    assert proxy.play(CHANGE, playbook=CONFIGURE).changed() == 1
