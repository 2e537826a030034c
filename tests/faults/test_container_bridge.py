"""A container on the engine's own network: its ports are published, for one container at a time."""

import time
from typing import Any

import pytest

from tests.faults.files import differences
from tests.faults.playbook import Variables
from tests.faults.secrets import TLS_PORT
from tests.faults.site import (
    CONTAINER,
    MODULE,
    PORT,
    ROOT,
    UNIT,
    VERIFY,
    Site,
    listen,
    none_lost,
    refused,
    steady,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(CONTAINER)
BRIDGE = {"grpc_proxy_container_network": "bridge"}
ALLOWED = {"grpc_proxy_allow_restart": True}
FURTHER = 11801
MORE: dict[str, Any] = {**BRIDGE, **listen({"port": PORT}, {"port": FURTHER})}
# The one before ends, and its streams with it; the one after opens the ports.
RESTART_SECONDS = 10.0
HEALTH = "--format={{.State.Health.Status}}"
HEALTH_SECONDS = 75.0
ONE_AT_A_TIME = ("for one container at a time", "Set grpc_proxy_allow_restart")


def published(proxy: Site) -> set[int]:
    """Return the ports that the engine publishes for the proxy."""
    lines = proxy.machine.run("docker", "port", UNIT).splitlines()
    return {int(line.split("/")[0]) for line in lines}


def generation(proxy: Site) -> str:
    """Return the id that is live, told to the host itself."""
    return proxy.machine.generation(PORT)


def running(proxy: Site) -> list[str]:
    """Return the ids of the containers that run."""
    return proxy.machine.run("docker", "ps", "--quiet", "--no-trunc").split()


def is_healthy(proxy: Site) -> None:
    """Hold that docker finds the container healthy by itself, within two of its questions."""
    end = time.monotonic() + HEALTH_SECONDS
    while (told := proxy.machine.run("docker", "inspect", HEALTH, UNIT)) != "healthy":
        assert told == "starting", told
        assert time.monotonic() < end, "docker does not ask"
        time.sleep(0.5)


def health(proxy: Site) -> tuple[int, str]:
    """Return exit status and words of what docker asks for the health of the container."""
    script = f"docker exec {UNIT} sh {ROOT}/current/health.sh; echo $?"
    words, _space, status = proxy.machine.run("sh", "-c", script).rpartition("\n")
    return int(status), words


def replaced(proxy: Site, settings: Variables, story: Story, fault: str) -> None:
    """Hold that it takes a permission, and that the gap is short where there is one."""
    live, master = generation(proxy), proxy.master
    before, containers = proxy.machine.listing(), running(proxy)
    with proxy.load() as load:
        for arguments in (["--check"], []):
            failure = proxy.play(settings, *arguments).failure()
            for part in (*ONE_AT_A_TIME, "What serves was not touched"):
                assert part in failure.message, failure.message
    none_lost(load)
    assert differences(before, proxy.machine.listing()) == {}
    assert (running(proxy), proxy.master, proxy.current()) == (containers, master, live)
    story.tell(fault, "preflight", "as before", load)
    assert proxy.play({**settings, **ALLOWED}, "--check").changed() >= 1
    assert (running(proxy), proxy.master, proxy.current()) == (containers, master, live)
    with proxy.load() as load:
        run = proxy.play({**settings, **ALLOWED})
        assert run.changed() >= 1
        steady(load)
    assert run.of_module(MODULE)["action"] == "restarted"
    assert proxy.master not in {0, master}
    assert generation(proxy) == proxy.current() != live
    assert load.gap < RESTART_SECONDS, load.lost[:2]
    story.tell(f"{fault}, restart allowed", "none: restarted", "the new one", load)
    assert proxy.play(settings).changed() == 0


def test_published_ports(proxy: Site, story: Story) -> None:
    """From the host's network to the engine's, all that there is of changes, and back.

    In one test, because each way takes another container.
    """
    proxy.have_usual()
    try:
        replaced(proxy, BRIDGE, story, "from the host's network to the bridge")
        assert published(proxy) == {PORT, TLS_PORT}
        proxy.play(BRIDGE, playbook=VERIFY).changed()
        source_addresses(proxy, story)
        is_reloaded(proxy, story)
        port_is_taken(proxy, story)
        replaced(proxy, MORE, story, "another listener on the bridge")
        assert published(proxy) == {PORT, FURTHER, TLS_PORT}
        # One less is another container, too; the permission may be a word of the command line.
        failure = proxy.play(BRIDGE, "--check").failure()
        assert ONE_AT_A_TIME[0] in failure.message, failure.message
        proxy.play(BRIDGE, "--extra-vars", "grpc_proxy_allow_restart=true").changed()
        assert published(proxy) == {PORT, TLS_PORT}
        is_healthy(proxy)
    finally:
        proxy.play(ALLOWED).changed()
        proxy.usual = proxy.generation()


def source_addresses(proxy: Site, story: Story) -> None:
    """The host's own calls come from the engine's gateway; the proof is for them alone."""
    live = generation(proxy)
    assert proxy.machine.generation(PORT) == live
    # The machine of the tests is not the host: UNIMPLEMENTED, and no id. By IPv6 it would come from
    # where the host itself comes from, so nobody answers it there.
    assert proxy.told_from_afar(proxy.address) == "no id, HTTP status 200"
    with pytest.raises(ConnectionRefusedError):
        proxy.told_from_afar(proxy.host.address6)
    story.tell("the bridge's source addresses at the proof", "none: green", "the usual one")


def is_reloaded(proxy: Site, story: Story) -> None:
    """What no other container is needed for is a reload, without a gap."""
    live, master = generation(proxy), proxy.master
    assert health(proxy) == (0, f"generation {live}")
    with proxy.load() as load:
        run = proxy.play({**BRIDGE, "grpc_proxy_balance": "least_conn"})
        assert run.changed() == 1
        steady(load)
    none_lost(load)
    assert run.of_module(MODULE)["action"] == "reloaded"
    assert (proxy.master, generation(proxy) != live) == (master, True)
    story.tell("another configuration on the bridge", "none: reloaded", "the new one", load)
    # Health is that what is live is what is on disk, which is another one now.
    proxy.machine.run("ln", "-sfn", f"generations/{live}", f"{ROOT}/current")
    status, words = health(proxy)
    assert (status, f"does not answer with generation {live}" in words) == (1, True), words
    assert proxy.play(BRIDGE).changed() == 1
    assert health(proxy) == (0, f"generation {live}")


def port_is_taken(proxy: Site, story: Story) -> None:
    """A listener more takes another container: it cannot start, and the one before comes back."""
    live, containers = generation(proxy), running(proxy)
    holder = proxy.hold(FURTHER)
    try:
        for _time in range(2):
            with proxy.load() as load:
                failure = proxy.play({**MORE, **ALLOWED}).failure()
                steady(load)
            result = refused(failure, "not_started", f"generation {live} is live again")
            assert result["rolled_back"] is True
            assert str(FURTHER) in failure.message, failure.message
            assert load.gap < RESTART_SECONDS, load.lost[:2]
    finally:
        proxy.release(holder)
    assert (generation(proxy), proxy.current(), running(proxy)) == (live, live, containers)
    story.tell("port of another program, on the bridge", "not_started", "as before", load)
