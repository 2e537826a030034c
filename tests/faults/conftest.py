"""The laboratory of the faults, a host for each nginx, the table at the end, and the secrets."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache

import pytest
from docker.models.containers import Container

from tests.faults import playbook, secrets
from tests.faults.machine import Machine
from tests.faults.site import CONTAINER, EVERY, HOSTS, USUAL, Site
from tests.faults.table import GROUPS, Story, Table
from tests.hosts import engine, images, lab
from tests.hosts.spec import PREFIX, Host, Lab, lab_named

TABLE = pytest.StashKey[Table]()
# Bare hosts beside those of the laboratory, each for tests that must find nothing installed.
BARE = {"bare": 31, "pinned": 32}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let `make faults` ask for everything."""
    parser.addoption(
        "--every-nginx", action="store_true", help="each row of the table on every nginx"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table."""
    config.stash[TABLE] = Table()
    config.addinivalue_line("markers", "nginx(*versions, container): a row of the table, on these")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what takes one proxy on one nginx after the other."""
    if "proxy" not in metafunc.fixturenames:
        return
    metafunc.parametrize("proxy", versions_of(metafunc.definition), indirect=True)


def versions_of(item: pytest.Item) -> tuple[str, ...]:
    """Return the nginx that a row names, all of them where all are asked for."""
    row = item.get_closest_marker("nginx")
    if row is None:
        return (USUAL,)
    if not item.config.getoption("every_nginx") or row.args == (CONTAINER,):
        return row.args
    return (*EVERY, CONTAINER) if row.kwargs.get("container") else EVERY


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table, and keep it."""
    table = config.stash[TABLE]
    if table.rows:
        terminalreporter.section("faults")
        for line in table.lines():
            terminalreporter.write_line(line)
        table.keep()


@pytest.fixture
def story(request: pytest.FixtureRequest) -> Story:
    """The table to tell of a fault in."""
    subject = request.module.__name__.rpartition(".test_")[2]
    group = next((known for known in GROUPS if subject.startswith(known)), subject)
    nginx = request.getfixturevalue("proxy").nginx if "proxy" in request.fixturenames else USUAL
    return Story(request.config.stash[TABLE].rows, group, nginx)


@pytest.fixture(autouse=True)
def no_secret_is_told(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test: no planted secret in what Ansible printed, nor on the hosts."""
    playbook.PRINTED.clear()
    sites: tuple[Site, ...] = ()
    if "proxy" in request.fixturenames:
        sites = (request.getfixturevalue("proxy"),)
    elif "proxies" in request.fixturenames:
        sites = request.getfixturevalue("proxies")
    yield
    assert secrets.told_by(playbook.PRINTED) == []
    for site in sites:
        assert secrets.told_on(site.machine) == [], f"on nginx {site.nginx}"


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory and the bare hosts, new; those of further versions are not up yet."""
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
    later = {name for version, name in HOSTS.items() if version != USUAL}
    lab.down(whole)
    try:
        lab.up(replace(whole, hosts=tuple(one for one in whole.hosts if one.name not in later)))
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
def converged(
    hosts: Lab, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> Callable[[str], Site]:
    """A host with that nginx, configured by site.yml beside a site that its own nginx serves."""

    @cache
    def site_with(nginx: str) -> Site:
        host = hosts.host(HOSTS[nginx])
        lab.up(replace(hosts, hosts=(host,)))
        machine = Machine(lab.container_of(host))
        machine.run("apt-get", "update")
        machine.run(
            "env", "DEBIAN_FRONTEND=noninteractive",
            "apt-get", "install", "--yes", "--no-install-recommends", "nginx",
        )  # fmt: skip
        site = Site(hosts, host, nginx, machine, tmp_path_factory.mktemp("inventories"))
        assert f"nginx/{site.version}." in machine.run("nginx", "-v")
        if nginx == CONTAINER:
            engine_installed(site)
        site.thorough = bool(pytestconfig.getoption("every_nginx"))
        site.own_nginx = site.own_nginx_pid()
        assert site.own_nginx > 0
        site.play().changed()
        site.usual = site.generation()
        return site

    return site_with


def engine_installed(site: Site) -> None:
    """Have site.yml install the engine, which has no image yet, then put one there."""
    site.image = images.nginx()
    failure = site.play().failure()
    for part in (f"the nginx of {site.image} cannot be a gRPC proxy", "no such image"):
        assert part in failure.message, failure.message
    assert site.machine.status("systemctl", "is-active", "docker") == 0
    lab.load(site.machine.container, site.image)


@pytest.fixture
def proxy(request: pytest.FixtureRequest, converged: Callable[[str], Site]) -> Iterator[Site]:
    """The proxy at work, the host's own nginx untouched before and after."""
    site = converged(request.param)
    site.settle()
    yield site
    assert site.own_nginx_pid() == site.own_nginx


@pytest.fixture
def proxies(
    request: pytest.FixtureRequest, converged: Callable[[str], Site]
) -> Iterator[tuple[Site, ...]]:
    """The same on every nginx that the row names, for what is done on all at the same time."""
    versions = versions_of(request.node)
    with ThreadPoolExecutor(len(versions)) as pool:
        sites = tuple(pool.map(converged, versions))
    for site in sites:
        site.settle()
    yield sites
    for site in sites:
        assert site.own_nginx_pid() == site.own_nginx
