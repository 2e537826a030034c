"""ansible-playbook with its output shown as it comes, and its recap as data."""

import os
import re
import shlex
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tests.hosts.paths import ROOT

SECONDS = 900
_RECAP = re.compile(r"^(\S+)\s+:\s+ok=\d+\s+changed=(\d+)\s+unreachable=\d+\s+failed=\d+")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True)
class Play:
    """How a run ended: its exit code, its seconds, and the changes on each host."""

    code: int
    seconds: float
    changed: dict[str, int]


def play(inventory: str, playbook: str, *arguments: str) -> Play:
    """Run a playbook of this checkout."""
    command = ["ansible-playbook", "-i", inventory, playbook, *arguments]
    print(f"\n$ {shlex.join(command)}", flush=True)
    begin = time.monotonic()
    changed: dict[str, int] = {}
    with subprocess.Popen(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        watch = threading.Timer(SECONDS, process.kill)
        watch.start()
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if recap := _RECAP.match(_COLOUR.sub("", line)):
                changed[recap[1]] = int(recap[2])
        code = process.wait()
        watch.cancel()
    return Play(code, time.monotonic() - begin, changed)
