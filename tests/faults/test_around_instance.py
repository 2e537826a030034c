"""The instance does not run, is kept from it, or is somebody else's."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.faults.around import (
    CHANGE,
    NOTHING,
    SAME,
    Disturbance,
    drop_in,
    heals,
    no_drop_in,
    plainly,
    refused_twice,
)
from tests.faults.fault import Fault, undergo
from tests.faults.files import differences
from tests.faults.site import (
    CONFIGURE,
    MODULE,
    PORT,
    ROOT,
    UNIT,
    USUAL,
    VERIFY,
    Site,
    none_lost,
    steady,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL)
UNIT_FILE = f"/etc/systemd/system/{UNIT}.service"
RESTART_SECONDS = 10.0
# Lines of sh: the unit has failed for good.
FAILED = (
    drop_in("[Service]", "Restart=no")
    + f"systemctl kill --signal=KILL {UNIT}\n"
    + f"until systemctl is-failed --quiet {UNIT}; do sleep 0.05; done\n"
    + no_drop_in()
)
PLAIN_FAILED = (
    "systemctl kill --signal=KILL plain\n"
    "until systemctl is-failed --quiet plain; do sleep 0.05; done\n"
)
STOPPED, PLAIN_STOPPED = f"systemctl stop {UNIT}", "systemctl stop plain\n"
# systemd starts in vain, again and again, what is on disk.
LOOPING = (
    f"echo 'no directive;' >> {ROOT}/current/nginx.conf\n"
    f"systemctl kill --signal=KILL {UNIT}\n"
    f"until [ $(systemctl show --property=NRestarts --value {UNIT}) -ge 2 ]; do sleep 0.05; done"
)
NONSENSE = "echo 'no directive;' >> /etc/nginx/plain/nginx.conf\n"
# An nginx of somebody's own, on our port, for other purposes.
BY_HAND = "/opt/by-hand"
CONFIGURATION = f"""\
pid {BY_HAND}/nginx.pid;
error_log {BY_HAND}/error.log;
events {{}}
http {{ access_log off; server {{ listen {PORT}; return 200 "of somebody's own"; }} }}
"""
# Debian 11's systemd (247) begins its sentence with it, and does not name the condition.
SKIPPED = ("ondition check", "skipped", "faults.conf")


@pytest.mark.parametrize(
    "fault",
    [
        Disturbance("instance stopped", STOPPED, "started", ("nginx does not run",), PLAIN_STOPPED),
        Disturbance("instance failed", FAILED, "started", plain=PLAIN_FAILED),
        Disturbance(
            "what is on disk cannot start, systemd tries each second",
            LOOPING,
            "started",
            ("was edited since it was sealed (nginx.conf)", "nginx does not run"),
            NONSENSE + PLAIN_FAILED,
        ),
    ],
    ids=lambda fault: fault.name,
)
def test_heals(proxy: Site, story: Story, fault: Disturbance) -> None:
    """A run starts it and proves it; the run after changes nothing."""
    heals(proxy, story, fault)


def test_failed_and_its_port_taken(proxy: Site, story: Story) -> None:
    """Where it cannot start, its port is named, as often as it is tried; then it heals."""
    live = proxy.have_usual()
    proxy.machine.run("sh", "-euc", FAILED)
    holder = proxy.hold(PORT)
    says = (f"another program holds 0.0.0.0:{PORT}", "ss -ltnp", "Live now: nothing", "Run again")
    refused_twice(proxy, "not_started", *says)
    story.tell(
        "instance failed, its port taken", "not_started", NOTHING,
        plain=plainly(proxy, PLAIN_FAILED),
    )  # fmt: skip
    proxy.release(holder)
    is_started(proxy, live)


def is_started(proxy: Site, live: str) -> None:
    """Run once more when the cause is gone: it is started and proven, without help."""
    run = proxy.play(playbook=CONFIGURE)
    assert run.changed() == 1
    assert run.of_module(MODULE)["action"] == "started"
    assert proxy.generation() == proxy.current() == live


@pytest.mark.parametrize("serves", [False, True], ids=["stopped", "serving"])
def test_masked(proxy: Site, story: Story, serves: bool) -> None:
    """A unit that somebody masked is left alone, and the message says so."""
    live = proxy.have_usual()
    machine = proxy.machine
    text = machine.run("cat", UNIT_FILE) + "\n"
    plain = "ln -s /dev/null /etc/systemd/system/plain.service\nsystemctl daemon-reload\n"
    if not serves:
        machine.run("systemctl", "stop", UNIT)
        plain = PLAIN_STOPPED + plain
    machine.run("ln", "-sf", "/dev/null", UNIT_FILE)
    machine.run("systemctl", "daemon-reload")
    before = machine.listing()
    try:
        with proxy.load() as load:
            for _time in range(2):
                failure = proxy.play(CHANGE).failure()
                for part in (f"{UNIT}.service is masked", "unmask", "Nothing was changed"):
                    assert part in failure.message
        assert differences(before, machine.listing()) == {}
        told = plainly(
            proxy, plain, "rm /etc/systemd/system/plain.service\nsystemctl daemon-reload\n"
        )
        if serves:
            none_lost(load)
            assert proxy.generation() == live
            story.tell("unit masked while it serves", "preflight", SAME, load, told)
        else:
            story.tell("unit stopped and masked", "preflight", NOTHING, plain=told)
    finally:
        machine.run("rm", "-f", UNIT_FILE)
        machine.write(UNIT_FILE, text)
        machine.run("systemctl", "daemon-reload")
    assert proxy.play(playbook=CONFIGURE).changed() == int(not serves)


@contextmanager
def by_hand(proxy: Site, configuration: str, pid_file: str) -> Iterator[None]:
    """Stop the instance, and have an nginx at work that somebody has started by hand."""
    machine = proxy.machine
    machine.run(*(["docker", "stop"] if proxy.image else ["systemctl", "stop"]), UNIT)
    machine.run("/usr/sbin/nginx", "-c", configuration)
    pid = int(machine.run("cat", pid_file))
    try:
        yield
    finally:
        # QUIT, so that its workers end too.
        machine.run("kill", "-QUIT", str(pid))
        machine.run("sh", "-c", f"while [ -d /proc/{pid} ]; do sleep 0.05; done")


@pytest.mark.nginx(USUAL, container=True)
def test_by_hand_with_another_configuration(proxy: Site, story: Story) -> None:
    """An nginx of somebody's own has the port: it is named, and left alone."""
    live = proxy.have_usual()
    machine = proxy.machine
    machine.run("mkdir", "-p", BY_HAND)
    machine.write(f"{BY_HAND}/nginx.conf", CONFIGURATION)
    with by_hand(proxy, f"{BY_HAND}/nginx.conf", f"{BY_HAND}/nginx.pid"):
        says = (f"another program holds 0.0.0.0:{PORT}", "ss -ltnp", "Live now: nothing")
        refused_twice(proxy, "not_started", *says)
        story.tell(
            "an nginx by hand with another configuration", "not_started", NOTHING,
            plain=plainly(proxy, PLAIN_STOPPED),
        )  # fmt: skip
    is_started(proxy, live)
    machine.run("rm", "-r", BY_HAND)


@pytest.mark.parametrize("change", [False, True], ids=["the same", "a change"])
def test_by_hand_with_our_tree(proxy: Site, story: Story, change: bool) -> None:
    """It answers with the very id that is wanted, and yet nobody looks after it: not green."""
    live = proxy.have_usual()
    with by_hand(proxy, f"{ROOT}/current/nginx.conf", f"/run/{UNIT}/nginx.pid"):
        assert proxy.generation() == live
        says = ("started by hand", "ss -ltnp", "end it", f"Nothing was changed; generation {live}")
        with proxy.load() as load:
            run = refused_twice(proxy, "not_started", *says, change=change)
            assert run.failure().result["generation"] == live
            failure = proxy.play(playbook=VERIFY).failure()
            assert "started by hand" in failure.message
        none_lost(load)
        assert proxy.generation() == live
        if not change:
            plain = (
                PLAIN_STOPPED + "mkdir -p /run/plain /var/log/plain\n"
                "/usr/sbin/nginx -c /etc/nginx/plain/nginx.conf\n"
            )
            end = "kill -QUIT $(cat /run/plain/nginx.pid)\n"
            told = plainly(proxy, plain, end)
            story.tell("an nginx by hand with our tree", "not_started", SAME, load, told)
    is_started(proxy, live)


@pytest.mark.parametrize(
    ("name", "lines", "says"),
    [
        pytest.param("a condition of the unit", ("[Unit]", "ConditionPathExists=/nonexistent"),
                     SKIPPED, id="condition"),
        pytest.param("an assertion of the unit", ("[Unit]", "AssertPathExists=/nonexistent"),
                     ("asserts failed", "faults.conf"), id="assertion"),
        pytest.param("a user that is not there", ("[Service]", "User=nobody-of-that-name"),
                     ("status=217/USER", "faults.conf"), id="user"),
        pytest.param("no command to start", ("[Service]", "ExecStart="),
                     ("bad unit file setting", "faults.conf"), id="no command"),
    ],
)  # fmt: skip
def test_drop_in_that_keeps_it_from_starting(
    proxy: Site, story: Story, name: str, lines: tuple[str, ...], says: tuple[str, ...]
) -> None:
    """What systemd says of it is told, also where systemd ends well all the same."""
    live = proxy.have_usual()
    proxy.machine.run("sh", "-euc", f"{STOPPED}\n{drop_in(*lines)}")
    try:
        refused_twice(proxy, "not_started", *says, "Live now: nothing", "Run again")
        plain = plainly(proxy, PLAIN_STOPPED + drop_in(*lines, unit="plain"), no_drop_in("plain"))
    finally:
        proxy.machine.run("sh", "-euc", no_drop_in())
    story.tell(f"drop-in: {name}", "not_started", NOTHING, plain=plain)
    is_started(proxy, live)


def reload_as(name: str, *lines: str, says: tuple[str, ...]) -> Fault:
    """Return the fault of a unit whose reload is another command."""
    return Fault(
        f"drop-in: {name}",
        CHANGE,
        "not_live",
        (*says, "faults.conf"),
        rolled_back=True,
        cause=drop_in("[Service]", *lines),
        mend=no_drop_in(),
        plain=drop_in("[Service]", *lines, unit="plain"),
        after=no_drop_in("plain"),
    )


@pytest.mark.parametrize(
    "fault",
    [
        reload_as("a reload that does nothing", "ExecReload=", "ExecReload=/bin/true",
                  says=("answers with generation",)),
        reload_as("a reload that fails", "ExecReload=", "ExecReload=/bin/false",
                  says=("Job for oap-proxy.service failed",)),
        reload_as("no reload", "ExecReload=", says=("Job type reload is not applicable",)),
    ],
    ids=lambda fault: fault.name,
)  # fmt: skip
def test_drop_in_that_keeps_it_from_reloading(proxy: Site, story: Story, fault: Fault) -> None:
    """Nginx is never told to reload: found, and what serves goes on."""
    undergo(proxy, story, fault)


@pytest.mark.nginx(USUAL, container=True)
def test_killed_master(proxy: Site, story: Story) -> None:
    """Systemd, or the engine, starts a killed nginx again, and the same generation is live."""
    live = proxy.have_usual()
    master = proxy.master
    with proxy.load() as load:
        steady(load)
        proxy.machine.run("kill", "-KILL", str(master))
        end = time.monotonic() + RESTART_SECONDS
        while proxy.master in {0, master} or proxy.machine.generation(PORT) != live:
            assert time.monotonic() < end, "nobody started it again"
            time.sleep(0.05)
    assert load.gap < RESTART_SECONDS
    story.tell("kill -9 of nginx", "- (started again)", "the same", load)
