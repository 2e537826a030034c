"""Settings that every unit test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# The same examples at every run, and no verdict that hangs on how fast the machine is.
settings.register_profile(
    "gate", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# More of them, others at every run: pytest tests/unit --hypothesis-profile=search
settings.register_profile("search", settings.get_profile("gate"), derandomize=False)
settings.load_profile("gate")


@pytest.fixture(scope="session", autouse=True)
def _no_flushing() -> Iterator[None]:
    """Let nothing wait for a disk: no test cuts the power, and those of flushing look at calls."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        yield
