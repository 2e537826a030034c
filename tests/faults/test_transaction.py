"""Nothing is wrong: what a run changes, what it shows, and what it leaves."""

from tests.faults.files import differences
from tests.faults.site import (
    GENERATION,
    MODULE,
    ROOT,
    UNINSTALL,
    UNIT,
    Site,
    none_lost,
)
from tests.faults.table import Story

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


def test_unchanged_run(proxy: Site) -> None:
    """A run with nothing to do asks the host once, compares, and reaches the OAPs; no more."""
    proxy.have_usual()
    run = proxy.play()
    assert run.changed() == 0
    names = ("nginx_facts", "nginx_config", "grpc_probe")
    ran = [one.module for one in run.results if one.module not in ON_CONTROLLER]
    assert ran == [f"skywalking.oap_proxy.{name}" for name in names]


def test_check_and_diff(proxy: Site, story: Story) -> None:
    """--check --diff shows the change, has nginx test it, and touches nothing."""
    live = proxy.have_usual()
    before = proxy.machine.listing()
    pid = proxy.machine.pid(UNIT)
    with proxy.load() as load:
        run = proxy.play({"grpc_proxy_balance": "least_conn"}, "--check")
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


def test_two_proxies_on_one_host(proxy: Site, story: Story) -> None:
    """Another name is another proxy, and leaves nothing when it is removed."""
    live, pid = proxy.have_usual(), proxy.machine.pid(UNIT)
    before = proxy.machine.listing()
    second = {
        "grpc_proxy_name": SECOND,
        "grpc_proxy_listen": [{"port": SECOND_PORT}],
        "grpc_proxy_tls": {},
    }
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
