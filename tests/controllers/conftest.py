"""A bare host for each ansible-core in turn."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.controllers.controller import KNOWN, Controller, Play, install
from tests.faults.machine import Machine
from tests.faults.playbook import CONNECTION, Variables, inventory
from tests.hosts import images, lab
from tests.hosts.spec import Lab, lab_named


@dataclass(frozen=True)
class Deployer:
    """An ansible-core, and the host that it deploys to."""

    controller: Controller
    machine: Machine
    oap: str

    def play(self, playbook: str, settings: Variables | None = None, *arguments: str) -> Play:
        """Run a playbook of the installed collection with these variables of the proxy."""
        proxy: dict[str, Any] = {"ansible_host": self.machine.name, **(settings or {})}
        path = inventory(
            self.controller.directory / "inventory.yml",
            {"proxy1": proxy},
            {"skywalking_oap": {"oap1": {"oap_address": self.oap}}},
            {**CONNECTION, "ansible_connection": "community.docker.docker"},
        )
        return self.controller.play(path, playbook, *arguments)


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory with its OAP; the proxy's host comes anew with each ansible-core."""
    known = lab_named("controllers")
    lab.down(known)
    try:
        lab.up(replace(known, hosts=known.of_kind("oap")))
        yield known
    finally:
        lab.down(known)


@pytest.fixture(scope="session", params=KNOWN)
def deployer(
    request: pytest.FixtureRequest, hosts: Lab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployer]:
    """One ansible-core and a host on which nothing was done yet."""
    directory: Path = tmp_path_factory.mktemp("controller")
    controller = install(request.param, directory)
    host = hosts.host("proxy1")
    lab.up(replace(hosts, hosts=(host,)))
    machine = Machine(lab.container_of(host))
    yield Deployer(controller, machine, hosts.host("oap1").address)
    machine.container.remove(force=True, v=True)


@pytest.fixture(scope="session")
def image() -> str:
    """An image with the nginx of the distribution."""
    return images.nginx()
