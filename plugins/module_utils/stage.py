# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A throw-away nginx as a transient unit of systemd, apart from the host's network and files.

It runs the very files and the very binary, held by what the instance's own unit holds it with. Its
runtime directory and its logs are others, everything else is read-only, and it ends by itself
should the run that began it be killed.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path
from typing import Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.candidate import (
    addresses_of,
    called_by,
    hosts_file,
    is_frank,
    text_of,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.namespace import (
    Namespace,
    failed_connections,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Inconclusive,
    WorkersDied,
)

Run = Callable[[list[str]], tuple[int, str, str]]

PLACES = Path("/run")
_LIFE_S = 30
# Before nginx comes its sandbox: seconds on a busy host that has hundreds of mounts.
START_S = 10
_PROOF_S = 4.0
_LOOK_S = 0.02
# What holds the processes of the instance's unit holds those of the rehearsal.
_HOLDS = re.compile(
    r"(NoNewPrivileges|Protect(?!System)\w+|ProcSubset|Private(Tmp|Devices|Users)|Restrict\w+"
    r"|LockPersonality|MemoryDenyWriteExecute|SystemCall\w+|CapabilityBoundingSet"
    r"|AmbientCapabilities|User|Group|SupplementaryGroups|UMask|Limit\w+|Environment\w*"
    r"|InaccessiblePaths)="
)
# In the host's network it would open the host's ports: then it must not come to run.
_GUARD = (
    'test "$(readlink /proc/self/ns/net)" = "$0" || '
    '{ echo "systemd gave it no network of its own" >&2; exit 1; }; exec "$@"'
)
# Killed from outside (9: no memory left, 15: told to end) says nothing of the configuration.
_DIED = re.compile(r"worker process \d+ exited (with fatal code|on signal (?!(9|15)\b))")
_SEVERE = re.compile(r"\[(error|crit|alert|emerg)\]")
# What the host may have and the rehearsal has not: a server, a file, a place to write.
# A syslog server and name servers are out of reach there in any case, and answer no call.
_ASIDE = r"(?!.*while (logging to syslog|resolving, ))"
_LACKING = re.compile(rf"(failed \(\d+: |could not be resolved){_ASIDE}")
_SMALL = 1 << 20
_TIME = re.compile(r"^\S+ \S+ (?=\[)")


class RunningStage:
    """The throw-away nginx while it runs; see :class:`rehearsal.Stage`.

    :param namespace: the network that it runs in.
    :param log: returns the lines of its error log.
    :param frank: every error comes to be in that log.
    :param end: ends it.
    """

    def __init__(
        self,
        namespace: Namespace,
        log: Callable[[], Sequence[str]],
        frank: bool,
        end: Callable[[], None],
    ) -> None:
        self._namespace = namespace
        self._log = log
        self._frank = frank
        self._end = end

    def prove(self, generation: str, expectation: Expectation) -> list[Row]:
        """See :class:`rehearsal.Stage`."""
        asked = self._namespace.submit(_prove, generation, expectation)
        deadline = time.monotonic() + _PROOF_S
        while not futures.wait({asked}, timeout=_LOOK_S).done:
            if self._died() or time.monotonic() > deadline:
                self._end()  # so that those who wait for an answer wait no longer
                futures.wait({asked})
                break
        died = self._died()
        if died:
            raise WorkersDied(died)
        rows, failed = asked.result()
        if any(row.fault for row in rows):
            lacking = [line for line in self._log() if _LACKING.search(line)]
            if lacking:
                raise Inconclusive(f"it needs what a rehearsal has not: {lacking[0]}")
            if not self._frank:
                raise Inconclusive("it may lack something, and does not log all of its errors")
        if failed:
            # Right answers as well: what should be forced may have been sent to an OAP.
            raise Inconclusive("it asks another server, which a rehearsal cannot reach")
        return rows

    def _died(self) -> list[str]:
        return fatal(self._log())


@contextmanager
def transient(
    unit: str, command: Sequence[str], error_log: Path, runtime: Path, run: Run
) -> Iterator[RunningStage]:
    """Run a command ``nginx -c FILE`` as a unit NAME-rehearsal, until the end of the block.

    :param unit: name of the instance's own unit.
    :param error_log: where the configuration logs; the rehearsal does so elsewhere.
    :param runtime: directory of its runtime files; the rehearsal's are elsewhere.
    :raises Inconclusive: when it does not come to run.
    """
    name = f"{unit}-rehearsal"

    def end() -> None:
        run(["systemctl", "stop", name])

    try:
        candidate = Path(command[-1]).parent
        text = text_of(candidate)
        addresses = addresses_of(text)
        others = called_by(text, addresses)
        with _place(PLACES / name, end) as place, Namespace(others) as namespace:
            held = run(["systemctl", "cat", unit])[1]
            _folders(error_log.parent, place / "log")
            _folders(runtime, place / "run")
            _small_files(runtime, place / "run")
            (place / "hosts").write_text(hosts_file(addresses), encoding="utf-8")
            properties = [
                *holding(held),
                *_apart(place, namespace.path, candidate, error_log.parent, runtime),
            ]
            try:
                status, out, error = run(
                    ["systemd-run", "--quiet", f"--unit={name}"]
                    + [f"--property={item}" for item in properties]
                    + ["/bin/sh", "-c", _GUARD, namespace.identity, *command]
                )
                log = place / "log" / error_log.name
                if status != 0:
                    said = _lines(place / "words") + _lines(log)
                    raise Inconclusive(
                        first_words(said) or (error or out).strip() or "it did not start"
                    )
                yield RunningStage(namespace, lambda: _lines(log), is_frank(text, error_log), end)
            finally:
                end()
    except OSError as error:
        raise Inconclusive(str(error)) from error


def holding(unit: str) -> list[str]:
    """Return the settings of a unit, drop-ins included, that hold its processes."""
    section, kept = "", []
    for line in unit.replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section == "[Service]" and _HOLDS.match(line):
            kept.append(line.strip())
    return kept


def _apart(place: Path, network: str, candidate: Path, logs: Path, runtime: Path) -> list[str]:
    """Return the settings that keep the unit from everything that is in use."""
    return [
        "Type=forking",
        f"NetworkNamespacePath={network}",
        "ProtectSystem=strict",
        # From systemd 252 on, strict alone may leave it writable.
        "ReadOnlyPaths=/run",
        # A place for sockets of the host that strict leaves writable.
        "TemporaryFileSystem=/dev/shm",
        f"BindPaths={place}/run:{runtime}",
        f"BindPaths={place}/log:{logs}",
        f"BindReadOnlyPaths={place}/hosts:/etc/hosts",
        # A private /tmp would hide what --check has put there.
        f"BindReadOnlyPaths={candidate}",
        f"StandardError=append:{place}/words",
        f"TimeoutStartSec={START_S}",
        f"RuntimeMaxSec={_LIFE_S}",
        "KillSignal=SIGKILL",
        "SuccessExitStatus=SIGKILL",
        "CollectMode=inactive-or-failed",
        # Where memory is short, what serves stays.
        "OOMScoreAdjust=1000",
        "Description=Rehearsal of a configuration of nginx",
    ]


@contextmanager
def _place(path: Path, end: Callable[[], None]) -> Iterator[Path]:
    """Have a directory alone, without what a killed run has left, and remove it."""
    path.mkdir(mode=0o700, exist_ok=True)
    held = os.open(str(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Inconclusive("another rehearsal is at work on this host") from error
        left = list(path.iterdir())
        if left:
            end()
        for one in left:
            shutil.rmtree(str(one)) if one.is_dir() else one.unlink()
        try:
            yield path
        finally:
            shutil.rmtree(str(path), ignore_errors=True)
    finally:
        os.close(held)


def _folders(source: Path, target: Path) -> None:
    """Make the same directories, empty: a configuration may name any of them."""
    for folder, _folders_in_it, _files in os.walk(str(source)):
        there = target / os.path.relpath(folder, str(source))
        there.mkdir(exist_ok=True)
        _same_access(Path(folder), there)


def _small_files(source: Path, target: Path) -> None:
    """Copy what a configuration may read in a runtime directory; a socket is no file."""
    for one in source.iterdir():
        if one.is_file() and not one.is_symlink() and one.stat().st_size < _SMALL:
            (target / one.name).write_bytes(one.read_bytes())
            _same_access(one, target / one.name)


def _same_access(source: Path, target: Path) -> None:
    state = source.stat()
    os.chmod(str(target), state.st_mode & 0o7777)
    os.chown(str(target), state.st_uid, state.st_gid)


def _prove(generation: str, expectation: Expectation) -> tuple[list[Row], int]:
    """Ask every listener; return the answers and how many connections failed meanwhile."""
    before = failed_connections()
    rows = Prover().prove(generation, expectation)
    return rows, failed_connections() - before


def _lines(path: Path) -> list[str]:
    """Return the lines of a log without their times."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [_TIME.sub("", line) for line in text.splitlines()]


def fatal(lines: Sequence[str]) -> list[str]:
    """Return the lines of weight where worker processes die, else none."""
    if not any(_DIED.search(line) for line in lines):
        return []
    return [line for line in lines if _SEVERE.search(line)]


def first_words(lines: Sequence[str]) -> str:
    """Say why it did not start, by the gravest of its lines."""
    grave = [line for line in lines if "[emerg]" in line] or list(lines)
    return f"it did not start there: {grave[0]}" if grave else ""
