"""What the tests ask an OAP for."""

import datetime

import pytest

from tests.hosts.oap import last_hour

FORM = "%d %H:%M:%S"


@pytest.mark.parametrize(
    ("now", "parts"),
    [
        ((12, 30, 5), [("24 11:30:05", "24 12:31:05")]),
        ((0, 30, 5), [("23 23:30:05", "23 23:59:59"), ("24 00:00:00", "24 00:31:05")]),
        ((23, 59, 30), [("24 22:59:30", "24 23:59:59"), ("25 00:00:00", "25 00:00:30")]),
        ((1, 0, 0), [("24 00:00:00", "24 01:01:00")]),
    ],
)
def test_last_hour(now: tuple[int, int, int], parts: list[tuple[str, str]]) -> None:
    """No part is of two days, and nothing is left out."""
    at = datetime.datetime(2026, 11, 24, *now, tzinfo=datetime.UTC)
    told = list(last_hour(at, "SECOND", FORM))
    assert [(one["start"], one["end"]) for one in told] == parts
    assert {one["step"] for one in told} == {"SECOND"}
