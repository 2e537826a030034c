"""An OAP is gone, or the worker processes alone may not do what root may."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.around import CHANGE, SAME, plainly
from tests.faults.site import (
    CONFIGURE,
    MODULE,
    PORT,
    UNIT,
    USUAL,
    VERIFY,
    Site,
    none_lost,
    snippet,
    steady,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL)
DENIED = "13: Permission denied"
# Where root alone may go, who opens the usual logs for the workers.
PRIVATE = f"/var/log/{UNIT}/private"


@pytest.mark.nginx(USUAL, container=True)
def test_oap_that_is_stopped(proxy: Site, story: Story) -> None:
    """Verify names the OAP that does not answer; calls go on through the other one."""
    live = proxy.have_usual()
    proxy.stop_oap("oap2")
    try:
        with proxy.load() as load:
            failure = proxy.play(playbook=VERIFY).failure()
    finally:
        proxy.start_oap("oap2")
    gone = proxy.lab.host("oap2")
    for part in ("oap2: no answer through proxy1", f"{gone.address}:{PORT}", "UNAVAILABLE"):
        assert part in failure.message
    assert "oap1" not in failure.message
    assert proxy.play(playbook=VERIFY).changed() == 0
    assert proxy.generation() == live
    none_lost(load)
    story.tell("an OAP stopped", "verify names it", SAME, load)


@contextmanager
def denied(proxy: Site) -> Iterator[None]:
    """Have the kernel refuse every way to the OAPs to the worker processes alone, as SELinux may.

    A route that is prohibited for their user: connect() ends with EACCES.
    """
    machine = proxy.machine
    user = machine.run("id", "-u", "www-data")
    rules = [
        ("uidrange", f"{user}-{user}", "to", oap.address, "prohibit")
        for oap in proxy.lab.of_kind("oap")
    ]
    for rule in rules:
        machine.run("ip", "rule", "add", *rule)
    try:
        yield
    finally:
        for rule in rules:
            machine.run("ip", "rule", "del", *rule)


@pytest.mark.nginx(USUAL, container=True)
def test_workers_that_may_not_connect(proxy: Site, story: Story) -> None:
    """The configuration is live and no OAP is reached: told with each OAP and the kernel's word."""
    live = proxy.have_usual()
    says = [
        f"{oap.name}: connect() to {oap.address}:{PORT} failed ({DENIED})"
        for oap in proxy.lab.of_kind("oap")
    ]
    with denied(proxy):
        told = plainly(proxy)
        for _time in range(2):
            with proxy.load() as load:
                failure = proxy.play(CHANGE).failure()
            for part in ("oap1, oap2: no answer through proxy1", *says, "is live", "mend the way"):
                assert part in failure.message, failure.message
        assert {lost.status for lost in load.lost} == {"UNAVAILABLE"}
        assert len(load.lost) == load.made
    story.tell(
        "workers that may not connect to the OAPs", "verification", "the new one", load, told
    )
    assert proxy.generation() == proxy.current() != live
    with proxy.load() as load:
        assert proxy.play(CHANGE).changed() == 0
        steady(load)
    none_lost(load)


@pytest.mark.nginx(USUAL, container=True)
def test_log_that_the_workers_cannot_open(proxy: Site, story: Story) -> None:
    """A log that root's process does not open for them: live and proven, and a warning says it."""
    live = proxy.have_usual()
    machine = proxy.machine
    machine.run("install", "--directory", "--mode=0700", PRIVATE)
    # With a variable in its name each worker opens it by itself.
    settings = snippet(f"access_log {PRIVATE}/$server_port.log combined;")
    try:
        with proxy.load() as load:
            run = proxy.play(settings, playbook=CONFIGURE)
        assert run.changed() == 1
        warnings = run.of_module(MODULE)["warnings"]
        assert any(f"{PRIVATE}/{PORT}.log" in one and DENIED in one for one in warnings), warnings
        assert proxy.generation() == proxy.current() != live
        none_lost(load)
        story.tell("a log that the workers cannot open", "none: a warning", "the new one", load)
    finally:
        machine.run("rm", "-r", PRIVATE)
    assert proxy.play(playbook=CONFIGURE).changed() == 1
    assert proxy.generation() == live
