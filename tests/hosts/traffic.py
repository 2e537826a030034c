"""A real Python agent and a real Java agent through a proxy, and what the OAPs hold of them."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.hosts import arrivals
from tests.hosts.agents import run_java, run_python
from tests.hosts.arrivals import Arrivals
from tests.hosts.oap import GRPC_PORT
from tests.hosts.spec import Host, Lab

# Its start alone takes five seconds where all cores are busy.
JAVA_SECONDS = 30


@dataclass(frozen=True)
class Traffic:
    """What went through one proxy."""

    proxy: str
    python: Arrivals
    java: list[str]

    def troubles(self) -> list[str]:
        """Return a sentence for everything that is off."""
        sentences = [f"{self.proxy}, Python agent: {text}" for text in self.python.troubles()]
        if not self.java:
            sentences.append(f"{self.proxy}: the Java agent is registered at no OAP")
        return sentences

    def __str__(self) -> str:
        """Say it in one line."""
        found = ", ".join(f"{name} {len(ids)}" for name, ids in self.python.found.items())
        connected = f"registered at {' and '.join(self.java)}" if self.java else "NOT registered"
        return (
            f"{self.proxy}: {len(self.python.created)} segments created, found in {found}; "
            f"Java agent {connected}"
        )


def send(lab: Lab, proxy: Host, segments: int = 200) -> Traffic:
    """Run both agents against one proxy, and count what arrives in the OAPs.

    One after the other: the Java agent's call a second between the Python agent's streams, of a
    second each, can make a fair round robin send all streams to the same OAP.
    """
    target = f"{proxy.address}:{GRPC_PORT}"
    run = f"{lab.name}-{proxy.name}-{time.time_ns() // 1_000_000}"
    oaps: Mapping[str, str] = {host.name: host.address for host in lab.of_kind("oap")}
    made = run_python(target, f"python-{run}", segments)
    lived = run_java(
        target,
        f"java-{run}",
        JAVA_SECONDS,
        until=lambda: bool(arrivals.registered(oaps, f"java-{run}", f"java-{run}-1", seconds=0)),
    )
    return Traffic(
        proxy=proxy.name,
        python=arrivals.segments(oaps, made.service, made.created),
        java=arrivals.registered(oaps, lived.service, lived.instance),
    )
