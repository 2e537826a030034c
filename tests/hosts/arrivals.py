"""What agents made against what the OAPs hold."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from tests.hosts import oap

SECONDS = 20.0
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Arrivals:
    """The segments made, and which of them each OAP holds."""

    created: frozenset[str]
    found: Mapping[str, frozenset[str]]

    @property
    def missing(self) -> frozenset[str]:
        """What no OAP holds."""
        return self.created.difference(*self.found.values())

    def troubles(self) -> list[str]:
        """Return a sentence for everything that is off."""
        sentences = []
        if self.missing:
            sentences.append(f"{len(self.missing)} of {len(self.created)} segments are in no OAP")
        sentences += [f"{name} got no segment" for name, ids in self.found.items() if not ids]
        return sentences


def segments(
    oaps: Mapping[str, str], service: str, created: frozenset[str], seconds: float = SECONDS
) -> Arrivals:
    """Count what has arrived in the OAPs (name: address), as soon as all of it is stored."""
    end = time.monotonic() + seconds
    while True:
        found = {name: created & oap.segments(address, service) for name, address in oaps.items()}
        arrivals = Arrivals(created, found)
        if not arrivals.missing or time.monotonic() > end:
            return arrivals
        time.sleep(POLL_SECONDS)


def registered(
    oaps: Mapping[str, str], service: str, instance: str, seconds: float = SECONDS
) -> list[str]:
    """Return the OAPs that list an instance, as soon as one of them does."""
    end = time.monotonic() + seconds
    while True:
        names = [
            name for name, address in oaps.items() if instance in oap.instances(address, service)
        ]
        if names or time.monotonic() > end:
            return names
        time.sleep(POLL_SECONDS)
