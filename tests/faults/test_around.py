"""Something around the proxy is wrong: its unit, its processes, its files, its OAPs."""

import time

import pytest

from tests.faults.machine import differences
from tests.faults.site import (
    MODULE,
    PORT,
    ROOT,
    UNIT,
    USUAL,
    VERIFY,
    Site,
    none_lost,
    refused,
    steady,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL)
UNIT_FILE = f"/etc/systemd/system/{UNIT}.service"
RESTART_SECONDS = 10.0


@pytest.mark.parametrize(
    ("disturb", "heal"),
    [
        pytest.param(f"echo '# more' >> {UNIT_FILE}", 1, id="unit-edited"),
        pytest.param(f"rm {UNIT_FILE} && systemctl daemon-reload", 1, id="unit-removed"),
        pytest.param(f"chmod 0666 /etc/logrotate.d/{UNIT}", 1, id="mode"),
        pytest.param(f"systemctl disable {UNIT}", 1, id="disabled"),
        pytest.param(
            f"rm /etc/systemd/system/multi-user.target.wants/{UNIT}.service", 1, id="not-at-boot"
        ),
        pytest.param(f"touch {UNIT_FILE}", 0, id="unit-not-read"),
    ],
)
def test_unit_that_was_disturbed(proxy: Site, disturb: str, heal: int) -> None:
    """What somebody did to the unit's files is healed, and systemd knows of it."""
    live = proxy.have_usual()
    machine = proxy.machine
    before = machine.listing()
    machine.run("sh", "-c", disturb)
    assert proxy.play().changed() == heal
    assert differences(before, machine.listing()) == {}
    assert machine.run("systemctl", "is-enabled", UNIT) == "enabled"
    assert machine.unit(UNIT, "NeedDaemonReload") == {"NeedDaemonReload": "no"}
    assert proxy.generation() == live


def test_stopped_instance(proxy: Site, story: Story) -> None:
    """An instance that was stopped is started and proven; the run after changes nothing."""
    proxy.machine.run("systemctl", "stop", UNIT)
    run = proxy.play()
    assert run.changed() == 1
    assert run.of_module(MODULE)["action"] == "started"
    assert proxy.generation() == proxy.usual
    with proxy.load() as load:
        assert proxy.play().changed() == 0
    none_lost(load)
    story.tell("instance stopped", "- (started)", "the usual one", load)


def test_masked_instance(proxy: Site, story: Story) -> None:
    """A unit that somebody masked is not started behind their back, and the message says so."""
    unit = f"/etc/systemd/system/{UNIT}.service"
    machine = proxy.machine
    text = machine.run("cat", unit) + "\n"
    machine.run("systemctl", "stop", UNIT)
    machine.run("ln", "-sf", "/dev/null", unit)
    machine.run("systemctl", "daemon-reload")
    try:
        failure = proxy.play().failure()
        assert "masked" in failure.message
        assert f"{UNIT}.service" in failure.message
        assert machine.run("readlink", unit) == "/dev/null"
        story.tell("instance masked", "masked", "nothing, as before")
    finally:
        machine.run("rm", "-f", unit)
        machine.write(unit, text)
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", UNIT)


def test_failed_instance(proxy: Site, story: Story) -> None:
    """A unit that has failed is started; where it cannot be, its port is named."""
    live = proxy.have_usual()
    machine = proxy.machine
    folder = f"/run/systemd/system/{UNIT}.service.d"
    machine.run("mkdir", "-p", folder)
    machine.write(f"{folder}/no-restart.conf", "[Service]\nRestart=no\n")
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "kill", "--signal=KILL", UNIT)
    end = time.monotonic() + RESTART_SECONDS
    while machine.state(UNIT) != "failed":
        assert time.monotonic() < end, machine.state(UNIT)
        time.sleep(0.05)
    machine.run("rm", "-r", folder)
    machine.run("systemctl", "daemon-reload")

    holder = proxy.hold(PORT)
    run = proxy.play()
    result = refused(run.failure(), "not_started", f"0.0.0.0:{PORT}", "another program")
    assert result["generation"] is None
    assert proxy.current() == live
    story.tell("instance failed, its port taken", result["reason"], "nothing, as before")

    proxy.release(holder)
    run = proxy.play()
    assert run.changed() == 1
    assert run.of_module(MODULE)["action"] == "started"
    assert proxy.generation() == live
    story.tell("the same, port free again", "- (started)", "the usual one")


def test_killed_master(proxy: Site, story: Story) -> None:
    """Systemd starts a killed nginx again, and the same generation is live."""
    live = proxy.have_usual()
    master = proxy.machine.pid(UNIT)
    with proxy.load() as load:
        steady(load)
        proxy.machine.run("kill", "-KILL", str(master))
        end = time.monotonic() + RESTART_SECONDS
        while proxy.machine.state(UNIT) != "active" or proxy.machine.pid(UNIT) in {0, master}:
            assert time.monotonic() < end, "systemd did not start it again"
            time.sleep(0.05)
        assert proxy.generation() == live
    assert load.gap < RESTART_SECONDS
    story.tell("kill -9 of nginx", "- (Restart=)", "the same", load)


def test_edited_by_hand(proxy: Site, story: Story) -> None:
    """A file changed by hand is noticed by verify and healed by site.yml."""
    live = proxy.have_usual()
    whole = proxy.machine.listing(ROOT)
    edited = f"{ROOT}/current/http.d/10-streams.conf"
    with proxy.load() as load:
        proxy.machine.run("sh", "-c", f"echo 'client_max_body_size 1m;' >> {edited}")
        failure = proxy.play(playbook=VERIFY).failure()
        assert "proxy1: what is live is not what the inventory says" in failure.message
        run = proxy.play()
        assert run.changed() == 1
    assert proxy.generation() == live
    assert differences(whole, proxy.machine.listing(ROOT)) == {}
    none_lost(load)
    story.tell("a generation edited by hand", "verify fails, site.yml heals", "the same", load)


def test_current_points_elsewhere(proxy: Site, story: Story) -> None:
    """An old generation on disk is noticed, although the right one is still live."""
    live = proxy.have_usual()
    kept = proxy.machine.run("ls", f"{ROOT}/generations").split()
    old = next(name for name in kept if name != live)
    with proxy.load() as load:
        proxy.machine.run("ln", "-sfn", f"generations/{old}", f"{ROOT}/current")
        failure = proxy.play(playbook=VERIFY).failure()
        for part in ("proxy1: what is live is not", old, live):
            assert part in failure.message
        assert proxy.play().changed() == 1
    assert proxy.generation() == proxy.current() == live
    none_lost(load)
    story.tell(
        "current points to an old generation", "verify fails, site.yml heals", "the same", load
    )


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
    story.tell("an OAP stopped", "verify names it", "the same", load)
