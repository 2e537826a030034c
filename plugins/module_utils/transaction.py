# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the steps from files to a proven configuration, and back when one fails."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

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
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Rehearsal,
    rehearse,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Attempt,
    Outcome,
    TransactionError,
    difference,
    first_cause,
    only_a_restart,
    refusal,
    verdict,
)

_LOOK_AT_LOG_S = 0.2


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
class _State:
    """What was found before anything was touched.

    :ivar wanted: id of the files given.
    :ivar disk: id that ``current`` points to.
    :ivar live: id that the running nginx answers with.
    :ivar before: what to go back to: the last proven generation, else the live, else the disk's.
    """

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
        complete = _complete(files, expectation)
        try:
            with self._tree.lock():
                repaired = self._tree.sweep()
                outcome = self._run(complete, expectation)
        except Busy as error:
            raise TransactionError("busy", str(error)) from error
        except OSError as error:
            raise TransactionError(
                "rejected",
                f"cannot write below {self._tree.root}: {error}; what was live was not touched. "
                "Make room or mend the permissions, then run again.",
                generation=self._live(expectation),
            ) from error
        outcome.repaired = repaired
        outcome.changed = outcome.changed or bool(repaired)
        return outcome

    def check(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Do all that changes nothing: compare, and test in a place that is thrown away.

        :raises TransactionError: when nginx refuses the configuration.
        """
        complete = _complete(files, expectation)
        state = self._look(complete, expectation)
        rows = self._prover.prove(state.wanted, expectation) if self._holds(state) else []
        if rows and not _faults(rows):
            return self._mind_binary(Outcome(False, state.wanted, state.disk, proof=rows))
        diff = difference(state.disk, self._files(state.disk), complete)
        with tempfile.TemporaryDirectory(prefix="oap-proxy-check-") as place:
            write(Path(place), complete)
            self._test(Path(place), state)
            self._restart_needed(expectation, state)
            rehearsal = self._rehearse(Path(place), state, expectation)
        return Outcome(True, state.wanted, state.disk, proof=rows, diff=diff, rehearsal=rehearsal)

    def preview(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Compare only, for a host that cannot test a configuration yet."""
        complete = _complete(files, expectation)
        disk = self._tree.current()
        diff = difference(disk, self._files(disk), complete)
        return Outcome(True, identity(complete), disk, diff=diff, tested=False)

    # The steps, in their order

    def _run(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        state = self._look(files, expectation)
        if self._holds(state):
            rows = self._prover.prove(state.wanted, expectation)
            if not _faults(rows):
                return self._remember(Outcome(False, state.wanted, state.disk, proof=rows), state)
        diff = difference(state.disk, self._files(state.disk), files)
        fresh = state.wanted not in self._tree.generations()
        self._tree.stage(files)
        try:
            self._test(self._tree.path(state.wanted), state)
            restart = self._restart_needed(expectation, state)
            rehearsal = self._rehearse(self._tree.path(state.wanted), state, expectation)
        except TransactionError:
            if fresh:
                self._tree.remove(state.wanted)
            raise
        mark = self._instance.mark()
        began = self._clock()
        attempt = self._bring_live(state, expectation, mark, restart)
        if not attempt.proven:
            raise self._roll_back(state, expectation, attempt, mark, fresh)
        proven_ms = round((self._clock() - began) * 1000, 3)
        outcome = Outcome(True, state.wanted, state.disk, attempt.action, attempt.rows, diff)
        outcome.rehearsal = rehearsal
        outcome.proven_ms = proven_ms if state.disk != state.wanted else None
        outcome.alerts = [
            f"the configuration is live, but nginx logged: {line}"
            for line in self._instance.alerts_since(mark)
        ]
        return self._remember(outcome, state)

    def _remember(self, outcome: Outcome, state: _State) -> Outcome:
        """Note what was proven and prune; the configuration is live whatever comes of that."""
        self._mind_binary(outcome)
        try:
            self._tree.note_proven(state.wanted)
            self._tree.prune(self._settings.keep, (state.wanted, state.before))
        except OSError as error:
            outcome.alerts.append(
                f"the configuration is live, but {self._tree.root} could not be tidied: {error}"
            )
        return outcome

    def _look(self, files: Sequence[File], expectation: Expectation) -> _State:
        disk, proven = self._tree.current(), self._tree.proven()
        running = self._instance.running()
        live = self._live(expectation) if running else None
        known = self._tree.generations()
        before = next((one for one in (proven, live, disk) if one in known), None)
        return _State(identity(files), disk, live, running, before)

    def _live(self, expectation: Expectation) -> str | None:
        """Ask what is live, on the listeners of what was proven last before those of the disk."""
        for generation in (self._tree.proven(), self._tree.current()):
            asked = self._expectation(generation)
            live = self._prover.live(asked) if asked else None
            if live:
                return live
        return self._prover.live(expectation)

    def _expectation(self, generation: str | None) -> Expectation | None:
        """What a generation says that it must answer; None when it does not tell."""
        if generation is None:
            return None
        try:
            return Expectation.from_json((self._tree.path(generation) / PROOF_FILE).read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _files(self, generation: str | None) -> list[File]:
        """The files of a generation on disk, those marked that no diff may show."""
        if generation is None:
            return []
        told = self._expectation(generation)
        return self._tree.read(generation, told.secrets if told else None)

    def _holds(self, state: _State) -> bool:
        """Tell whether disk and live are both what is wanted already."""
        same = state.disk == state.wanted == state.live
        return state.running and same and self._tree.intact(state.wanted)

    def _mind_binary(self, outcome: Outcome) -> Outcome:
        outdated = self._instance.outdated()
        outcome.alerts += [outdated] if outdated else []
        return outcome

    def _test(self, place: Path, state: _State) -> None:
        accepted, words = self._instance.test(place / "nginx.conf")
        if accepted:
            return
        words = words.replace(f"{place}/", "")
        serving = f"generation {state.live} is still live" if state.live else "nothing was live"
        raise TransactionError(
            "rejected",
            f"nginx refuses the new configuration: {first_cause(words)} "
            f"Nothing was changed; {serving}.",
            words.splitlines(),
            generation=state.live,
        )

    def _rehearse(self, place: Path, state: _State, expectation: Expectation) -> Rehearsal:
        """Prove it apart from what serves; refuse what answers wrongly there already."""
        rehearsal = rehearse(self._instance, place / "nginx.conf", state.wanted, expectation)
        if rehearsal.wrong or rehearsal.died:
            raise refusal(rehearsal, state.live)
        return rehearsal

    def _restart_needed(self, expectation: Expectation, state: _State) -> bool:
        """Tell whether the change takes a restart, and refuse it when that is not allowed."""
        serving = self._expectation(state.live) if state.running else None
        clashes = expectation.clashes(serving) if serving else []
        if clashes and not self._settings.allow_restart:
            raise TransactionError(
                "restart_needed",
                f"nginx cannot open {', '.join(clashes)} by a reload: the running configuration "
                "holds the same port as a wildcard or a single address. Set "
                "grpc_proxy_allow_restart (allow_restart) for one run; a restart cuts the "
                "streams in flight. Nothing was changed.",
                generation=state.live,
            )
        replaced = self._settings.allow_restart and state.running and self._instance.outdated()
        return bool(clashes or replaced)

    def _bring_live(
        self, state: _State, expectation: Expectation, mark: Mark, restart: bool
    ) -> Attempt:
        """Swap, start or reload, and wait for the proof; never raises."""
        accepting = self._instance.workers() if state.running else set()
        try:
            if state.disk != state.wanted:
                self._tree.swap(state.wanted)
        except OSError as error:
            return Attempt(words=f"cannot swap {self._tree.current_link}: {error}.")
        if not state.running:
            return self._follow("started", state.wanted, expectation, mark, set())
        if restart:
            return self._follow("restarted", state.wanted, expectation, mark, accepting)
        serving = self._expectation(state.live)
        ours = [listener.name for listener in serving.listeners] if serving else []
        attempt = self._follow("reloaded", state.wanted, expectation, mark, accepting, ours)
        if self._settings.allow_restart and only_a_restart(self._instance.log_since(mark)):
            again = self._instance.mark()
            return self._follow("restarted", state.wanted, expectation, again, accepting)
        return attempt

    def _follow(
        self,
        action: str,
        generation: str,
        expectation: Expectation,
        mark: Mark,
        accepting: set[int],
        ours: Collection[str] = (),
    ) -> Attempt:
        """Give one command, and poll fast and judge late whether it had its effect.

        nginx tries a bind for 2.5 s before it gives up, and starts its new workers 100 ms
        before it tells the old ones to stop. The wait ends at once when the proof holds,
        when the right generation answers wrongly, when nginx has said that it gave up, or when
        a listener that was ``ours`` before tells no generation: it is the new one, in hiding.
        """
        commands = {
            "started": self._instance.start,
            "reloaded": self._instance.reload,
            "restarted": self._instance.restart,
        }
        done, words = commands[action]()
        attempt = Attempt(action, done, words, accepting=accepting)
        deadline = self._clock() + self._settings.proof_timeout
        look = self._clock() + _LOOK_AT_LOG_S
        pause = 0.005
        over = not done
        while True:
            attempt.rows = self._prover.prove(generation, expectation)
            attempt.lingering = not attempt.faults and bool(self._instance.workers() & accepting)
            wrong = any(
                row.wrong_answer or (row.hidden and row.listener in ours) for row in attempt.faults
            )
            if over or wrong or attempt.proven:
                attempt.running = self._instance.running()
                return attempt
            now = self._clock()
            if now >= look:
                over = self._instance.given_up(mark)
                look = now + _LOOK_AT_LOG_S
            over = over or now >= deadline
            self._sleep(pause)
            pause = min(pause * 1.5, 0.1)

    def _roll_back(
        self, state: _State, expectation: Expectation, attempt: Attempt, mark: Mark, fresh: bool
    ) -> TransactionError:
        """Go back to what was there before, then word what happened; never raises."""
        trouble = ""
        try:
            rolled_back = self._go_back(state, attempt)
        except OSError as error:
            rolled_back = False
            trouble = f" The way back failed: {error}."
        # Read only now: the journal is slow, and until here the failed configuration may serve.
        log = self._instance.log_since(mark)
        reason, cause = verdict(attempt, log)
        cause += trouble
        outdated = self._instance.outdated()
        if outdated:
            cause = f"{cause} Mind that {outdated}"
        live = self._live(expectation) if self._instance.running() else None
        try:
            if fresh and state.wanted not in (live, self._tree.current()):
                self._tree.remove(state.wanted)
        except OSError as error:
            cause = f"{cause} Left on disk: generation {state.wanted} ({error})."
        now = self._now(state, rolled_back, live)
        return TransactionError(reason, f"{cause} {now}", log, rolled_back, live, attempt.rows)

    def _go_back(self, state: _State, attempt: Attempt) -> bool:
        """Put the generation before back; return whether it is where it was."""
        if state.before in (None, state.wanted):
            if not state.running:
                self._instance.stop()
            if state.before is None and not state.running:
                self._tree.clear()
            return state.before is None and not state.running
        before = state.before or ""
        if self._tree.current() != before:
            self._tree.swap(before)
        if not state.running:
            self._instance.stop()
            return True
        action = attempt.action if attempt.action == "restarted" else "reloaded"
        action = action if self._instance.running() else "started"
        expectation = self._expectation(before)
        # Workers from before the swap are those of this generation, where the swap had no effect.
        own = attempt.accepting if state.live == before else set()
        accepting = self._instance.workers() - own
        mark = self._instance.mark()
        blank = Expectation((), ())
        back = self._follow(action, before, expectation or blank, mark, accepting)
        return back.proven and expectation is not None

    def _now(self, state: _State, rolled_back: bool, live: str | None) -> str:
        """Say in one sentence what is on disk and what is live."""
        serving = f"generation {live}" if live else "nothing that answers with its id"
        if rolled_back and state.before is None:
            return "There was no generation before: the instance is stopped, nothing is live."
        if rolled_back and state.running:
            return f"Rolled back: generation {state.before} is live again."
        if rolled_back:
            return f"Rolled back on disk to generation {state.before}; it does not run, as before."
        if state.before in (None, state.wanted):
            return f"There is no other generation to go back to. Live now: {serving}."
        on_disk = self._tree.current() or "no generation"
        return f"The way back is not proven either. On disk: {on_disk}; live now: {serving}."


def _complete(files: Sequence[File], expectation: Expectation) -> list[File]:
    """Add the file that lets a later run prove this generation."""
    secrets = tuple(sorted(item.path for item in files if item.secret))
    told = replace(expectation, secrets=secrets)
    complete = [*files, File(PROOF_FILE, told.to_json())]
    try:
        check(complete)
    except GenerationError as error:
        raise TransactionError("rejected", str(error)) from error
    return complete


def _faults(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.fault]
