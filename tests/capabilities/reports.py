"""Real agents that report through a proxy, and what of it is in the OAPs."""

import time
from collections.abc import Mapping

from tests.hosts import arrivals
from tests.hosts.agents import run_java, run_node, run_python
from tests.hosts.arrivals import Arrivals
from tests.hosts.clients import Tls

SEGMENTS = 20
SECONDS = 2.0
JAVA_SECONDS = 40

Oaps = Mapping[str, str]


def python_segments(
    target: str, oaps: Oaps, tls: Tls | None, wait: float = arrivals.SECONDS
) -> Arrivals:
    """Have the Python agent make segments, and look for them in the OAPs (name: address)."""
    made = run_python(target, _service("python"), SEGMENTS, SECONDS, tls=tls)
    return arrivals.segments(oaps, made.service, made.created, wait)


def node_segments(
    target: str, oaps: Oaps, tls: Tls | None, wait: float = arrivals.SECONDS
) -> Arrivals:
    """Have the Node.js agent make segments, and look for them in the OAPs (name: address)."""
    made = run_node(target, _service("node"), SEGMENTS, SECONDS, tls=tls)
    return arrivals.segments(oaps, made.service, made.created, wait)


def java_registered(
    target: str, oaps: Oaps, tls: Tls | None, seconds: int = JAVA_SECONDS
) -> list[str]:
    """Have the Java agent live until it has registered, and name the OAPs that know it.

    It traces nothing without plugins; what it reports is itself and its JVM.
    """
    service = _service("java")

    def known() -> list[str]:
        return arrivals.registered(oaps, service, f"{service}-1", seconds=0)

    run_java(target, service, seconds, tls=tls, until=lambda: bool(known()))
    return known()


def _service(agent: str) -> str:
    return f"{agent}-{time.time_ns()}"
