"""A fault as data, and what every one of them is held to."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.faults.files import differences
from tests.faults.plain import Plain, Trial
from tests.faults.playbook import Failure, Hosts, Run, Variables
from tests.faults.site import (
    CONFIGURE,
    MODULE,
    TWICE,
    USUAL,
    Site,
    none_lost,
    refused,
    steady,
)
from tests.faults.table import Story
from tests.hosts.load import Load

# A broken generation serves until its proof has failed. Found by its answers, that is sooner
# than by the end of the proof's time.
ROLL_BACK_SECONDS = 4.0
# A signal that waited for its process takes effect within this time.
LATER_SECONDS = 1.0
BEFORE = "as before"
# What is refused before the module is asked has no reason of its own.
PREFLIGHT = "preflight"
GREEN = ""
Settings = Variables | Callable[[Site], Variables]


@dataclass(frozen=True)
class Fault:
    """What is wrong, and what must be said of it."""

    name: str
    settings: Settings
    """What the inventory asks for."""
    reason: str
    says: tuple[str, ...] = ()
    """Parts of the message: what is wrong, where, what to do."""
    log: str = ""
    """A part of a line of nginx's own."""
    rolled_back: bool = False
    unchanged: str = "Nothing was changed"
    """What the message says where it was not rolled back."""
    lossless: bool = True
    """Whether the new configuration never served."""
    first: Settings = field(default_factory=dict)
    """What is live before."""
    cause: str = ""
    """Lines of sh that bring the cause about, on the host."""
    mend: str = ""
    """Lines of sh that take it away."""
    to_master: str = ""
    """Lines of sh that disturb the nginx whose master process is $MASTER."""
    from_master: str = ""
    """Lines of sh that end that."""
    holds: tuple[int, ...] = ()
    """Ports that another program holds."""
    oaps: Hosts = field(default_factory=dict)
    """OAPs beside the usual ones."""
    exchange: tuple[tuple[str, str], ...] = ()
    """What the plain way changes where ours refuses before it writes: expression, text."""
    hangup: bool = False
    """The plain way is a signal alone."""
    plain: str | None = ""
    """Lines of sh that bring the cause about for the unit plain; None where it cannot be."""
    after: str = ""
    """Lines of sh that end that."""
    contained: Mapping[str, Any] = field(default_factory=dict)
    """What is otherwise in a container, whose ports are shared."""

    @property
    def around(self) -> bool:
        """Whether the cause is on the host; else it is in the inventory."""
        return bool(self.cause or self.to_master or self.holds)


def undergo(proxy: Site, story: Story, fault: Fault) -> None:
    """Bring a fault about on ours and on the plain way; hold what is said and what serves.

    Then the same run fails again, and heals once the cause is gone: by `make test` only on one
    nginx, and only where the cause is on the host.
    """
    if proxy.image:
        fault = replace(fault, **fault.contained)
    again = proxy.thorough or (fault.around and proxy.nginx == USUAL)
    # Preflight ends the run, and where calls are lost each attempt is measured for itself.
    twice = again and fault.reason not in {GREEN, PREFLIGHT} and fault.lossless
    first, wanted = _of(proxy, fault.first), _of(proxy, fault.settings)
    live = proxy.have(first)
    before, workers = proxy.machine.listing(), proxy.workers()
    with _present(proxy, fault):
        with proxy.load() as load:
            run = _play(proxy, fault, wanted, TWICE if twice else CONFIGURE)
        plain = None if fault.plain is None else _plainly(proxy, fault, run)
        told = GREEN if not run.failures else run.failure().result.get("reason", PREFLIGHT)
        after = BEFORE if proxy.generation() == live else "the new one"
        replace(story, nginx=proxy.nginx).tell(
            fault.name, told or "none: green", after, load, plain
        )
        if fault.reason == GREEN:
            _is_green(proxy, run, load, live)
            return
        for failure in run.attempts(MODULE) if twice else [run.failure()]:
            _is_refused(proxy, fault, failure, live)
        assert len(run.attempts(MODULE)) == 2 or not twice
        assert differences(before, proxy.machine.listing()) == {}
        if fault.lossless:
            none_lost(load)
        assert load.gap < ROLL_BACK_SECONDS, load.lost[:2]
        if again and not twice:
            _is_refused(proxy, fault, _play(proxy, fault, wanted).failure(), live)
            assert differences(before, proxy.machine.listing()) == {}
    if not fault.rolled_back:
        time.sleep(LATER_SECONDS if fault.to_master else 0)
        assert proxy.workers() <= workers, "something took effect after all"
    assert proxy.generation() == proxy.current() == live
    if again:
        _is_healed(proxy, fault, wanted if fault.around else first, live)


def _of(proxy: Site, settings: Settings) -> Variables:
    return settings(proxy) if callable(settings) else settings


def _play(proxy: Site, fault: Fault, settings: Variables, playbook: str = CONFIGURE) -> Run:
    return proxy.play(settings, playbook=playbook, oaps=fault.oaps)


@contextmanager
def _present(proxy: Site, fault: Fault) -> Iterator[None]:
    machine = proxy.machine
    master = f"MASTER={proxy.master}"
    holders = [proxy.hold(port) for port in fault.holds]
    machine.run("sh", "-euc", fault.cause)
    machine.run("env", master, "sh", "-euc", fault.to_master)
    try:
        yield
    finally:
        machine.run("env", master, "sh", "-euc", fault.from_master)
        machine.run("sh", "-euc", fault.mend)
        for holder in holders:
            proxy.release(holder)


def _plainly(proxy: Site, fault: Fault, run: Run) -> Plain:
    """Try the same the plain way, with the files that ours was asked for."""
    asked: Mapping[str, Any] = {}
    if not fault.exchange:
        asked = run.of_module(MODULE)["invocation"]["module_args"]
    elsewise = proxy.expectation()
    trial = Trial(
        files={one["path"]: one["content"] for one in asked.get("files", ())},
        listeners=asked.get("listeners", elsewise["listeners"]),
        methods=asked.get("methods", elsewise["methods"]),
        exchange=fault.exchange,
        before=f"{fault.to_master}\n{fault.plain}",
        after=f"{fault.from_master}\n{fault.after}",
        holds=fault.holds,
        hangup=fault.hangup,
    )
    return trial.on(proxy.machine)


def _is_green(proxy: Site, run: Run, load: Load, live: str) -> None:
    assert run.changed() == 1
    assert proxy.generation() == proxy.current() != live
    none_lost(load)


def _is_refused(proxy: Site, fault: Fault, failure: Failure, live: str) -> None:
    end = f"Rolled back: generation {live} is live again" if fault.rolled_back else fault.unchanged
    if fault.reason == PREFLIGHT:
        assert "reason" not in failure.result, failure.result
        for part in (*fault.says, end):
            assert part in failure.message, failure.message
    else:
        result = refused(failure, fault.reason, *fault.says, end)
        assert result["rolled_back"] is fault.rolled_back
        assert result["generation"] == live
        assert any(fault.log in line for line in ["", *result["nginx_log"]]), result["nginx_log"]
    assert proxy.generation() == proxy.current() == live


def _is_healed(proxy: Site, fault: Fault, settings: Variables, live: str) -> None:
    with proxy.load() as load:
        healed = proxy.play(settings, playbook=CONFIGURE)
        assert healed.changed() == int(fault.around)
        steady(load)
    none_lost(load)
    assert (proxy.generation() != live) is fault.around
    assert proxy.current() == proxy.generation()
