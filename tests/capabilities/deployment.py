"""A proxy of a test's own: one of several instances on the laboratory's proxy host."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.machine import Machine
from tests.faults.playbook import Hosts, Run, Variables, inventory, play
from tests.faults.site import CONFIGURE
from tests.hosts.spec import Lab

SITE = "site.yml"
VERIFY = "playbooks/verify.yml"
# The shortest that the role takes: nginx gives up a bind after 2.5 s. Several workers share what
# is counted and looked up, and one of them alone is what all other tests have.
SETTINGS: Variables = {"grpc_proxy_proof_timeout": 4, "grpc_proxy_worker_processes": 2}
# The access log is written at least once a second.
SECONDS = 5.0
POLL_SECONDS = 0.2


@dataclass
class Deployment:
    """One instance on proxy1, by its name and the first of its ports."""

    lab: Lab
    machine: Machine
    directory: Path
    name: str
    port: int
    oaps: tuple[str, ...] = ("oap1",)
    """Names of the laboratory's OAPs that are behind it."""
    groups: dict[str, Hosts] = field(default_factory=dict)
    """Further groups of the inventory."""
    _runs: int = 0
    _installed: bool = False

    @property
    def address(self) -> str:
        """The address of the proxy host."""
        return self.lab.host("proxy1").address

    @property
    def target(self) -> str:
        """Address and port of the first listener."""
        return f"{self.address}:{self.port}"

    @property
    def root(self) -> str:
        """The tree of the configuration on the host."""
        return f"/etc/nginx/{self.name}"

    def inventory(self, settings: Variables) -> Path:
        """Write the inventory that gives the proxy these variables."""
        self._runs += 1
        oaps = {name: {"oap_address": self.lab.host(name).address} for name in self.oaps}
        return inventory(
            self.directory / f"{self.name}-{self._runs}.yml",
            {
                "proxy1": {
                    "grpc_proxy_name": self.name,
                    "grpc_proxy_listen": [{"port": self.port}],
                    **SETTINGS,
                    **settings,
                    "ansible_host": self.machine.name,
                }
            },
            {"skywalking_oap": oaps, **self.groups},
        )

    def play(self, settings: Variables, *arguments: str, playbook: str = SITE) -> Run:
        """Run a playbook with these variables of the proxy."""
        return play(self.inventory(settings), playbook, *arguments)

    def install(self, settings: Variables | None = None) -> Run:
        """Bring these variables live by site.yml; fail the test where that does not come about."""
        run = self.play(settings or {})
        run.changed()
        self._installed = True
        return run

    def deploy(self, settings: Variables | None = None) -> Run:
        """Do the same, where what only installs is done once."""
        if not self._installed:
            return self.install(settings)
        run = self.play(settings or {}, playbook=CONFIGURE)
        run.changed()
        return run

    def refused(self, settings: Variables) -> str:
        """Return the message with which these variables are refused, nothing written."""
        before = self.generations()
        message = self.play(settings).failure().message
        assert self.generations() == before
        assert "proxy1" in message
        return message

    def generations(self) -> list[str]:
        """Return the ids that are on disk."""
        listed = self.machine.run("sh", "-c", f"ls {self.root}/generations 2>/dev/null || true")
        return sorted(listed.split())

    def file(self, path: str) -> str:
        """Return a file of the generation that is on disk."""
        return self.machine.run("cat", f"{self.root}/current/{path}")

    def log_lines(self) -> list[dict[str, Any]]:
        """Return the lines of the access log, each of which must be valid JSON."""
        text = self.machine.run("cat", f"/var/log/{self.name}/access.log")
        return [json.loads(line) for line in text.splitlines()]

    def log_of(self, request_id: str) -> dict[str, Any]:
        """Return the one line of the access log about a call, once nginx has written it."""
        end = time.monotonic() + SECONDS
        while True:
            found = [line for line in self.log_lines() if line["request_id"] == request_id]
            if found:
                assert len(found) == 1, found
                return found[0]
            assert time.monotonic() < end, f"no line about {request_id} in the access log"
            time.sleep(POLL_SECONDS)
