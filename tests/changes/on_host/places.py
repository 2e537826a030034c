"""Every place at which a run can be killed, counted, and a real SIGKILL at one of them.

A place is just before a system call that changes something on disk, just before a command to the
instance, and in the middle of it: the command runs on, as it does when only the run is killed. A
request to the docker engine is a place as well, which does all of it or nothing. What changes
nothing (a question to systemd or to the engine, a connection of the proof) is one place after each
change: how often it is asked depends on the moment.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils import tree
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import Connection
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import TransactionError

from tests.changes.on_host.commands import run
from tests.changes.on_host.proxy import Change, Proxy

CALLS = (
    "mkdir", "chmod", "fchmod", "fsync", "rename", "replace", "symlink", "link", "unlink", "remove",
    "rmdir", "truncate", "ftruncate", "utime", "chown", "fchown",
)  # fmt: skip
TWO_NAMES = ("rename", "replace", "symlink", "link")
QUESTIONS = ("show", "is-active", "cat")
_ID = re.compile(r"[0-9a-f]{12}")
# Of a request to the engine: what is to be done to a container, and by which signal.
_REQUEST = re.compile(r"^/v[0-9.]+/containers/(?:(create)|[^/?]+(?:/(\w+))?)(?:\?signal=(\w+))?")
# What the engine is asked with another method than GET, and changes nothing.
_WAITING = "wait"
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@dataclass
class Places:
    """The places that a run has come to.

    :ivar fatal: number of the place at which it is killed, counted from 1; 0 for none.
    :ivar tell: where the name of the fatal place is written before.
    """

    fatal: int = 0
    tell: int = -1
    names: list[str] = field(default_factory=list)
    _asked: set[str] = field(default_factory=set)

    def change(self, name: str) -> None:
        """Come to a place before something that changes."""
        self._asked.clear()
        self._come(name)

    def question(self, name: str) -> None:
        """Come to a place before something that changes nothing."""
        if name not in self._asked:
            self._asked.add(name)
            self._come(name)

    def _come(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.fatal:
            os.write(self.tell, name.encode())
            os.kill(os.getpid(), signal.SIGKILL)

    def command(self, command: list[str], **_ansibles: bool) -> tuple[int, str, str]:
        """Run a command to the instance."""
        name = " ".join(Path(part).name for part in command[:2])
        if command[1] in QUESTIONS or command[0] == "journalctl":
            self.question(f"ask {name}")
            return run(command)
        self.change(f"before {name}")
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            self.change(f"during {name}")
            out, error = process.communicate()
        return process.returncode, out, error

    def dial(self, endpoint: Endpoint, timeout: float) -> Connection:
        """Open a connection of the proof."""
        self.question("ask a listener")
        return Connection(endpoint, timeout)

    def watch(self) -> None:
        """Count from now on, in this process, what is changed on disk."""
        for name in CALLS:
            self._wrap(name)
        really = os.open
        files, fdopen = builtins.open, os.fdopen

        def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
            if flags & _WRITING:
                self.change(f"open {_about(path)}")
            return really(path, flags, *more, **named)

        def file(path: Any, mode: str = "r", *more: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+"):
                return files(path, mode, *more, **named)
            self.change(f"open {_about(path)}")
            written = io.BufferedWriter(_Written(path, self, mode.strip("bt")))
            encoding = named.get("encoding") or (more[1] if len(more) > 1 else None)
            return written if "b" in mode else io.TextIOWrapper(written, encoding)

        def opened_before(descriptor: int, mode: str = "r", *more: Any, **named: Any) -> Any:
            if mode != "wb":
                return fdopen(descriptor, mode, *more, **named)
            return io.BufferedWriter(_Written(descriptor, self))

        exchange = tree.exchange

        def exchanged(one: Path, other: Path) -> bool:
            self.change(f"renameat2 {_about(other)}")
            return exchange(one, other)

        tree.exchange = exchanged
        self._watch_engine()
        os.open, os.fdopen = opened, opened_before  # type: ignore[assignment]
        builtins.open = io.open = file  # type: ignore[assignment]

    def _watch_engine(self) -> None:
        """Count what the engine is asked for, where its library is there."""
        try:
            from requests import Session  # noqa: PLC0415
        except ImportError:
            return
        send = Session.send

        def sent(session: Any, request: Any, **named: Any) -> Any:
            found = _REQUEST.match(request.path_url)
            told = [part for part in found.groups() if part] if found else []
            if request.method == "GET" or told == [_WAITING]:
                self.question("ask the engine")
            else:
                self.change(" ".join(["engine", *(told or [request.method.lower()])]))
            return send(session, request, **named)

        Session.send = sent  # type: ignore[method-assign,assignment]

    def _wrap(self, name: str) -> None:
        really = getattr(os, name)

        def counted(*given: Any, **named: Any) -> Any:
            # Of two names the second is the one that comes to be.
            about = given[1] if name in TWO_NAMES else given[0]
            self.change(f"{name} {_about(about)}")
            return really(*given, **named)

        setattr(os, name, counted)


class _Written(io.FileIO):
    """A file whose writes are places."""

    def __init__(self, file: Any, places: Places, mode: str = "w") -> None:
        super().__init__(file, mode)
        self._places = places

    def write(self, data: Any) -> int:
        self._places.change(f"write {_about(self.fileno())}")
        return super().write(data) or 0


def _about(path: Any) -> str:
    """Return the name of a file, that of a generation as what it is."""
    place = Path(f"/proc/self/fd/{path}").readlink() if isinstance(path, int) else Path(path)
    return _ID.sub("ID", place.name)


def watched(proxy: Proxy, change: Change, places: Places, rehearses: bool) -> list[str]:
    """Run a change in this process, and return the places that it came to."""
    places.watch()
    transaction = proxy.transaction(places.command, places.dial, rehearses)
    try:
        transaction.run(change.files, change.expectation)
    except TransactionError as error:
        # Only what is wrong may be found out.
        if not change.snippet or error.reason != "fallback":
            raise
    return places.names


def killed_at(number: int, proxy: Proxy, change: Change, rehearses: bool) -> tuple[str, list[str]]:
    """Run a change in a process of its own that is killed at a place.

    :returns: the name of the place, empty when the run came to its end before; and then all places.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        names = watched(proxy, change, Places(number, writing), rehearses)
        os.write(writing, json.dumps(names).encode())
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as stream:  # noqa: PTH123 - it is a pipe
        told = stream.read().decode()
    _pid, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return told, []
    assert status == 0, f"the run ended with {status}, having told: {told}"
    return "", list(json.loads(told))
