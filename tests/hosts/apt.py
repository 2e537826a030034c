"""The mirror that this machine's own apt uses, for the suites of the laboratory."""

import functools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.progress import LabError


@dataclass(frozen=True)
class Mirror:
    """Where Debian's main archive is."""

    main: str

    def lines(self, suite: str) -> tuple[str, ...]:
        """Return the lines of sources.list for one suite.

        The main archive alone: it is complete on every mirror, where the security archives of
        older suites list packages that mirrors no longer hold.
        """
        return (f"deb {self.main} {suite} main",)


@functools.cache
def mirror() -> Mirror:
    """Ask apt, so that nothing here names a host."""
    codename = _codename()
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)"],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError("the images need apt-get: this works on Debian and its kin") from error
    for line in done.stdout.splitlines():
        uri, _space, rest = line.partition(" ")
        if rest == f"{codename} main":
            return Mirror(main=uri)
    raise LabError(
        f"apt knows no mirror of Debian {codename} main: "
        "put one into /etc/apt/sources.list and run apt-get update"
    )


def _codename() -> str:
    lines = Path("/etc/os-release").read_text(encoding="utf-8").splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return values.get("VERSION_CODENAME", "").strip('"')
