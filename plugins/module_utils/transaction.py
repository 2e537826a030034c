# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the steps from files to a proven configuration, and back when one fails."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    Busy,
    File,
    GenerationError,
    Tree,
    check,
    identity,
    write,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance, Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import (
    PROOF_FILE,
    Expectation,
    Prover,
    Row,
)

HIDDEN = "(secret, not shown)\n"
_LOOK_AT_LOG_S = 0.2
# What nginx writes before its words: time, level, process and connection.
_PREFIX = re.compile(r"^(nginx: )?(\d{4}/\d\d/\d\d \S+ )?(\[\w+\] )?(\d+#\d+: )?(\*\d+ )?")


@dataclass(frozen=True)
class Settings:
    """How a transaction behaves.

    :ivar allow_restart: restart where a reload cannot take the change.
    :ivar keep: number of generations to keep on disk.
    :ivar proof_timeout: seconds to wait for the proof.
    """

    allow_restart: bool = False
    keep: int = 5
    proof_timeout: float = 20.0


@dataclass
class Outcome:
    """What a transaction did.

    :ivar proof: one row a listener.
    :ivar proven_ms: milliseconds from the swap on disk to the proof; None without a swap.
    :ivar alerts: what nginx logged as an alert or worse, though the proof holds.
    """

    changed: bool
    generation: str
    previous: str | None
    action: str = "none"
    proof: list[Row] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    tested: bool = True
    proven_ms: float | None = None
    alerts: list[str] = field(default_factory=list)


class TransactionError(Exception):
    """A transaction that did not reach its end.

    :ivar reason: rejected, not_live, fallback, restart_needed, not_started, busy or unproven.
    :ivar nginx_log: what nginx said.
    :ivar rolled_back: the generation before is on disk again (and live, if it was).
    :ivar generation: id of what is live now, None when nothing is known to be.
    :ivar proof: the last rows seen.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        nginx_log: Sequence[str] = (),
        rolled_back: bool = False,
        generation: str | None = None,
        proof: Sequence[Row] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.nginx_log = list(nginx_log)
        self.rolled_back = rolled_back
        self.generation = generation
        self.proof = list(proof)

    def as_result(self) -> dict[str, Any]:
        """Return what a module returns beside its message."""
        return {
            "reason": self.reason,
            "nginx_log": self.nginx_log,
            "rolled_back": self.rolled_back,
            "generation": self.generation,
            "proof": [row.as_result() for row in self.proof],
        }


@dataclass
class _State:
    """What was found before anything was touched."""

    wanted: str
    disk: str | None
    live: str | None
    running: bool
    before: str | None


class Transaction:
    """Brings one instance to one configuration, proven, or leaves it as it was.

    :param tree: the generations on disk.
    :param instance: the nginx that runs them.
    :param prover: asks the listeners.
    :param settings: see :class:`Settings`.
    """

    def __init__(
        self,
        tree: Tree,
        instance: Instance,
        prover: Prover,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._tree = tree
        self._instance = instance
        self._prover = prover
        self._settings = settings
        self._clock = clock
        self._sleep = sleep

    def run(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Make ``files`` the live configuration.

        :raises TransactionError: with what is live now, when that did not come to be.
        """
        complete = self._complete(files, expectation)
        try:
            with self._tree.lock():
                repaired = self._tree.sweep()
                outcome = self._run(complete, expectation)
        except Busy as error:
            raise TransactionError("busy", str(error)) from error
        outcome.repaired = repaired
        outcome.changed = outcome.changed or bool(repaired)
        return outcome

    def check(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Do all that changes nothing: compare, and test in a place that is thrown away.

        :raises TransactionError: when nginx refuses the configuration.
        """
        complete = self._complete(files, expectation)
        state = self._look(complete, expectation)
        if self._holds(state):
            rows = self._prover.prove(state.wanted, expectation)
            if not _faults(rows):
                return Outcome(False, state.wanted, state.disk, proof=rows)
        outcome = Outcome(True, state.wanted, state.disk, diff=self._diff(state.disk, complete))
        with tempfile.TemporaryDirectory(prefix="oap-proxy-check-") as place:
            write(Path(place), complete)
            self._test(Path(place), state)
        self._refuse_restart(expectation, state)
        return outcome

    def preview(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Compare only, for a host that has no nginx yet to test with."""
        complete = self._complete(files, expectation)
        disk = self._tree.current()
        diff = self._diff(disk, complete)
        return Outcome(True, identity(complete), disk, diff=diff, tested=False)

    # The steps, in their order

    def _run(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        state = self._look(files, expectation)
        if self._holds(state):
            rows = self._prover.prove(state.wanted, expectation)
            if not _faults(rows):
                return Outcome(False, state.wanted, state.disk, proof=rows)
        diff = self._diff(state.disk, files)
        fresh = state.wanted not in self._tree.generations()
        try:
            self._tree.stage(files)
            self._test(self._tree.path(state.wanted), state)
            restart = self._refuse_restart(expectation, state)
        except OSError as error:
            raise TransactionError(
                "rejected",
                f"cannot write the new configuration below {self._tree.root}: {error}; "
                "nothing was changed. Make room or mend the permissions, then run again.",
                generation=state.live,
            ) from error
        except TransactionError:
            if fresh:
                self._tree.remove(state.wanted)
            raise
        mark = self._instance.mark()
        accepting = self._instance.workers() if state.running else set()
        swapped = self._clock()
        if state.disk != state.wanted:
            self._tree.swap(state.wanted)
        action, done, words = self._apply(state.running, restart)
        rows = self._await(state.wanted, expectation, mark, done and action == "reloaded")
        lingering = self._instance.workers() & accepting if action == "reloaded" else set()
        if not done or _faults(rows) or lingering:
            raise self._roll_back(state, action, done, words, rows, mark, fresh)
        self._tree.prune(self._settings.keep, (state.wanted, state.before))
        proven_ms = round((self._clock() - swapped) * 1000, 3)
        outcome = Outcome(True, state.wanted, state.disk, action, rows, diff, proven_ms=proven_ms)
        outcome.alerts = self._instance.alerts_since(mark)
        return outcome

    @staticmethod
    def _complete(files: Sequence[File], expectation: Expectation) -> list[File]:
        complete = [*files, File(PROOF_FILE, expectation.to_json())]
        try:
            check(complete)
        except GenerationError as error:
            raise TransactionError("rejected", str(error)) from error
        return complete

    def _expectation(self, generation: str | None) -> Expectation | None:
        """What a generation on disk says that it must answer."""
        if generation is None:
            return None
        path = self._tree.path(generation) / PROOF_FILE
        return Expectation.from_json(path.read_bytes()) if path.is_file() else None

    def _look(self, files: Sequence[File], expectation: Expectation) -> _State:
        disk = self._tree.current()
        running = self._instance.running()
        asked = self._expectation(disk) or expectation
        live = self._prover.live(asked) if running else None
        before = live if live in self._tree.generations() else disk
        return _State(identity(files), disk, live, running, before)

    def _holds(self, state: _State) -> bool:
        """Tell whether disk and live are both what is wanted already."""
        same = state.disk == state.wanted == state.live
        return state.running and same and self._tree.intact(state.wanted)

    def _test(self, place: Path, state: _State) -> None:
        accepted, words = self._instance.test(place / "nginx.conf")
        if accepted:
            return
        words = words.replace(f"{place}/", "")
        serving = f"generation {state.live} is still live" if state.live else "nothing was live"
        raise TransactionError(
            "rejected",
            f"nginx refuses the new configuration: {_first_cause(words)} "
            f"Nothing was changed; {serving}.",
            words.splitlines(),
            generation=state.live,
        )

    def _refuse_restart(self, expectation: Expectation, state: _State) -> bool:
        """Tell whether the change takes a restart, and refuse it when that is not allowed."""
        serving = self._expectation(state.before) if state.running else None
        clashes = expectation.clashes(serving) if serving else []
        if clashes and not self._settings.allow_restart:
            raise TransactionError(
                "restart_needed",
                f"nginx cannot open {', '.join(clashes)} by a reload: the running configuration "
                "holds the same port as a wildcard or a single address. Set "
                "grpc_proxy_allow_restart (allow_restart) for this run; a restart cuts the "
                "streams in flight. Nothing was changed.",
                generation=state.live,
            )
        return bool(clashes)

    def _apply(self, running: bool, restart: bool) -> tuple[str, bool, str]:
        if not running:
            return ("started", *self._instance.start())
        if restart:
            return ("restarted", *self._instance.restart())
        return ("reloaded", *self._instance.reload())

    def _await(
        self, generation: str, expectation: Expectation, mark: Mark, patient: bool = True
    ) -> list[Row]:
        """Poll fast and judge late: nginx tries a bind for 2.5 s before it gives up.

        Ends at once when the proof holds, when the right generation answers wrongly, or
        when nginx has said that it gave up.
        """
        deadline = self._clock() + self._settings.proof_timeout
        look = self._clock() + _LOOK_AT_LOG_S
        pause = 0.005
        over = not patient
        while True:
            rows = self._prover.prove(generation, expectation)
            faults = _faults(rows)
            if not faults or any(row.wrong_fallback for row in faults) or over:
                return rows
            now = self._clock()
            if now >= look:
                over = self._instance.given_up(mark)
                look = now + _LOOK_AT_LOG_S
            over = over or now >= deadline
            self._sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def _roll_back(
        self,
        state: _State,
        action: str,
        done: bool,
        words: str,
        rows: list[Row],
        mark: Mark,
        fresh: bool,
    ) -> TransactionError:
        """Go back to what was there before; return the error that tells all of it."""
        log = self._instance.log_since(mark)
        reason, cause = _verdict(self._instance, action, done, words, rows, log)
        if state.before is None or state.before == state.wanted:
            if state.before is None:
                self._tree.clear()
                self._instance.stop()
            rolled_back, live = state.before is None, None
        else:
            if self._tree.current() != state.before:
                self._tree.swap(state.before)
            rolled_back, live = self._return_to(state, action)
        if fresh and state.wanted != live:
            self._tree.remove(state.wanted)
        if state.before is None:
            now = "There was no generation before: the instance is stopped, nothing is live."
        elif not rolled_back:
            now = f"The way back is not proven either; live now: {live or 'nothing'}."
        elif state.running:
            now = f"Rolled back: generation {state.before} is live again."
        else:
            now = f"Rolled back on disk to generation {state.before}; it does not run, as before."
        return TransactionError(reason, f"{cause} {now}", log, rolled_back, live, rows)

    def _return_to(self, state: _State, action: str) -> tuple[bool, str | None]:
        """Make the generation before live again, if it was; return success and what is live."""
        before = state.before or ""
        expectation = self._expectation(before)
        if not state.running or expectation is None:
            self._instance.stop()
            return not state.running, None
        if not self._instance.running():
            self._instance.start()
        elif action == "restarted":
            self._instance.restart()
        else:
            self._instance.reload()
        bare = Expectation(expectation.listeners, ())
        rows = self._await(before, bare, self._instance.mark())
        return not _faults(rows), self._prover.live(bare)

    def _diff(self, before: str | None, files: Sequence[File]) -> list[dict[str, str]]:
        old = {item.path: item for item in self._tree.read(before)} if before else {}
        new = {item.path: item for item in files}
        return [
            {
                "before_header": f"{path} ({before})" if path in old else "(none)",
                "after_header": f"{path} ({identity(files)})" if path in new else "(none)",
                "before": _shown(old.get(path)),
                "after": _shown(new.get(path), changed=path in old),
            }
            for path in sorted(old.keys() | new.keys())
            if _differ(old.get(path), new.get(path))
        ]


def _differ(old: File | None, new: File | None) -> bool:
    return old is None or new is None or (old.content, old.mode) != (new.content, new.mode)


def _shown(item: File | None, changed: bool = False) -> str:
    if item is None:
        return ""
    if item.secret:
        return HIDDEN.replace("not shown", "changed, not shown") if changed else HIDDEN
    return f"# mode {item.mode:04o}\n" + item.content.decode(errors="replace")


def _faults(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.fault]


def _first_cause(words: str) -> str:
    """Nginx's own first line of weight, as a sentence."""
    lines = [line for line in words.splitlines() if "[emerg]" in line] or words.splitlines()
    text = _PREFIX.sub("", lines[0]) if lines else "it gave no reason"
    return text.rstrip(".") + "."


def _verdict(
    instance: Instance, action: str, done: bool, words: str, rows: list[Row], log: list[str]
) -> tuple[str, str]:
    """Return reason and cause, the cause as a sentence with the thing to do next."""
    faults = _faults(rows)
    told = " ".join(log)
    if "98: Address already in use" in told:
        taken = sorted({line.split("bind() to ")[1].split()[0] for line in log if "(98" in line})
        hint = (
            f"another program holds {', '.join(taken)}; 'ss -ltnp' on the host names it. "
            "End it, or change grpc_proxy_listen."
        )
    elif log:
        hint = _first_cause("\n".join(log))
    else:
        hint = words or "nginx wrote nothing to its log; is its master process stopped?"
    if action in ("started", "restarted") and (not done or not instance.running()):
        return "not_started", f"nginx did not start: {hint}"
    wrong = [row for row in faults if row.wrong_fallback]
    if wrong:
        return "fallback", (
            f"{wrong[0].fault}. Something in the configuration overrides the fallback: look for "
            "an error_page, a location, a return or a rewrite in grpc_proxy_snippets."
        )
    if faults:
        return "not_live", f"the new configuration is not live: {faults[0].fault}; {hint}"
    return "unproven", f"worker processes of the old configuration still accept calls: {hint}"
