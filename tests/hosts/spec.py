"""labs.yml as data: which hosts a laboratory has, and where each of them is."""

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Any, Literal

import yaml

from tests.hosts.paths import HERE
from tests.hosts.progress import LabError

PREFIX = "oap-proxy"


@dataclass(frozen=True)
class Host:
    """One host of one laboratory."""

    lab: str
    name: str
    kind: Literal["oap", "debian"]
    suite: str
    address: str
    address6: str
    # Of an OAP: whether it speaks TLS to agents, and the token that it demands of them.
    tls: Literal["none", "server", "mutual"] = "none"
    token: str = ""
    # Of a Debian: room for a docker engine of its own.
    docker: bool = False
    # The one core that it has, None for all; not in its text, which says what container is kept.
    core: int | None = field(default=None, repr=False)

    @property
    def container(self) -> str:
        """The name of the container that plays this host."""
        return f"{PREFIX}-{self.lab}-{self.name}"


@dataclass(frozen=True)
class Lab:
    """A network and its hosts."""

    name: str
    subnet: IPv4Network
    subnet6: IPv6Network
    hosts: tuple[Host, ...]

    @property
    def network(self) -> str:
        """The name of the docker network."""
        return f"{PREFIX}-{self.name}"

    def host(self, name: str) -> Host:
        """Return the host of that name."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise LabError(f"laboratory {self.name} has no host {name}")

    def of_kind(self, kind: Literal["oap", "debian"]) -> tuple[Host, ...]:
        """Return the hosts of one kind, in the order of labs.yml."""
        return tuple(host for host in self.hosts if host.kind == kind)


def _lab(name: str, raw: dict[str, Any]) -> Lab:
    subnet = IPv4Network(raw["subnet"])
    subnet6 = IPv6Network(raw["subnet6"])
    hosts = tuple(
        Host(
            lab=name,
            name=host,
            kind=values["kind"],
            suite=values.get("suite", "bookworm"),
            address=str(subnet[values["number"]]),
            address6=str(subnet6[int(str(values["number"]), 16)]),
            tls=values.get("tls", "none"),
            token=values.get("token", ""),
            docker=values.get("docker", False),
            core=values.get("core"),
        )
        for host, values in raw["hosts"].items()
    )
    return Lab(name=name, subnet=subnet, subnet6=subnet6, hosts=hosts)


def labs() -> dict[str, Lab]:
    """Return every laboratory by its name."""
    raw = yaml.safe_load((HERE / "labs.yml").read_text(encoding="utf-8"))
    return {name: _lab(name, values) for name, values in raw.items()}


def lab_named(name: str) -> Lab:
    """Return one laboratory, or say which there are."""
    known = labs()
    if name not in known:
        raise LabError(f"no laboratory is named {name!r}; there are: {', '.join(known)}")
    return known[name]
