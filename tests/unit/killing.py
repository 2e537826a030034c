"""Runs that are cut short: every system call is counted, and one of them is fatal or fails.

Those that write bytes are not: what they write to is swept as long as its name is not sealed.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import tree


class Killed(BaseException):
    """The process was killed here: nothing that handles exceptions may handle this."""


CALLS: tuple[tuple[Any, str], ...] = (
    *(
        (os, name)
        for name in (
            "open",
            "mkdir",
            "fchmod",
            "chmod",
            "fsync",
            "rename",
            "symlink",
            "unlink",
            "rmdir",
        )
    ),
    (tree, "exchange"),
)
"""Every call that changes something on disk, and where it is looked up."""


@contextmanager
def killed_at(number: int) -> Iterator[list[str]]:
    """Let only so many system calls through, and die instead of the next one."""

    def die(made: list[str]) -> None:
        if len(made) >= number:
            raise Killed

    with _counted(die) as made:
        yield made


@contextmanager
def failing_at(number: int, times: int = 1) -> Iterator[list[str]]:
    """Let so many system calls through, then let this many fail for want of room."""

    def fail(made: list[str]) -> None:
        if number <= len(made) < number + times:
            made.append("failed")
            raise OSError(errno.ENOSPC, "No space left on device")

    with _counted(fail) as made:
        yield made


@contextmanager
def _counted(before: Callable[[list[str]], None]) -> Iterator[list[str]]:
    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for place, name in CALLS:
            real = getattr(place, name)

            def counted(
                *given: Any, _real: Callable[..., Any] = real, _name: str = name, **named: Any
            ) -> Any:
                before(made)
                made.append(_name)
                return _real(*given, **named)

            patch.setattr(place, name, counted)
        yield made
