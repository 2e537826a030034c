"""The real Python agent with a known number of segments."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass

from tests.hosts.agents import security
from tests.hosts.clients.tls import Tls
from tests.hosts.paths import ROOT
from tests.hosts.progress import LabError

SECONDS = 6.0
SPARE_SECONDS = 45.0


@dataclass(frozen=True)
class PythonReport:
    """What the program under the agent did."""

    service: str
    instance: str
    created: frozenset[str]
    seconds: float
    log: str


def run_python(
    target: str,
    service: str,
    segments: int = 200,
    seconds: float = SECONDS,
    *,
    tls: Tls | None = None,
    token: str = "",
) -> PythonReport:
    """Make segments under the agent, which reports to the target (address:port)."""
    instance = f"{service}-1"
    begin = time.monotonic()
    command = [
        sys.executable, "-m", "tests.hosts.agents.traced_program",
        target, service, instance, str(segments), str(seconds),
    ]  # fmt: skip
    with security.environment("Python", "SW_AGENT_FORCE_TLS", tls, token) as variables:
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, check=False,
                timeout=seconds + SPARE_SECONDS, env={**os.environ, **variables},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise LabError(f"the Python agent for {target} did not end in time") from error
    log = done.stderr[-4000:]
    if done.returncode != 0:
        raise LabError(f"the Python agent for {target} ended with {done.returncode}:\n{log}")
    created = frozenset(json.loads(done.stdout.splitlines()[-1]))
    if len(created) != segments:
        raise LabError(f"{len(created)} distinct segments were made where {segments} were asked")
    return PythonReport(service, instance, created, time.monotonic() - begin, log)
