"""A proxy whose binary is replaced, and what of its processes is looked at."""

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.capabilities.deployment import SITE, Deployment
from tests.faults.playbook import Run, Variables
from tests.hosts.progress import LabError

MODULE = "skywalking.oap_proxy.nginx_config"
# Longer than a run waits for systemd, so that streams of before are still held after it.
DRAIN_SECONDS = 20
SETTINGS: Variables = {
    "grpc_proxy_drain_timeout": f"{DRAIN_SECONDS}s",
    # As by default: then no call is lost.
    "grpc_proxy_worker_processes": 1,
}
Tell = Callable[..., None]
"""What says on the terminal what a load came to."""
SECONDS = 10.0
POLL_SECONDS = 0.05


@dataclass
class Proxy(Deployment):
    """One instance on proxy1 with a binary of its own."""

    binary: str = "/usr/sbin/nginx"

    def site(self, settings: Variables | None = None, *arguments: str, playbook: str = SITE) -> Run:
        """Run site.yml, or another playbook, with the binary of this proxy."""
        own = {"nginx_package_binary": self.binary}
        return self.play({**SETTINGS, **own, **(settings or {})}, *arguments, playbook=playbook)

    def replace(self, source: str) -> None:
        """Put a file of the host in the place of the binary, as a package manager does."""
        new = f"{self.binary}.new"
        self.machine.run(
            "sh", "-c", f"cp {source} {new} && chmod 755 {new} && mv {new} {self.binary}"
        )

    def bring(self, program: Path, to: str) -> None:
        """Copy a program of this machine into the host."""
        place = f"{self.machine.name}:{to}"
        done = subprocess.run(
            ["docker", "cp", str(program), place], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LabError(f"cannot copy {program} to {place}: {done.stderr}")

    @property
    def pid(self) -> int:
        """The main process that systemd knows."""
        return self.machine.pid(self.name)

    @property
    def version(self) -> str:
        """The version of nginx that runs."""
        return self.machine.run(f"/proc/{self.pid}/exe", "-v").rpartition("/")[2].split()[0]

    @property
    def live(self) -> str:
        """The id that the running nginx answers with."""
        return self.machine.generation(self.port)

    def is_of_the_file(self) -> bool:
        """Tell whether the main process runs the very file that is at the binary's path."""
        files = f"/proc/{self.pid}/exe", self.binary
        return len(set(self.machine.run("stat", "-Lc", "%d:%i", *files).split())) == 1

    def masters(self) -> set[int]:
        """Return the master processes of this instance that there are."""
        listed = self.machine.run("ps", "-eo", "pid=,args=")
        tree = f"nginx: master process {self.binary} -c {self.root}/"
        return {int(line.split()[0]) for line in listed.splitlines() if tree in line}

    def workers(self) -> set[int]:
        """Return the workers of the main process that accept."""
        listed = self.machine.run("ps", "-o", "pid=,args=", "--ppid", str(self.pid))
        lines = listed.splitlines()
        return {int(line.split()[0]) for line in lines if "shutting down" not in line}

    def follows(self) -> None:
        """Systemd knows the one master that there is, and a reload by hand has its effect."""
        assert self.machine.state(self.name) == "active"
        assert self.masters() == {self.pid}
        before = self.workers()
        assert before
        self.machine.run("systemctl", "reload", self.name)
        _come(
            lambda: bool(self.workers()) and not self.workers() & before, "a reload has no effect"
        )

    def signal(self, name: str, done: Callable[[], bool]) -> None:
        """Send the main process a signal, and wait for what it does."""
        self.machine.run("kill", f"-{name}", str(self.pid))
        _come(done, f"{name} has no effect")


def _come(done: Callable[[], bool], trouble: str) -> None:
    """Wait for something."""
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end, trouble
        time.sleep(POLL_SECONDS)
