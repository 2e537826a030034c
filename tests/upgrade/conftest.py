"""The laboratory of upgrades, and a proxy for each way in which a binary is replaced."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.changes.load import Clients
from tests.faults.machine import Machine
from tests.hosts import lab
from tests.hosts.spec import Lab, lab_named
from tests.upgrade.proxy import DRAIN_SECONDS, Proxy, Tell

MIN_CALLS = 300
# Set by a developer who runs the same tests again and again.
KEEP = bool(os.environ.get("OAP_PROXY_KEEP_LAB"))


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory, new unless a developer keeps it."""
    known = lab_named("upgrade")
    if not KEEP:
        lab.down(known)
    try:
        lab.up(known)
        yield known
    finally:
        if not KEEP:
            lab.down(known)


@pytest.fixture(scope="module")
def proxies(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Proxy]:
    """What makes a proxy of a name, a port and a binary; deploying it is the test's part."""
    machine = Machine(lab.container_of(hosts.host("proxy1")))
    directory = tmp_path_factory.mktemp("inventories")

    def make(name: str, port: int, binary: str) -> Proxy:
        return Proxy(hosts, machine, directory, name, port, binary=binary)

    return make


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """What says on the terminal what a load came to."""

    def told(what: str, clients: Clients, drain: float = DRAIN_SECONDS) -> None:
        """Hold that no call was lost, and no stream cut before its time."""
        assert clients.made > MIN_CALLS
        assert not clients.lost, f"{len(clients.lost)} of {clients.made} lost: {clients.lost[:5]}"
        cut = clients.cut(drain)
        with capsys.disabled():
            print(
                f"\n{what}: {clients.made} calls, 0 lost; {len(clients.held) - len(cut)} held "
                f"streams ended OK, {len(cut)} were cut after the drain time"
            )

    return told
