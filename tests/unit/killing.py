"""Runs that are killed: every system call is counted, and the process dies at one of them."""

from __future__ import annotations

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
    made: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            real = getattr(os, name)

            def counted(
                *given: Any, _real: Callable[..., Any] = real, _name: str = name, **named: Any
            ) -> Any:
                if len(made) >= number:
                    raise Killed
                made.append(_name)
                return _real(*given, **named)

            patch.setattr(os, name, counted)
        yield made
