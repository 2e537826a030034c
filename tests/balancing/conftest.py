"""The laboratory of the balancing methods, and the table at the end."""

from collections.abc import Iterator
from dataclasses import astuple

import pytest

from tests.balancing.backends import Backends
from tests.balancing.site import Row, Site
from tests.hosts import lab
from tests.hosts.spec import lab_named

ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table."""
    config.stash[ROWS] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print the table."""
    rows = config.stash[ROWS]
    if not rows:
        return
    head = Row("method", "case", "oap1", "oap2", "oap3", "refused", "most at once", "seconds")
    widths = [max(map(len, column)) for column in zip(*map(astuple, (head, *rows)), strict=True)]
    terminalreporter.section("how 1,000 calls fell")
    for row in (head, *rows):
        cells = (cell.ljust(width) for cell, width in zip(astuple(row), widths, strict=True))
        terminalreporter.write_line("  ".join(cells).rstrip())


@pytest.fixture(scope="session")
def site(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The laboratory, its stand-in OAPs and its proxies."""
    one = lab_named("balancing")
    lab.down(one)
    try:
        lab.up(one)
        backends = Backends(str(one.subnet[1]))
        try:
            directory = tmp_path_factory.mktemp("inventory")
            yield Site(one, backends, directory, pytestconfig.stash[ROWS])
        finally:
            backends.stop()
    finally:
        lab.down(one)
