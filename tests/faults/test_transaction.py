"""What goes wrong while a configuration is brought live, and what serves the calls meanwhile.

Every test begins with a generation that is live, and runs under a small load: what was to change
nothing, or to reload, loses no call.
"""

import time
from typing import Any

import pytest

from tests.faults.load import COLLECT
from tests.faults.machine import differences
from tests.faults.playbook import Failure
from tests.faults.site import (
    CONFIGURE,
    GENERATION,
    PORT,
    ROOT,
    UNINSTALL,
    UNIT,
    VERIFY,
    Site,
    Story,
    none_lost,
    steady,
)

MODULE = "skywalking.oap_proxy.nginx_config"
TAKEN = 11801
UNIT_FILE = f"/etc/systemd/system/{UNIT}.service"
# What runs on the controller alone.
ON_CONTROLLER = {
    *(
        f"ansible.builtin.{name}"
        for name in (
            "assert", "debug", "include_role", "include_vars", "set_fact", "validate_argument_spec"
        )
    ),
}  # fmt: skip
SECOND = "oap-second"
SECOND_PORT = 11900
RESTART_SECONDS = 10.0
# A broken generation serves until its proof has failed. Found by its answers, that is sooner
# than by the end of the proof's time.
ROLL_BACK_SECONDS = 4.0
COLLECTS = f"location ^~ {COLLECT.rpartition('/')[0]}/ {{ return 204; }}"


def snippet(lines: str) -> dict[str, Any]:
    """Return the settings that put lines into every server block."""
    return {"grpc_proxy_snippets": {"server": lines}}


def listen(*entries: dict[str, Any]) -> dict[str, Any]:
    """Return the settings for some listeners."""
    return {"grpc_proxy_listen": list(entries)}


def refused(failure: Failure, reason: str, *parts: str) -> dict[str, Any]:
    """Hold that the module failed for a reason, and that its message says some things."""
    assert failure.result.get("reason") == reason, failure.result
    for part in parts:
        assert part in failure.message, failure.message
    return failure.result


def test_syntax_error(proxy: Site, story: Story) -> None:
    """Nginx's own words come with file and line, and nothing is touched."""
    live = proxy.generation()
    before = proxy.machine.listing()
    with proxy.load() as load:
        run = proxy.play(snippet("client_max_body_sise 0;"), playbook=CONFIGURE)
    result = refused(
        run.failure(), "rejected",
        'unknown directive "client_max_body_sise"', "server.d/90-snippet.conf:1",
        "Nothing was changed", live,
    )  # fmt: skip
    assert any("client_max_body_sise" in line for line in result["nginx_log"])
    assert result["generation"] == live
    assert differences(before, proxy.machine.listing()) == {}
    assert proxy.generation() == live
    none_lost(load)
    story.tell("syntax error in a snippet", result["reason"], "as before", load)


def test_port_of_another_program(proxy: Site, story: Story) -> None:
    """A reload that cannot have a port is noticed, and works once the port is free."""
    live = proxy.generation()
    before = proxy.machine.listing()
    wanted = listen({"port": PORT}, {"port": TAKEN})
    holder = proxy.hold(TAKEN)
    with proxy.load() as load:
        run = proxy.play(wanted, playbook=CONFIGURE)
        result = refused(
            run.failure(), "not_live", f"0.0.0.0:{TAKEN}", "another program", "Rolled back", live
        )
        assert any("98: Address already in use" in line for line in result["nginx_log"])
        assert result["rolled_back"] is True
        assert result["generation"] == proxy.generation() == live
        assert differences(before, proxy.machine.listing()) == {}
        story.tell("port of another program", result["reason"], "as before", load)

        proxy.release(holder)
        freed = proxy.play(wanted, playbook=CONFIGURE)
        assert freed.changed() == 1
        assert freed.of_module(MODULE)["action"] == "reloaded"
        assert proxy.machine.generation(TAKEN) == proxy.generation() != live
    none_lost(load)
    story.tell("the same, port free again", "-", "the new one", load)


def test_what_todays_roles_see_of_it(proxy: Site, story: Story) -> None:
    """The contrast: nginx -t and a reload of the host's own nginx report success, falsely."""
    machine = proxy.machine
    site = "/etc/nginx/conf.d/taken.conf"
    holder = proxy.hold(TAKEN + 1)
    machine.write(site, f"server {{ listen {TAKEN + 1}; return 204; }}\n")
    try:
        assert machine.status("nginx", "-t") == 0
        assert machine.status("systemctl", "reload", "nginx") == 0
        # Five tries to bind, half a second apart.
        time.sleep(3.5)
        assert machine.state("nginx") == "active"
        serving = machine.run("ss", "-ltnpH", "sport", "=", f":{TAKEN + 1}")
        assert f"pid={holder}," in serving
        assert "nginx" not in serving
    finally:
        machine.run("rm", "-f", site)
        proxy.release(holder)
        machine.run("systemctl", "reload", "nginx")
    story.tell("the same, nginx -t and reload alone", "none: exit status 0 twice", "as before")


@pytest.mark.parametrize(
    ("lines", "reason", "turns"),
    [
        pytest.param(COLLECTS, "fallback", 2, id="one-service-answers-204"),
        pytest.param(
            "if ($request_method = POST) { return 204; }", "not_live", 1, id="all-answer-204"
        ),
        pytest.param(
            'if ($uri ~ "^/-/oap-proxy/") { return 404; }', "not_live", 1, id="proof-is-closed"
        ),
        pytest.param("deny all;", "fallback", 1, id="all-are-denied"),
    ],
)
def test_fallback_overridden(
    proxy: Site, story: Story, request: pytest.FixtureRequest, lines: str, reason: str, turns: int
) -> None:
    """A snippet that overrides the fallback or hides the proof is rolled back, every time.

    It can be seen by its answers alone, so it serves from its reload to its refusal: that is
    held to be short.
    """
    live = proxy.generation()
    before = proxy.machine.listing()
    for turn in range(1, turns + 1):
        with proxy.load() as load:
            run = proxy.play(snippet(lines), playbook=CONFIGURE)
        story.tell(f"{request.node.callspec.id}, run {turn}", reason, "as before", load)
        result = refused(run.failure(), reason, "Rolled back", live)
        assert result["rolled_back"] is True
        assert result["generation"] == proxy.generation() == live
        assert differences(before, proxy.machine.listing()) == {}
        assert load.gap < ROLL_BACK_SECONDS, load.lost[:2]
    with proxy.load() as load:
        steady(load)
    none_lost(load)


def test_unchanged_run(proxy: Site) -> None:
    """A run with nothing to do asks the host once, compares, and reaches the OAPs; no more."""
    proxy.have_usual()
    run = proxy.play()
    assert run.changed() == 0
    names = ("nginx_facts", "nginx_config", "grpc_probe")
    ran = [one.module for one in run.results if one.module not in ON_CONTROLLER]
    assert ran == [f"skywalking.oap_proxy.{name}" for name in names]


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


def test_change_that_takes_a_restart(proxy: Site, story: Story) -> None:
    """From all addresses to one: refused with nothing changed, and done where it is allowed."""
    live = proxy.have_usual()
    before = proxy.machine.listing()
    address = proxy.lab.host("proxy1").address
    single = listen({"address": address, "port": PORT})
    with proxy.load() as load:
        run = proxy.play(single, playbook=CONFIGURE)
    result = refused(
        run.failure(), "restart_needed",
        f"{address}:{PORT}", "grpc_proxy_allow_restart", "Nothing was changed",
    )  # fmt: skip
    assert result["generation"] == proxy.generation() == live
    assert differences(before, proxy.machine.listing()) == {}
    none_lost(load)
    story.tell("from all addresses to one", result["reason"], "as before", load)

    with proxy.load() as load:
        run = proxy.play({**single, "grpc_proxy_allow_restart": True}, playbook=CONFIGURE)
        assert run.changed() == 1
    assert run.of_module(MODULE)["action"] == "restarted"
    assert GENERATION.fullmatch(proxy.machine.generation(PORT, address))
    assert "Connection refused" in proxy.machine.generation()
    assert load.gap < RESTART_SECONDS
    story.tell("the same, restart allowed", "- (restarted)", "the new one", load)

    assert proxy.play({"grpc_proxy_allow_restart": True}, playbook=CONFIGURE).changed() == 1
    assert proxy.generation() == live


def test_check_and_diff(proxy: Site, story: Story) -> None:
    """--check --diff shows the change, has nginx test it, and touches nothing."""
    live = proxy.have_usual()
    before = proxy.machine.listing()
    pid = proxy.machine.pid(UNIT)
    with proxy.load() as load:
        run = proxy.play({"grpc_proxy_balance": "least_conn"}, "--check", "--diff")
        assert run.changed() == 1
    shown = run.of_module(MODULE)["diff"]
    changed = {part["before_header"].split()[0]: part for part in shown}
    upstreams = changed["http.d/50-upstreams.conf"]
    assert "least_conn;" in upstreams["after"]
    assert "least_conn;" not in upstreams["before"]
    assert differences(before, proxy.machine.listing()) == {}
    assert proxy.machine.run("find", "/tmp", "-name", "oap-proxy-*") == ""  # noqa: S108
    assert proxy.generation() == live
    assert proxy.machine.pid(UNIT) == pid
    none_lost(load)
    story.tell("--check --diff", "-", "as before", load)


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


def test_two_proxies_on_one_host(proxy: Site, story: Story) -> None:
    """Another name is another proxy, and leaves nothing when it is removed."""
    live, pid = proxy.have_usual(), proxy.machine.pid(UNIT)
    before = proxy.machine.listing()
    second = {"grpc_proxy_name": SECOND, **listen({"port": SECOND_PORT})}
    with proxy.load() as load:
        run = proxy.play_on({"proxy1": {}, "another": second})
        assert run.changed("proxy1") == 0
        assert run.changed("another") > 0
        other = proxy.machine.generation(SECOND_PORT)
        assert GENERATION.fullmatch(other)
        assert other != live
        assert proxy.machine.pid(SECOND) not in {0, pid}
        story.tell("two names on one host", "-", "both", load)

        assert proxy.play(second, playbook=UNINSTALL).changed() > 0
        assert proxy.machine.pid(SECOND) == 0
        assert differences(before, proxy.machine.listing()) == {}
    assert proxy.generation() == live
    assert proxy.machine.pid(UNIT) == pid
    none_lost(load)
    story.tell("one of them uninstalled", "-", "the other", load)


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


def test_uninstalled(proxy: Site, story: Story) -> None:
    """The last of all: nothing is left but the package and the host's own nginx."""
    machine = proxy.machine
    proxy.generation()
    run = proxy.play(playbook=UNINSTALL)
    assert run.changed() > 0
    left = [path for path in machine.listing() if UNIT in path]
    assert left == []
    assert machine.unit(UNIT, "LoadState") == {"LoadState": "not-found"}
    assert machine.status("pgrep", "-f", f"{ROOT}/current/nginx.conf") == 1
    assert machine.run("dpkg-query", "--show", "--showformat=${db:Status-Status}", "nginx") == (
        "installed"
    )
    assert proxy.play(playbook=UNINSTALL).changed() == 0
    story.tell("uninstalled", "-", "the host's own nginx")
