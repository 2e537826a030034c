"""The laboratory of the capabilities, once for all tests, and a proxy for each file of tests."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.capabilities.deployment import Deployment
from tests.faults.machine import Machine
from tests.hosts import lab
from tests.hosts.spec import Lab, lab_named

# Set by a developer who runs the same tests again and again.
KEEP = bool(os.environ.get("OAP_PROXY_KEEP_LAB"))

Proxies = Callable[..., Deployment]


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory, new unless a developer keeps it."""
    known = lab_named("capabilities")
    if not KEEP:
        lab.down(known)
    try:
        lab.up(known)
        yield known
    finally:
        if not KEEP:
            lab.down(known)


@pytest.fixture(scope="session")
def machine(hosts: Lab) -> Machine:
    """The host that all proxies run on, each under a name of its own."""
    return Machine(lab.container_of(hosts.host("proxy1")))


@pytest.fixture(scope="session")
def proxies(hosts: Lab, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Proxies:
    """What makes a proxy of a name and a port of its own; deploying it is the test's part."""
    directory = tmp_path_factory.mktemp("inventories")

    def make(name: str, port: int, *oaps: str) -> Deployment:
        return Deployment(hosts, machine, directory, name, port, oaps or ("oap1",))

    return make
