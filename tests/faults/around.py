"""What the rows of "around it" share: the plain way in the same trouble, and how a row ends."""

import shlex
from dataclasses import dataclass

from tests.faults.files import differences
from tests.faults.plain import Plain, Trial
from tests.faults.playbook import Run
from tests.faults.site import (
    MODULE,
    TWICE,
    UNIT,
    VERIFY,
    Site,
    none_lost,
    refused,
)
from tests.faults.table import Story

CHANGE = {"grpc_proxy_balance": "least_conn"}
NOTHING = "nothing, as before"
SAME = "the same"


def plainly(proxy: Site, before: str = "", after: str = "") -> Plain:
    """Try a change the plain way, in a trouble that lines of sh bring about for the unit plain."""
    told = proxy.expectation()
    trial = Trial({}, told["listeners"], told["methods"], before=before, after=after)
    return trial.on(proxy.machine)


def drop_in(*lines: str, unit: str = UNIT) -> str:
    """Return the lines of sh that change a unit of systemd's by a drop-in."""
    folder = f"/run/systemd/system/{unit}.service.d"
    text = " ".join(map(shlex.quote, lines))
    return (
        f"mkdir -p {folder}\n"
        f"printf '%s\\n' {text} > {folder}/faults.conf\n"
        "systemctl daemon-reload\n"
    )


def no_drop_in(unit: str = UNIT) -> str:
    """Return the lines of sh that take it away."""
    return f"rm -r /run/systemd/system/{unit}.service.d\nsystemctl daemon-reload\n"


def refused_twice(proxy: Site, reason: str, *parts: str, change: bool = False) -> Run:
    """Run twice while nothing of ours serves: refused for the same reason, the tree as it was."""
    settings = CHANGE if change else None
    before = proxy.machine.listing()
    run = proxy.play(settings, playbook=TWICE)
    first, second = run.attempts(MODULE)
    for failure in (first, second, run.failure()):
        refused(failure, reason, *parts)
    assert differences(before, proxy.machine.listing()) == {}
    return run


@dataclass(frozen=True)
class Disturbance:
    """What somebody has done, which a run takes back without help."""

    name: str
    cause: str
    """Lines of sh."""
    action: str
    """What the run does to the instance."""
    verify: tuple[str, ...] = ()
    """Parts of what verify says of it before."""
    plain: str | None = None
    """Lines of sh that bring the same about for the unit plain; None where it cannot be."""


def heals(proxy: Site, story: Story, fault: Disturbance) -> None:
    """Disturb, verify, run: the usual generation is live and whole, and stays so."""
    live = proxy.have_usual()
    before = proxy.machine.listing()
    serves = fault.action != "started"
    proxy.machine.run("sh", "-euc", fault.cause)
    with proxy.load() as load:
        if fault.verify:
            failure = proxy.play(playbook=VERIFY).failure()
            for part in ("proxy1: ", *fault.verify):
                assert part in failure.message, failure.message
        run = proxy.play(playbook=TWICE)
        assert run.changed() == 1
        first, second = (one.result for one in run.results if one.module == MODULE)
        assert (first["action"], second["action"]) == (fault.action, "none")
        assert proxy.generation() == proxy.current() == live
        assert differences(before, proxy.machine.listing()) == {}
    if serves:
        none_lost(load)
    plain = None if fault.plain is None else plainly(proxy, fault.plain)
    story.tell(
        fault.name, f"none: {fault.action}", "the usual one", load if serves else None, plain
    )
