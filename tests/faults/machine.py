"""One host of the laboratory, as the tests see and disturb it."""

import time
from pathlib import Path

from docker.models.containers import Container

from tests.faults.files import listing
from tests.faults.on_host import ask
from tests.hosts import inside

ON_HOST = Path(__file__).with_name("on_host.py")
# Where a host keeps the eyes of the tests, and what they are asked.
EYES = "/opt/eyes"
REQUEST = f"{EYES}/request.json"
SECONDS = 10.0
POLL_SECONDS = 0.05
# Everything that the product may write, in check mode or after a refusal, would be here.
CONFIGURATION = ("/etc/nginx", "/etc/systemd/system", "/etc/tmpfiles.d", "/etc/logrotate.d")
EVERYTHING = ("/etc", "/usr", "/opt", "/srv", "/var/lib/dpkg")


class Machine:
    """A host, by its container."""

    def __init__(self, container: Container) -> None:
        """Take a container that runs."""
        self.container = container
        self.name = str(container.name)

    def run(self, *command: str) -> str:
        """Run a command that must succeed, and return what it printed."""
        code, output = inside.run(self.container, list(command))
        assert code == 0, f"{self.name}: {' '.join(command)[:200]} ended with {code}: {output}"
        return output

    def status(self, *command: str) -> int:
        """Run a command and return its exit status."""
        code, _output = inside.run(self.container, list(command))
        assert code is not None
        return code

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """Write a file."""
        self.run("sh", "-c", 'printf %s "$1" > "$2" && chmod "$3" "$2"', "-", text, path, mode)

    def eyes(self, program: str, request: str) -> str:
        """Run one of the programs beside this file on the host, and return what it printed."""
        names = ("on_host", program)
        sources = {
            name: Path(__file__).with_name(f"{name}.py").read_text("utf-8") for name in names
        }
        files = {f"{EYES}/tests/faults/{name}.py": text for name, text in sources.items()}
        inside.put(self.container, {**files, REQUEST: request})
        return self.run(
            "env", f"--chdir={EYES}", "python3", "-m", f"tests.faults.{program}", REQUEST
        )

    def generation(self, port: int = 11800, address: str = "127.0.0.1") -> str:
        """Return the id of the configuration that is live, or what came instead of one."""
        try:
            return inside.from_there(self.container, lambda: ask(address, port)).generation
        except OSError as error:
            return f"no answer: {error}"

    def listing(self, *places: str) -> dict[str, str]:
        """Return a hash of everything below some places."""
        return listing(inside.root(self.container), places or CONFIGURATION)

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """Return what systemd tells of a unit."""
        told = self.run("systemctl", "show", f"--property={','.join(properties)}", name)
        return dict(line.split("=", 1) for line in told.splitlines())

    def pid(self, unit: str) -> int:
        """Return the main process of a unit, 0 when it does not run."""
        return int(self.unit(unit, "MainPID")["MainPID"])

    def state(self, unit: str) -> str:
        """Return how systemd calls the state of a unit."""
        return self.unit(unit, "ActiveState")["ActiveState"]

    def hold(self, port: int) -> int:
        """Have another program hold a port; return its process id."""
        source = ON_HOST.read_text(encoding="utf-8")
        told = f"/run/holder-{port}.pid"
        self.run("rm", "-f", told)
        self.container.exec_run(["python3", "-c", source, str(port)], detach=True)
        end = time.monotonic() + SECONDS
        while self.status("test", "-s", told) != 0:
            assert time.monotonic() < end, f"{self.name}: nothing could hold port {port}"
            time.sleep(POLL_SECONDS)
        return int(self.run("cat", told))

    def end(self, pid: int) -> None:
        """End a process by its id, and wait until it is gone."""
        self.run("kill", "-KILL", str(pid))
        end = time.monotonic() + SECONDS
        while self.status("test", "-d", f"/proc/{pid}") == 0 and not self._is_dead(pid):
            assert time.monotonic() < end, f"{self.name}: process {pid} does not end"
            time.sleep(POLL_SECONDS)

    def _is_dead(self, pid: int) -> bool:
        code, state = inside.run(self.container, ["ps", "-o", "state=", "-p", str(pid)])
        return code != 0 or state.startswith("Z")
