"""A container takes the place of a package's nginx under load, and the other way round."""

from collections.abc import Callable

import pytest

from tests.capabilities.deployment import SITE, VERIFY
from tests.changes.load import Clients
from tests.faults.playbook import Run, Variables
from tests.hosts import images, lab
from tests.hosts.load import Load
from tests.upgrade.proxy import MODULE, Proxy, Tell

MOVE = "playbooks/move.yml"
NAME, PORT = "moving", 13803
# Each move waits for it.
DRAIN_SECONDS = 5
DRAIN = {"grpc_proxy_drain_timeout": f"{DRAIN_SECONDS}s"}
PACKAGE: Variables = {"grpc_proxy_install": "package", **DRAIN}
# What is allowed to end begins again within this time.
GAP_SECONDS = 10.0
# It says of itself what it is, tests what it is given, and does not serve.
BROKEN = """\
FROM {image}
RUN mv /usr/sbin/nginx /usr/sbin/nginx-real && printf '%s\\n' '#!/bin/sh' \
 'case " $* " in *" -V "*|*" -t "*) exec /usr/sbin/nginx-real "$@";; esac' \
 'echo "nginx: [emerg] this one does not serve" >&2; exit 1' > /usr/sbin/nginx \
 && chmod 755 /usr/sbin/nginx
"""


def container(image: str) -> Variables:
    """Return the settings for a container of that image."""
    return {
        "grpc_proxy_install": "container",
        "grpc_proxy_container_image": image,
        "grpc_proxy_container_pull": "never",
        **DRAIN,
    }


@pytest.fixture(scope="module")
def installed(proxies: Callable[..., Proxy]) -> Proxy:
    """A proxy that is a unit, on a host with an engine and an image of nginx."""
    proxy = proxies(NAME, PORT, "/usr/sbin/nginx")
    proxy.site(PACKAGE).changed()
    pid, image = proxy.pid, images.nginx()
    # There is no image yet: the engine is installed, and the unit serves on.
    message = moved(proxy, container(image)).failure().message
    for part in (f"the nginx of {image} cannot be a gRPC proxy", "What serves was not touched"):
        assert part in message
    assert proxy.pid == pid
    lab.load(proxy.machine.container, image)
    return proxy


@pytest.fixture
def proxy(installed: Proxy) -> Proxy:
    """The same, and a unit, whatever the test before has left."""
    moved(installed, PACKAGE).changed()
    return installed


def moved(proxy: Proxy, settings: Variables, *arguments: str) -> Run:
    """Run the playbook."""
    return proxy.site(settings, *arguments, playbook=MOVE)


def loaded(proxy: Proxy, settings: Variables) -> tuple[Run, Clients]:
    """Run the playbook under load."""
    with Clients(proxy.target) as clients:
        run = moved(proxy, settings)
    return run, clients


def actions(run: Run) -> list[str]:
    """Return how each configuration came live."""
    assert run.changed()
    return [one.result["action"] for one in run.results if one.module == MODULE]


def containers(proxy: Proxy) -> list[str]:
    """Return name and state of each container on the host."""
    told = proxy.machine.run("docker", "ps", "--all", "--format={{.Names}} {{.State}}")
    return sorted(told.splitlines())


def settled(proxy: Proxy, settings: Variables) -> None:
    """Hold that nothing is left to do, and that verify has nothing to say."""
    assert proxy.site(settings, playbook=SITE).changed() == 0
    assert proxy.site(settings, playbook=VERIFY).changed() == 0


def is_unit(proxy: Proxy) -> None:
    """Hold that the proxy is a unit alone, as if it had never been a container."""
    assert containers(proxy) == []
    assert proxy.machine.state(NAME) == "active"
    shared = proxy.machine.status("grep", "--recursive", "reuseport", f"{proxy.root}/current/")
    assert shared != 0
    settled(proxy, PACKAGE)


def is_container(proxy: Proxy, settings: Variables) -> None:
    """Hold that the proxy is a container alone."""
    assert containers(proxy) == [f"{NAME} running"]
    for path in (f"/etc/systemd/system/{NAME}.service", f"/run/{NAME}"):
        assert proxy.machine.status("test", "-e", path) != 0
    assert proxy.machine.state(NAME) == "inactive"
    settled(proxy, settings)


def test_to_a_container_and_back(proxy: Proxy, tell: Tell) -> None:
    """Nothing is lost either way; site.yml itself refuses, and says what does it."""
    settings = container(images.nginx())
    message = proxy.site(settings).failure().message
    for part in (f"{NAME}.service is there", "'playbooks/move.yml'", "Nothing was changed"):
        assert part in message
    pid = proxy.pid
    assert moved(proxy, settings, "--check", "--diff").changed()
    assert (proxy.pid, containers(proxy)) == (pid, [])

    run, clients = loaded(proxy, settings)
    assert "upgraded" in actions(run)
    tell("from a package to a container", clients, DRAIN_SECONDS)
    is_container(proxy, settings)
    assert moved(proxy, settings).changed() == 0

    message = proxy.site(PACKAGE).failure().message
    for part in (f"the container {NAME} is there", "'playbooks/move.yml'", "Nothing was changed"):
        assert part in message
    run, clients = loaded(proxy, PACKAGE)
    assert "upgraded" in actions(run)
    tell("and back", clients, DRAIN_SECONDS)
    is_unit(proxy)
    assert moved(proxy, PACKAGE).changed() == 0


def test_to_published_ports_and_back(proxy: Proxy, capsys: pytest.CaptureFixture[str]) -> None:
    """The engine publishes a port for one at a time: it takes a permission, and a short gap."""
    bridge = {**container(images.nginx()), "grpc_proxy_container_network": "bridge"}
    for wanted, before in ((bridge, PACKAGE), (PACKAGE, bridge)):
        live = proxy.live
        message = moved(proxy, wanted).failure().message
        assert "Set grpc_proxy_allow_restart" in message
        assert proxy.live == live
        settled(proxy, before)
        with Load(proxy.target) as load:
            assert moved(proxy, {**wanted, "grpc_proxy_allow_restart": True}).changed()
        assert load.gap < GAP_SECONDS, load.lost[:2]
        told = f"{len(load.lost)} of {load.made} calls lost in {load.gap:.2f} s"
        with capsys.disabled():
            print(f"\nto a {wanted['grpc_proxy_install']}, ports published on one side: {told}")
        is_unit(proxy) if wanted is PACKAGE else is_container(proxy, bridge)


def test_a_container_that_does_not_serve(proxy: Proxy, tell: Tell) -> None:
    """The unit serves on, alone; with another image the same playbook goes on."""
    image = images.nginx()
    proxy.machine.write("/root/Dockerfile", BROKEN.format(image=image))
    proxy.machine.run("sh", "-c", "docker build --quiet --tag broken:1 - < /root/Dockerfile")
    pid = proxy.pid
    run, clients = loaded(proxy, container("broken:1"))
    failure = run.failure()
    assert (failure.result["rolled_back"], proxy.pid) == (True, pid)
    for part in ("this one does not serve", "Rolled back: generation"):
        assert part in failure.message
    tell("to a container that does not serve", clients, DRAIN_SECONDS)

    run, clients = loaded(proxy, container(image))
    assert run.changed()
    tell("and to one that does", clients, DRAIN_SECONDS)
    is_container(proxy, container(image))
    moved(proxy, PACKAGE).changed()
    is_unit(proxy)


@pytest.mark.parametrize("to", ["container", "package"])
def test_a_run_that_was_killed(proxy: Proxy, tell: Tell, to: str) -> None:
    """Both serve, and nothing is proven yet: the next run goes on."""
    as_container = container(images.nginx())
    shares, takes_over = ({"__grpc_proxy_moves": moves} for moves in ("share", "take over"))
    if to == "container":
        wanted, before = as_container, PACKAGE
        proxy.site({**PACKAGE, **shares}).changed()
        start = ["docker", "start", NAME]
    else:
        wanted, before = PACKAGE, as_container
        moved(proxy, as_container).changed()
        start = ["systemctl", "start", NAME]
    proxy.site({**wanted, **takes_over}, "--tags", "install").changed()
    proxy.machine.run(*start)

    assert proxy.machine.state(NAME) == "active"
    assert containers(proxy) == [f"{NAME} running"]
    run, clients = loaded(proxy, wanted)
    assert run.changed()
    tell(
        f"from {before['grpc_proxy_install']} to {to} after a run that was killed",
        clients,
        DRAIN_SECONDS,
    )
    is_container(proxy, wanted) if to == "container" else is_unit(proxy)
