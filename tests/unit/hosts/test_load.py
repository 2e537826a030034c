"""Whose fault a lost call is: what the tests of a load hold against nginx, and what not."""

import pytest

from tests.faults.site import none_lost
from tests.hosts.load import CALLERS, Load, Lost

CUT = Lost(0.0, "m", "UNAVAILABLE", "Stream removed (sendmsg: Broken pipe (32))")
ANSWERED = Lost(0.0, "m", "UNAVAILABLE", "no OAP could take the call")


def load(nginx: str, *lost: Lost) -> Load:
    """Return a load that has ended."""
    return Load("proxy:11800", nginx=nginx, made=150, lost=list(lost))


@pytest.mark.parametrize("nginx", ["", "1.19.1", "1.22", "1.31.3"])
def test_no_call_may_be_lost(nginx: str) -> None:
    """One is too many, however its connection ended."""
    none_lost(load(nginx))
    for lost in (CUT, ANSWERED):
        with pytest.raises(AssertionError, match="1 of 150 calls lost"):
            none_lost(load(nginx, lost))


@pytest.mark.parametrize("nginx", ["1.18", "1.18.0", "1.19.0"])
def test_an_nginx_that_does_not_read_on(nginx: str) -> None:
    """Each caller may lose the call that it is making; no more, and none that was answered."""
    none_lost(load(nginx, *[CUT] * CALLERS))
    for lost in ([CUT] * (CALLERS + 1), [CUT, ANSWERED]):
        with pytest.raises(AssertionError, match="calls lost"):
            none_lost(load(nginx, *lost))
