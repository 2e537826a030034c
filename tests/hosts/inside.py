"""In the namespaces of a host: what runs there, without asking the engine each time.

``docker exec`` takes ten times the processor time of ``nsenter``, and is called thousands of times.
"""

import io
import os
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from docker.models.containers import Container

from tests.hosts.progress import LabError

CAPABILITIES = 41
NAMESPACES = ("--mount", "--uts", "--ipc", "--net", "--pid")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "container": "docker",
}


def run(container: Container, command: list[str]) -> tuple[int, str]:
    """Run a command of root's in a host and return its exit code and all it printed."""
    done = subprocess.run(
        [*enter(container), *command], env=ENVIRONMENT,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(errors="replace").strip()


def put(container: Container, files: Mapping[str, str], mode: int = 0o600) -> None:
    """Write files of root's (path: text) into a host.

    ``docker cp`` mounts the volumes of a container for each copy, and with Debian 12's engine what
    it has mounted stays in there: after a hundred copies the sandbox of a unit took seconds.
    """
    done = subprocess.run(
        [*enter(container), "tar", "--extract", "--file=-", "--directory=/"],
        env=ENVIRONMENT, input=packed(files, mode), capture_output=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LabError(f"{container.name} does not take {', '.join(files)}: {done.stderr!r}")


def packed(files: Mapping[str, str], mode: int = 0o600) -> bytes:
    """Return an archive of files of root's."""
    with io.BytesIO() as stream:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for path, text in files.items():
                data = text.encode()
                entry = tarfile.TarInfo(path.lstrip("/"))
                entry.size, entry.mode, entry.mtime = len(data), mode, int(time.time())
                tar.addfile(entry, io.BytesIO(data))
        return stream.getvalue()


def enter(container: Container) -> list[str]:
    """Return what a command begins with that is to run in a host, with what root may do there."""
    pid = _first_process(container)
    found = re.search(r"CapBnd:\s(\w+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    assert found, "the kernel knows no capabilities"
    may = [f"+cap_{bit}" for bit in range(CAPABILITIES) if int(found[1], 16) >> bit & 1]
    # More than its systemd has would be hidden from it: /proc tells nothing of who may do more.
    held = ["setpriv", f"--bounding-set={','.join(['-all', *may])}", "--"]
    return [_nsenter(), f"--target={pid}", *NAMESPACES, "--", *held]


def root(container: Container) -> str:
    """Return where the files of a host are seen from outside."""
    return f"/proc/{_first_process(container)}/root"


def from_there[Answer](container: Container, function: Callable[[], Answer]) -> Answer:
    """Call what connects to somewhere, with the network that programs of a host have."""

    def there() -> Answer:
        with Path(f"/proc/{_first_process(container)}/ns/net").open(encoding="ascii") as network:
            os.setns(network.fileno(), os.CLONE_NEWNET)
        return function()

    # A network is a thread's own, and this one ends here.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(there).result()


@cache
def _nsenter() -> str:
    program = shutil.which("nsenter")
    if program is None or os.geteuid() != 0:
        raise LabError("tests enter the hosts with nsenter, of util-linux, and as root")
    return program


def _first_process(container: Container) -> int:
    pid = int(container.attrs["State"]["Pid"])
    if not _is_of(container, pid):
        container.reload()
        pid = int(container.attrs["State"]["Pid"])
    if pid == 0:
        raise LabError(f"{container.name} does not run: it is {container.status}")
    return pid


def _is_of(container: Container, pid: int) -> bool:
    """Whether a process is the one that it was: a host that has booted again has another."""
    try:
        return str(container.id) in Path(f"/proc/{pid}/cgroup").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
