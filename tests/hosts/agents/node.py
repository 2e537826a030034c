"""The real Node.js agent with a known number of segments."""

import json
import os
import subprocess
import time
from dataclasses import dataclass

from tests.hosts import npm
from tests.hosts.agents import security
from tests.hosts.clients.tls import Tls
from tests.hosts.paths import HERE
from tests.hosts.progress import LabError

SECONDS = 6.0
SPARE_SECONDS = 45.0


@dataclass(frozen=True)
class NodeReport:
    """What the program under the agent did."""

    service: str
    instance: str
    created: frozenset[str]
    seconds: float
    log: str


def prepare_node() -> list[str]:
    """Install the agent unless that was done before, and return the command of its program."""
    return npm.program(HERE / "agents" / "nodejs", "traced_program.js")


def run_node(
    target: str,
    service: str,
    segments: int = 200,
    seconds: float = SECONDS,
    *,
    tls: Tls | None = None,
    token: str = "",
) -> NodeReport:
    """Make segments under the agent, which reports to the target (address:port)."""
    instance = f"{service}-1"
    begin = time.monotonic()
    command = [*prepare_node(), target, service, instance, str(segments), str(seconds)]
    with security.environment("Node.js", "SW_AGENT_SECURE", tls, token) as variables:
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, check=False,
                timeout=seconds + SPARE_SECONDS, env={**os.environ, **variables},
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise LabError(f"the Node.js agent for {target} did not end in time") from error
    lines = done.stdout.splitlines()  # where the agent logs, too
    made = [line for line in lines if line.startswith('["')]
    log = "\n".join([*(line for line in lines if line not in made), done.stderr])[-4000:]
    if done.returncode != 0:
        raise LabError(f"the Node.js agent for {target} ended with {done.returncode}:\n{log}")
    created = frozenset(json.loads(made[0]))
    if len(created) != segments:
        raise LabError(f"{len(created)} distinct segments were made where {segments} were asked")
    return NodeReport(service, instance, created, time.monotonic() - begin, log)
