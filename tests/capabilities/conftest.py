"""The laboratory of the capabilities, once for all tests, and a proxy for each file of tests."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.capabilities.deployment import Deployment
from tests.faults.machine import Machine
from tests.hosts import lab
from tests.hosts.spec import Lab, lab_named

# Set by a developer who runs the same tests again and again.
KEEP = bool(os.environ.get("OAP_PROXY_KEEP_LAB"))

Proxies = Callable[..., Deployment]
# What all need; the other OAPs, each with a secret of its own, come up where they are needed.
FIRST = ("oap1", "oap2", "proxy1")


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory, new unless a developer keeps it."""
    known = lab_named("capabilities")
    if not KEEP:
        lab.down(known)
    try:
        up(known, *FIRST)
        yield known
    finally:
        if not KEEP:
            lab.down(known)


def up(known: Lab, *names: str) -> None:
    """Bring some hosts of a laboratory to work."""
    lab.up(replace(known, hosts=tuple(known.host(name) for name in names)))


@pytest.fixture(scope="session")
def machine(hosts: Lab) -> Machine:
    """The host that all proxies run on, each under a name of its own."""
    return Machine(lab.container_of(hosts.host("proxy1")))


@pytest.fixture(scope="session")
def proxies(hosts: Lab, machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Proxies:
    """What makes a proxy of a name and a port of its own; deploying it is the test's part."""
    directory = tmp_path_factory.mktemp("inventories")

    def make(name: str, port: int, *oaps: str) -> Deployment:
        if not {*oaps} <= {*FIRST}:
            up(hosts, *oaps)
        return Deployment(hosts, machine, directory, name, port, oaps or ("oap1",))

    return make
