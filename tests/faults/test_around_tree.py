"""The files on the host are not as the run before has left them."""

import pytest

from tests.faults.around import CHANGE, SAME, Disturbance, heals, refused_twice
from tests.faults.files import differences
from tests.faults.site import CONFIGURE, MODULE, ROOT, UNIT, USUAL, VERIFY, Site, none_lost
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL)
UNIT_FILE = f"/etc/systemd/system/{UNIT}.service"
ROLLBACK = "playbooks/rollback.yml"
GONE = "generations/ffffffffffff"
STREAMS = "http.d/10-streams.conf"
NO_GENERATION = (f"{ROOT}/current leads to no generation",)


@pytest.mark.parametrize(
    ("disturb", "heal"),
    [
        pytest.param(f"echo '# more' >> {UNIT_FILE}", 1, id="unit edited"),
        pytest.param(f"rm {UNIT_FILE} && systemctl daemon-reload", 1, id="unit removed"),
        pytest.param(f"chmod 0666 /etc/logrotate.d/{UNIT}", 1, id="mode of a file of ours"),
        pytest.param(f"systemctl disable {UNIT}", 1, id="unit disabled"),
        pytest.param(
            f"rm /etc/systemd/system/multi-user.target.wants/{UNIT}.service",
            1,
            id="unit not started at boot",
        ),
        pytest.param(f"touch {UNIT_FILE}", 0, id="unit not read by systemd"),
    ],
)
def test_unit_that_was_disturbed(
    request: pytest.FixtureRequest, proxy: Site, story: Story, disturb: str, heal: int
) -> None:
    """What somebody did to the unit's files is healed, and systemd knows of it."""
    live = proxy.have_usual()
    machine = proxy.machine
    before = machine.listing()
    with proxy.load() as load:
        machine.run("sh", "-c", disturb)
        assert proxy.play().changed() == heal
    assert differences(before, machine.listing()) == {}
    assert machine.run("systemctl", "is-enabled", UNIT) == "enabled"
    assert machine.unit(UNIT, "NeedDaemonReload") == {"NeedDaemonReload": "no"}
    assert proxy.generation() == live
    none_lost(load)
    name = request.node.callspec.id.rpartition(f"{proxy.nginx}-")[2]
    story.tell(name, "none: healed", SAME, load)


@pytest.mark.nginx(USUAL, container=True)
@pytest.mark.parametrize(
    "fault",
    [
        Disturbance(
            "a generation edited by hand",
            f"echo 'client_max_body_size 1m;' >> {ROOT}/current/{STREAMS}",
            "reloaded",
            (f"was edited since it was sealed ({STREAMS})",),
        ),
        Disturbance(
            "current leads to no generation",
            f"ln -sfn {GONE} {ROOT}/current",
            "reloaded",
            NO_GENERATION,
        ),
        Disturbance("current is not there", f"rm {ROOT}/current", "reloaded", ("none is on disk",)),
        Disturbance(
            "current leads to an old generation",
            f"ln -sfn generations/$(ls {ROOT}/generations | grep -v $(basename "
            f"$(readlink {ROOT}/current)) | head -n 1) {ROOT}/current",
            "reloaded",
            ("is live, while", "is on disk"),
        ),
        Disturbance(
            "current leads out of the tree",
            f"ln -sfn /etc/nginx {ROOT}/current",
            "reloaded",
            NO_GENERATION,
        ),
        # What serves may have been read from anything: it is read again, and proven.
        Disturbance("proven leads to no generation", f"ln -sfn {GONE} {ROOT}/proven", "reloaded"),
        Disturbance("proven is not there", f"rm {ROOT}/proven", "reloaded"),
    ],
    ids=lambda fault: fault.name,
)
def test_heals(proxy: Site, story: Story, fault: Disturbance) -> None:
    """Verify tells it; a run takes it back, while what is live goes on."""
    have_two(proxy)
    heals(proxy, story, fault)


def have_two(proxy: Site) -> None:
    """Have a generation on disk beside the usual one, which is live."""
    proxy.have(CHANGE)
    proxy.have_usual()


@pytest.mark.nginx(USUAL, container=True)
@pytest.mark.parametrize(
    ("link", "kind"), [("current", "directory"), ("proven", "file"), ("previous", "file")]
)
def test_something_in_the_place_of_a_link(proxy: Site, story: Story, link: str, kind: str) -> None:
    """What somebody has put there is not ours to replace: named, and left alone."""
    have_two(proxy)
    live = proxy.generation()
    make = "mkdir" if kind == "directory" else "echo somebodys >"
    path = f"{ROOT}/{link}"
    says = (f"{path} is no link", "move it away", "run again", f"generation {live} is still live")
    proxy.machine.run("sh", "-euc", f"mv {path} /root/{link}\n{make} {path}")
    try:
        with proxy.load() as load:
            refused_twice(proxy, "rejected", *says, change=True)
    finally:
        proxy.machine.run("sh", "-euc", f"rm -r {path}\nmv /root/{link} {path}")
    assert proxy.generation() == proxy.current() == live
    none_lost(load)
    story.tell(f"a {kind} in the place of {link}", "rejected", SAME, load)
    assert proxy.play(CHANGE, playbook=CONFIGURE).changed() == 1


@pytest.mark.nginx(USUAL, container=True)
def test_previous_that_leads_nowhere(proxy: Site, story: Story) -> None:
    """A rollback says that there is nothing to go back to, and what there is; a run heals it."""
    have_two(proxy)
    live = proxy.generation()
    proxy.machine.run("ln", "-sfn", GONE, f"{ROOT}/previous")
    before = proxy.machine.listing()
    with proxy.load() as load:
        failure = proxy.play({"grpc_proxy_generation": "previous"}, playbook=ROLLBACK).failure()
    for part in ("there is no generation previous", ROOT, live, "Nothing was changed"):
        assert part in failure.message
    assert failure.result["generation"] == live
    assert differences(before, proxy.machine.listing()) == {}
    none_lost(load)
    story.tell("previous leads to no generation, rollback", "rejected", SAME, load)
    changed = proxy.have(CHANGE)
    assert proxy.machine.run("readlink", f"{ROOT}/previous") == f"generations/{live}"
    run = proxy.play({"grpc_proxy_generation": "previous"}, playbook=ROLLBACK)
    assert run.changed() == 1
    assert proxy.generation() == proxy.current() == live != changed


@pytest.mark.nginx(USUAL, container=True)
def test_edited_and_verified(proxy: Site) -> None:
    """Verify changes nothing of what it tells."""
    live = proxy.have_usual()
    proxy.machine.run("sh", "-c", f"echo '# more' >> {ROOT}/current/{STREAMS}")
    before = proxy.machine.listing()
    failure = proxy.play(playbook=VERIFY).failure()
    assert live in failure.message
    assert STREAMS in failure.message
    assert differences(before, proxy.machine.listing()) == {}
    run = proxy.play()
    assert run.changed() == 1
    assert any(STREAMS in told for told in run.of_module(MODULE)["drift"])
