"""The two hosts: the proxies' with a core for itself, and the stand-in OAP's with the other."""

import re
import socket
import tarfile
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from docker.models.containers import Container

from tests.hosts import lab
from tests.hosts.progress import LabError
from tests.hosts.spec import Host

SECONDS = 10.0
POLL_SECONDS = 0.05


class Machine:
    """A host that is up."""

    def __init__(self, host: Host) -> None:
        """Take a host of a laboratory."""
        self.host = host
        self.container: Container = lab.container_of(host)

    def run(self, *command: str) -> str:
        """Run a command that must succeed, and return what it printed."""
        code, output = lab.run(self.container, list(command))
        if code != 0:
            raise LabError(f"{self.host.name}: {' '.join(command)[:200]}: {output[-2000:]}")
        return output

    def install(self, program: Path) -> str:
        """Bring a program onto the host, and return its path there."""
        with tempfile.TemporaryFile() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                entry = tar.gettarinfo(str(program), program.name)
                entry.mode = 0o755
                with program.open("rb") as content:
                    tar.addfile(entry, content)
            stream.seek(0)
            self.container.put_archive("/usr/local/bin", stream)
        return f"/usr/local/bin/{program.name}"

    def start(self, unit: str, ports: Iterable[int], *command: str) -> None:
        """Run a program until the host is gone, and return when it listens."""
        self.run("systemd-run", f"--unit={unit}", "--property=LimitNOFILE=16384", *command)
        end = time.monotonic() + SECONDS
        for port in ports:
            while not self._listens(port):
                if time.monotonic() > end:
                    told = self.run("journalctl", "--no-pager", "--unit", unit, "--lines", "20")
                    raise LabError(f"{unit} does not listen on port {port}:\n{told}")
                time.sleep(POLL_SECONDS)

    def _listens(self, port: int) -> bool:
        try:
            socket.create_connection((self.host.address, port), 1).close()
        except OSError:
            return False
        return True

    def pid(self, unit: str) -> int:
        """Return the main process of a unit that runs."""
        return int(self.run("systemctl", "show", "--property=MainPID", "--value", unit))

    def version(self, *command: str) -> str:
        """Return the version that a program tells of itself."""
        told = re.search(r"\d+\.\d+\.\d+", self.run(*command))
        return told[0] if told else "of unknown version"
