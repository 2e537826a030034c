"""Runs that are cut short: every system call is counted, and one of them is fatal or fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Killed(BaseException):
    """The process was killed here: nothing that handles exceptions may handle this."""


CALLS = ("open", "mkdir", "fchmod", "chmod", "fsync", "rename", "symlink", "unlink", "rmdir")


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
        for name in CALLS:
            real = getattr(os, name)

            def counted(
                *given: Any, _real: Callable[..., Any] = real, _name: str = name, **named: Any
            ) -> Any:
                before(made)
                made.append(_name)
                return _real(*given, **named)

            patch.setattr(os, name, counted)
        yield made
