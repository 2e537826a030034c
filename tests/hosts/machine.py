"""What a container needs from this machine so that systemd boots in it."""

import subprocess
from pathlib import Path

from tests.hosts.progress import LabError
from tests.hosts.spec import PREFIX

CGROUP = Path("/sys/fs/cgroup")
# On a machine with cgroup v1 the second hierarchy is mounted here for the hosts that need it.
CGROUP2 = Path("/run") / f"{PREFIX}-lab" / "cgroup2"
ONLINE = "/sys/devices/system/cpu/online"
NEEDS_CGROUP2 = frozenset({"sid"})


def cgroup_for(suite: str) -> Path:
    """Return the directory that a host of this suite sees as /sys/fs/cgroup."""
    if suite not in NEEDS_CGROUP2 or (CGROUP / "cgroup.controllers").exists():
        return CGROUP
    if not (CGROUP2 / "cgroup.procs").exists():
        CGROUP2.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "cgroup2", "none", str(CGROUP2)],
            capture_output=True, text=True, timeout=10, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise LabError(f"{suite} boots on cgroup2 alone, and: {done.stderr.strip()}")
    return CGROUP2


def boot_command(container: str, cgroup: Path, core: int | None = None) -> list[str]:
    """Return what starts systemd in a group of its own, apart from its neighbours'.

    A host of one core is told so where programs look for it.
    """
    before = []
    if core is not None:
        told = f"/run/{PREFIX}-cores"
        before = [f"echo {core} > {told}", f"mount --bind {told} {ONLINE}"]
    if cgroup == CGROUP2:
        group = f"/sys/fs/cgroup/{container}"
        before += [f"mkdir -p {group}", f"echo $$ > {group}/cgroup.procs"]
    if not before:
        return ["/lib/systemd/systemd"]
    return ["/bin/sh", "-c", " && ".join([*before, "exec /lib/systemd/systemd"])]
