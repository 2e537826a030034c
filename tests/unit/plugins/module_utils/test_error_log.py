"""What an error log has said since a mark, and what of it tells of trouble."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import ErrorLog

OPENING = "2026/11/22 17:00:00 [notice] 7#7: signal 1 (SIGHUP) received, reconfiguring"
BIND = "[emerg] 7#7: bind() to 0.0.0.0:11800 failed (98: Address already in use)"
GIVEN_UP = "[emerg] 7#7: still could not bind()"
MISSING = '[emerg] 7#7: cannot load certificate "/x": BIO_new_file() failed'
DIED = "[alert] 7#7: worker process 31 exited with fatal code 2 and cannot be respawned"
CRASHED = "[alert] 7#7: worker process 31 exited on signal 11 (core dumped)"
AT = "2026/11/22 17:00:01 "


@pytest.fixture
def log(tmp_path: Path) -> ErrorLog:
    """A log that is not there yet."""
    return ErrorLog(tmp_path / "error.log")


def write(log: ErrorLog, *lines: str) -> None:
    """Append lines to the error log."""
    with log.path.open("a") as stream:
        stream.writelines(f"{line}\n" for line in lines)


def test_log_since_a_mark(log: ErrorLog) -> None:
    """Only what was written since the mark, only what tells of trouble, without its time."""
    write(log, AT + MISSING)
    mark = log.mark()
    write(log, OPENING, AT + BIND, AT + "[warn] 7#7: low", AT + "[info] 7#7: no trouble")
    assert log.trouble_since(mark) == [BIND, "[warn] 7#7: low"]


def test_alerts(log: ErrorLog) -> None:
    """Alerts are what is critical or worse since the mark, each once, without its time."""
    write(log, AT + MISSING)
    mark = log.mark()
    assert log.alerts_since(mark) == []
    worse = ["[crit] 7#7: a", "[alert] 7#7: b", "[emerg] 7#7: c"]
    write(log, *(AT + line for line in [*worse, *worse, "[error] 7#7: d", "[warn] 7#7: e"]))
    assert log.alerts_since(mark) == worse


def test_the_proof_makes_no_trouble(log: ErrorLog) -> None:
    """What the proof's own forced calls make nginx log is no trouble."""
    mark = log.mark()
    forced = 'upstream: "grpc://oap_proxy_unavailable"'
    write(log, f"{AT}[error] 7#7: *1 no live upstreams while connecting, {forced}", AT + BIND)
    assert log.trouble_since(mark) == [BIND]


@pytest.mark.parametrize(("how", "told"), [("on signal 9", False), ("on signal 11", True)])
def test_a_binary_that_was_taken_back(log: ErrorLog, how: str, told: bool) -> None:
    """That we have ended it is no trouble; that it ended by itself is."""
    mark = log.mark()
    line = f"[alert] 7#7: new binary process 31 exited {how}"
    write(log, AT + line)
    assert log.trouble_since(mark) == ([line] if told else [])


def test_log_says_a_thing_once(log: ErrorLog) -> None:
    """Five failed binds are one line; of many lines twenty are told, grave ones before all."""
    mark = log.mark()
    write(log, *(f"2026/11/22 17:00:0{second} {BIND}" for second in range(5)))
    assert log.trouble_since(mark) == [BIND]
    write(log, *(f"{AT}[error] 7#7: number {number}" for number in range(30)))
    newest = [f"[error] 7#7: number {number}" for number in range(29, -1, -1)]
    assert log.trouble_since(mark) == [BIND, *newest[:19]]
    write(log, AT + MISSING, AT + "[warn] 7#7: low")
    assert log.trouble_since(mark) == [BIND, MISSING, "[warn] 7#7: low", *newest[:17]]


def test_log_of_grave_lines_alone(log: ErrorLog) -> None:
    """Of more than twenty grave lines the first are told: what follows comes of them."""
    mark = log.mark()
    write(log, *(f"{AT}[alert] 7#7: number {number}" for number in range(30)))
    told = [f"[alert] 7#7: number {number}" for number in range(20)]
    assert log.trouble_since(mark) == log.alerts_since(mark) == told


def test_log_that_was_rotated(log: ErrorLog) -> None:
    """A log that was moved away meanwhile is read from its beginning."""
    write(log, *[AT + MISSING] * 10)
    mark = log.mark()
    log.path.rename(log.path.with_suffix(".1"))
    write(log, AT + BIND)
    assert log.trouble_since(mark) == [BIND]


def test_log_that_was_not_there(log: ErrorLog) -> None:
    """A log that the instance made after the mark is read whole."""
    mark = log.mark()
    assert (mark.inode, mark.offset) == (0, 0)
    assert log.trouble_since(mark) == []
    write(log, AT + BIND)
    assert log.trouble_since(mark) == [BIND]


def test_log_that_is_no_text(log: ErrorLog) -> None:
    """Bytes that are no UTF-8 do not hide the rest."""
    mark = log.mark()
    log.path.write_bytes(b"\xff\xfe [error] 7#7: odd\n" + f"{AT}{BIND}\n".encode())
    assert log.trouble_since(mark) == [BIND, "\ufffd\ufffd [error] 7#7: odd"]


@pytest.mark.parametrize(
    ("lines", "given_up"),
    [
        ([], False),
        ([OPENING], False),
        ([AT + BIND], False),
        ([AT + BIND] * 5, False),
        ([AT + BIND, AT + GIVEN_UP], True),
        ([AT + MISSING], True),
        ([AT + "[error] 7#7: *1 connect() failed (111: Connection refused)"], False),
        ([AT + "[warn] 7#7: conflicting server name"], False),
        ([AT + DIED], True),
        ([AT + CRASHED], True),
        ([AT + DIED.replace("process 31", "process 11")], False),
        ([AT + CRASHED.replace("process 31", "process 12")], False),
        ([AT + DIED.replace("process 31", "process 11"), AT + CRASHED], True),
        ([AT + "[notice] 7#7: worker process 31 exited with code 0"], False),
    ],
)
def test_given_up(log: ErrorLog, lines: Sequence[str], given_up: bool) -> None:
    """Nginx has given up when it says so, or when a new worker dies; a bind is tried again."""
    write(log, AT + GIVEN_UP)
    mark = log.mark()
    write(log, *lines)
    assert log.given_up(mark, {11, 12}) is given_up


@pytest.mark.parametrize(("free", "total", "told"), [(1, 9, False), (0, 9, True), (0, 0, False)])
def test_a_log_without_room(
    log: ErrorLog, monkeypatch: pytest.MonkeyPatch, free: int, total: int, told: bool
) -> None:
    """A log that takes nothing any more is a trouble; a file system that counts no room is not."""
    real = os.statvfs(log.path.parent)
    full = os.statvfs_result((real.f_bsize, real.f_frsize, total, free, free, *tuple(real)[5:]))
    monkeypatch.setattr(os, "statvfs", lambda _path: full)
    said = f"the file system of {log.path.parent} is full" if told else ""
    assert (log.mute() or "").partition(":")[0] == said
