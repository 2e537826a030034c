"""The laboratory of the faults, once for all tests, and the table at the end."""

from collections.abc import Iterator
from dataclasses import astuple, replace

import pytest
from docker.models.containers import Container

from tests.faults.machine import Machine
from tests.faults.site import Row, Site, Story
from tests.hosts import engine, images, lab
from tests.hosts.spec import PREFIX, Host, Lab, lab_named

STORY = pytest.StashKey[Story]()
# Bare hosts beside those of the laboratory, each for tests that must find nothing installed.
BARE = {"bare": 31, "pinned": 32}


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table."""
    config.stash[STORY] = Story()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    rows = config.stash[STORY].rows
    if not rows:
        return
    head = Row("fault", "reason", "live after", "calls", "lost")
    widths = [max(map(len, column)) for column in zip(*map(astuple, (head, *rows)), strict=True)]
    terminalreporter.section("faults")
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(astuple(row), widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    """The table to tell of a fault in."""
    return request.config.stash[STORY]


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory and the bare hosts, new."""
    known = lab_named("faults")
    bare = tuple(
        Host(
            lab=known.name,
            name=name,
            kind="debian",
            suite="bookworm",
            address=str(known.subnet[number]),
            address6=str(known.subnet6[number]),
        )
        for name, number in BARE.items()
    )
    whole = replace(known, hosts=(*known.hosts, *bare))
    lab.down(whole)
    try:
        lab.up(whole)
        yield whole
    finally:
        lab.down(whole)


@pytest.fixture(scope="session")
def bare(hosts: Lab) -> Machine:
    """A host with nothing installed."""
    return Machine(lab.container_of(hosts.host("bare")))


@pytest.fixture(scope="session")
def pinned(hosts: Lab) -> Machine:
    """A host with nothing installed, for packages that cannot be had."""
    return Machine(lab.container_of(hosts.host("pinned")))


@pytest.fixture(scope="session")
def without_systemd(hosts: Lab) -> Iterator[Machine]:
    """A host whose first process is not systemd."""
    container: Container = engine.connect().containers.run(
        images.debian("bookworm"),
        ["sleep", "3600"],
        name=f"{PREFIX}-{hosts.name}-sleeper",
        labels={lab.LABEL: hosts.name},
        detach=True,
        init=False,
    )
    yield Machine(container)
    container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def converged(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """proxy1, configured by site.yml beside a site that the host's own nginx serves already."""
    machine = Machine(lab.container_of(hosts.host("proxy1")))
    machine.run("apt-get", "update")
    machine.run(
        "env", "DEBIAN_FRONTEND=noninteractive",
        "apt-get", "install", "--yes", "--no-install-recommends", "nginx",
    )  # fmt: skip
    site = Site(hosts, machine, tmp_path_factory.mktemp("inventories"))
    site.own_nginx = site.own_nginx_pid()
    assert site.own_nginx > 0
    site.play().changed()
    site.usual = site.generation()
    return site


@pytest.fixture
def proxy(converged: Site) -> Iterator[Site]:
    """The proxy at work, the host's own nginx untouched before and after."""
    converged.settle()
    yield converged
    assert converged.own_nginx_pid() == converged.own_nginx
