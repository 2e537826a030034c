"""Run every sanity test of ansible-test on a copy of the checkout.

ansible-test wants its collection at a real path .../ansible_collections/NAMESPACE/NAME, and each
Python by the name of its version on the PATH. The copy is a repository of its own: in a folder
that the checkout's git ignores, ansible-test would find nothing to test. Its environments are made
by itself and kept below ~/.ansible/test for the next run.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.gates import tree

COPY = tree.ROOT / ".build/sanity/ansible_collections/skywalking/oap_proxy"
# The Pythons that a managed host or a controller may have.
VERSIONS = ("3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
NO_DOWNLOAD = re.compile(r"can be manually downloaded and saved to: (\S+)")
STAND_IN = """\
# In place of get-pip.py, which could not be downloaded: the pip that Python itself brings.
import ensurepip

ensurepip.bootstrap()
"""


def pythons() -> list[Path]:
    """Return the directories of Pythons that are installed but not on the PATH."""
    pyenv = shutil.which("pyenv")
    if pyenv is None:
        return []
    root = subprocess.run([pyenv, "root"], check=True, capture_output=True, text=True)
    versions = Path(root.stdout.strip()) / "versions"
    found = (sorted(versions.glob(f"{version}.*/bin")) for version in VERSIONS)
    return [directories[-1] for directories in found if directories]


def environment() -> dict[str, str]:
    """Return the environment for ansible-test: this Python first, then every other one."""
    own = Path(sys.executable).parent
    path = os.pathsep.join([str(own), *map(str, pythons()), os.environ["PATH"]])
    return {**os.environ, "PATH": path}


def ansible_test() -> tuple[int, str]:
    """Run ansible-test, showing what it prints, and return its status and its output."""
    command = ["ansible-test", "sanity", "--requirements", "--color", "no", *sys.argv[1:]]
    process = subprocess.Popen(
        command,
        cwd=COPY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    return process.wait(), "".join(lines)


def main() -> int:
    """Copy, run, and run again with Python's own pip where get-pip.py is out of reach."""
    shutil.rmtree(COPY, ignore_errors=True)
    tree.copy(COPY)
    subprocess.run(["git", "init", "--quiet"], cwd=COPY, check=True)
    status, output = ansible_test()
    missing = NO_DOWNLOAD.search(output)
    if status and missing:
        stand_in = Path(missing[1])
        print("get-pip.py is out of reach: again with the pip that Python itself brings")
        stand_in.parent.mkdir(parents=True, exist_ok=True)
        stand_in.write_text(STAND_IN, encoding="utf-8")
        try:
            status, output = ansible_test()
        finally:
            stand_in.unlink()
    if "All targets skipped" in output:
        print("ansible-test found nothing to test")
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
