"""The laboratory of the packages: two Debian hosts, each with a repository of its own."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.capabilities.deployment import Deployment
from tests.faults.machine import Machine
from tests.faults.playbook import Variables
from tests.hosts import lab
from tests.hosts.spec import Lab, lab_named
from tests.packages.repository import Repository

# Set by a developer who runs the same tests again and again.
KEEP = bool(os.environ.get("OAP_PROXY_KEEP_LAB"))
# By host: the version of nginx there, and the package that holds the program.
NGINX = {"proxy1": ("1.22.1", "nginx"), "bullseye": ("1.18.0", "nginx-core")}


@dataclass(frozen=True)
class Site:
    """A host, its repository, and the proxy on it."""

    machine: Machine
    repository: Repository
    proxy: Deployment

    def settings(self, **more: object) -> Variables:
        """Return the variables that have nginx come from the repository."""
        return {
            "grpc_proxy_package_source": "nginx.org",
            "grpc_proxy_package_repository": self.repository.url,
            "grpc_proxy_package_key": self.repository.key("right"),
            "grpc_proxy_package_fingerprints": [self.repository.fingerprint("right")],
            **{f"grpc_proxy_package_{name}": value for name, value in more.items()},
        }

    def installed(self) -> str:
        """Return the version of nginx's package, empty where there is none."""
        told = self.machine.run(
            "sh",
            "-c",
            "dpkg-query -W -f '${db:Status-Status} ${Version}' nginx 2>/dev/null || true",
        )
        return told.removeprefix("installed ") if told.startswith("installed ") else ""

    def held(self) -> bool:
        """Whether apt is kept from changing nginx."""
        return self.machine.run("apt-mark", "showhold") == "nginx"


@pytest.fixture(scope="session")
def hosts() -> Iterator[Lab]:
    """The laboratory, new unless a developer keeps it."""
    known = lab_named("packages")
    if not KEEP:
        lab.down(known)
    try:
        lab.up(known)
        yield known
    finally:
        if not KEEP:
            lab.down(known)


def _site(hosts: Lab, name: str, directory: pytest.TempPathFactory) -> Site:
    host = hosts.host(name)
    machine = Machine(lab.container_of(host))
    # A host that is kept may know a repository that a run which was ended has left half made.
    if machine.status("test", "-x", "/usr/bin/gpg") != 0:
        machine.run("apt-get", "--quiet", "update")
        machine.run(
            "env", "DEBIAN_FRONTEND=noninteractive",
            "apt-get", "--quiet", "install", "--yes", "--no-install-recommends", "gpg", "gpg-agent",
        )  # fmt: skip
    upstream, binary = NGINX[name]
    repository = Repository(machine, host.suite, upstream, binary)
    repository.make()
    proxy = Deployment(hosts, machine, directory.mktemp("inventories"), "oap-proxy", 11800)
    return Site(machine, repository, proxy)


@pytest.fixture(scope="session")
def bookworm(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A host with Debian 12."""
    return _site(hosts, "proxy1", tmp_path_factory)


@pytest.fixture(scope="session")
def bullseye(hosts: Lab, tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A host with Debian 11, whose apt is the oldest."""
    return _site(hosts, "bullseye", tmp_path_factory)
