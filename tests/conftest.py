"""Assertions of what tests share show their values where they fail, as those of the tests do."""

import pytest

pytest.register_assert_rewrite(
    "tests.capabilities",
    "tests.changes",
    "tests.controllers",
    "tests.faults",
    "tests.hosts",
    "tests.matrix",
    "tests.packages",
    "tests.resilience",
    "tests.upgrade",
)
