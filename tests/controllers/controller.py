"""An ansible-core of its own with the collection installed, as on the machine of who deploys."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.paths import BUILD, ROOT

NAME = "skywalking.oap_proxy"
SECONDS = 600
_HERE = Path(__file__).resolve().parent
KNOWN = sorted(
    (path.stem for path in _HERE.glob("*.lock")), key=lambda core: int(core.partition(".")[2])
)
_RECAP = re.compile(
    r"^proxy1\s+:\s+ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE
)
_PYTHONS = (sys.executable, "/usr/bin/python3")


@dataclass(frozen=True)
class Play:
    """How a run of a playbook ended."""

    code: int
    output: str

    @property
    def changed(self) -> int:
        """The number of changes on proxy1, where nothing may have failed."""
        changed, *bad = self._recap
        assert (self.code, bad) == (0, [0, 0]), self.output[-4000:]
        return changed

    @property
    def refusal(self) -> str:
        """What is printed of a run that must have failed on proxy1."""
        _changed, *bad = self._recap
        assert (self.code, bad) == (2, [0, 1]), self.output[-4000:]
        return self.output

    @property
    def _recap(self) -> list[int]:
        found = _RECAP.search(self.output)
        assert found, f"exit code {self.code}, no recap:\n{self.output[-4000:]}"
        return [int(number) for number in found.groups()]


@dataclass(frozen=True)
class Controller:
    """One ansible-core in a directory that is no checkout.

    :ivar core: its version, as in the name of its lock file.
    :ivar programs: where ansible-playbook and its like are.
    :ivar directory: where they are run.
    """

    core: str
    programs: Path
    directory: Path

    def run(self, *command: str) -> tuple[int, str]:
        """Run one of the programs, and return its exit status and what it printed."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")
        }
        done = subprocess.run(
            [str(self.programs / command[0]), *command[1:]],
            cwd=self.directory,
            env={
                **kept,
                "ANSIBLE_COLLECTIONS_PATH": str(self.directory / "collections"),
                "ANSIBLE_HOME": str(self.directory / "home"),
                "ANSIBLE_NOCOLOR": "1",
                "PATH": os.pathsep.join([str(self.programs), os.environ["PATH"]]),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return done.returncode, done.stdout

    def play(self, inventory: Path, playbook: str, *arguments: str) -> Play:
        """Run a playbook of the installed collection by its full name."""
        command = ("ansible-playbook", "-i", str(inventory), f"{NAME}.{playbook}", *arguments)
        return Play(*self.run(*command))

    def version(self) -> str:
        """Return what ansible-playbook calls itself."""
        return self.run("ansible-playbook", "--version")[1].partition("\n")[0]


def python_for(core: str) -> str:
    """Return a Python that the packages of a lock file are for, by the note beside what it locks.

    :raises LookupError: when this machine has none.
    """
    text = (_HERE / f"{core}.in").read_text(encoding="ascii")
    oldest = text.partition("# python ")[2].strip()
    for python in _PYTHONS:
        found = _said(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
        # Of the two that there are of each package, the older Python has the older ansible-core.
        if found == oldest or (found in {"3.12", "3.13"} and oldest == "3.12"):
            return python
    raise LookupError(f"ansible-core {core} is tested with Python {oldest}: install it")


def install(core: str, directory: Path) -> Controller:
    """Make an environment with an ansible-core, and install the collection for it."""
    programs = BUILD / "controllers" / core / "bin"
    uv = str(Path(sys.executable).parent / "uv")
    lock = str(_HERE / f"{core}.lock")
    _said(uv, "venv", "--quiet", "--clear", "--python", python_for(core), str(programs.parent))
    _said(
        uv, "pip", "sync", "--quiet", "--require-hashes", "--python", str(programs / "python"), lock
    )
    made = Controller(core, programs, directory)
    _said(
        str(programs / "ansible-galaxy"), "collection", "build", "--force",
        "--output-path", str(directory), cwd=ROOT,
    )  # fmt: skip
    (tarball,) = directory.glob("*.tar.gz")
    code, told = made.run(
        "ansible-galaxy", "collection", "install", str(tarball), "-p", "collections", "--offline"
    )
    assert code == 0, told
    return made


def _said(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
