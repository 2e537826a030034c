"""The laboratory of the matrix, a host for each nginx in turn, and the table at the end."""

import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.machine import Machine
from tests.hosts import certificates, lab
from tests.hosts.spec import Lab, lab_named
from tests.matrix.column import Column, install_mainline

LAB = "matrix"
# Where each nginx is, by the version that is found there.
HOSTS = {
    "1.18": "debian11",
    "1.22": "debian12",
    "1.26": "debian13",
    "1.30": "sid",
    "1.31": "mainline",
}
CELL = re.compile(r"::test_(\w+)\[([\d.]+)-")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have every test for every nginx; those of one are made together, as long as it is there."""
    if "column" in metafunc.fixturenames:
        ids = [f"{nginx}-{host}" for nginx, host in HOSTS.items()]
        metafunc.parametrize("column", HOSTS, indirect=True, scope="session", ids=ids)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the table: a row for each check, a column for each nginx."""
    rows: dict[str, dict[str, str]] = {}
    for word, outcome in (("ok", "passed"), ("FAILED", "failed"), ("FAILED", "error")):
        for report in terminalreporter.getreports(outcome):
            if cell := CELL.search(report.nodeid):
                rows.setdefault(cell[1].replace("_", " "), {})[cell[2]] = word
    if not rows:
        return
    known = [nginx for nginx in HOSTS if any(nginx in row for row in rows.values())]
    width = max(map(len, rows))
    terminalreporter.section("the matrix")
    for check, row in {"nginx": dict(zip(known, known, strict=True)), **rows}.items():
        cells = (row.get(nginx, "-").ljust(6) for nginx in known)
        terminalreporter.write_line("  ".join([check.ljust(width), *cells]).rstrip())


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory with its OAPs; a proxy host comes when its nginx does."""
    known = lab_named(LAB)
    lab.down(known)
    try:
        lab.up(replace(known, hosts=known.of_kind("oap")))
        yield known
    finally:
        lab.down(known)


@pytest.fixture(scope="session")
def column(
    request: pytest.FixtureRequest, hosts: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Column]:
    """A bare host for one nginx, as long as tests of that nginx are left."""
    host = hosts.host(HOSTS[request.param])
    place = tmp_path_factory.mktemp(host.name)
    certificates.write_for_proxies(LAB, place / "certificates")
    lab.up(replace(hosts, hosts=(host,)))
    machine = Machine(lab.container_of(host))
    binary = install_mainline(machine) if host.name == "mainline" else ""
    yield Column(hosts, host, request.param, machine, place, binary)
    machine.container.remove(force=True, v=True)
