"""The laboratory of upgrades, and a proxy for each way in which a binary is replaced."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.faults.machine import Machine
from tests.hosts import lab
from tests.hosts.spec import Lab, lab_named
from tests.upgrade.proxy import Proxy

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
