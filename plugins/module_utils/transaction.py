# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the steps from files to a proven configuration, and back when one fails."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.changeover import Changeover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.following import Follower
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    Busy,
    File,
    GenerationError,
    Tree,
    check,
    identity,
    write,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
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
    Outcome,
    TransactionError,
    difference,
    first_cause,
    refusal,
    still_live,
    untouched,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State, Survey

CURRENT = "current"
PREVIOUS = "previous"


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
        self._survey = Survey(tree, instance, prover)
        follower = Follower(instance, prover, settings.proof_timeout, clock, sleep)
        self._changeover = Changeover(
            tree, instance, self._survey, follower, settings.allow_restart
        )

    def run(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Make ``files`` the live configuration.

        :raises TransactionError: with what is live now, when that did not come to be.
        """

        def work() -> Outcome:
            complete = _complete(files, expectation)
            return self._locked(lambda: self._run(complete, expectation))

        return self._told(work, expectation)

    def bring(self, name: str) -> Outcome:
        """Make a generation that is on disk the live configuration.

        The one that ``current`` points to is always read again: files outside of the tree, such
        as certificates, may have changed.

        :param name: ``current``, ``previous``, or an id.
        :raises TransactionError: as for :meth:`run`, and when there is no such generation.
        """
        return self._told(lambda: self._locked(lambda: self._bring(name)))

    def check(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Do all that changes nothing: compare, and test in a place that is thrown away.

        :raises TransactionError: when nginx refuses the configuration.
        """
        return self._told(lambda: self._check(files, expectation), expectation)

    def check_bring(self, name: str) -> Outcome:
        """Do all of :meth:`bring` that changes nothing."""
        return self._told(lambda: self._check_bring(name))

    def preview(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Compare only, for a host that cannot test a configuration yet."""
        return self._told(lambda: self._preview(files, expectation), expectation)

    def refusal(self, cause: str) -> TransactionError:
        """Return the failure of a run that cannot even begin, with what is live.

        :param cause: sentences: what is wrong, and the thing to do next.
        """
        return untouched("rejected", cause, self._survey.live())

    # What changes nothing

    def _check(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        complete = _complete(files, expectation)
        state = self._survey.look(identity(complete), expectation)
        holds = self._survey.holds(state)
        serving = expectation if holds else self._survey.expectation(state.live)
        rows = self._prover.prove(state.live, serving) if state.live and serving else []
        if holds and not _faults(rows) and self._survey.proven(state):
            return self._mind_instance(Outcome(False, state, proof=rows))
        outcome = Outcome(True, state, proof=rows if holds else [])
        outcome.drift = self._survey.drift(state, rows, complete)
        outcome.diff = difference(state.disk, self._survey.files(state.disk), complete)
        with tempfile.TemporaryDirectory(prefix="oap-proxy-check-") as place:
            write(Path(place), complete)
            self._test(Path(place), state)
            self._restart_needed(expectation, state)
            self._refuse_stopped(state)
            outcome.rehearsal = self._rehearse(Path(place), state, expectation)
        return outcome

    def _check_bring(self, name: str) -> Outcome:
        state, expectation = self._named(name)
        holds = self._survey.holds(state)
        serving = self._survey.expectation(state.live)
        rows = self._prover.prove(state.live, serving) if state.live and serving else []
        self._test(self._tree.path(state.wanted), state)
        self._restart_needed(expectation, state)
        self._refuse_stopped(state)
        unproven = bool(_faults(rows)) or not self._survey.proven(state)
        changed = name == CURRENT or not holds or unproven
        outcome = Outcome(changed, state, proof=rows)
        outcome.drift = self._survey.drift(state, rows)
        outcome.diff = self._step(state)
        outcome.rehearsal = self._rehearse(self._tree.path(state.wanted), state, expectation)
        return outcome

    def _preview(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        complete = _complete(files, expectation)
        disk = self._tree.current()
        outcome = Outcome(True, State(identity(complete), disk, None, False, None), tested=False)
        outcome.diff = difference(disk, self._survey.files(disk), complete)
        return outcome

    # The steps, in their order

    def _locked(self, work: Callable[[], Outcome]) -> Outcome:
        """Do the work alone, on a tree without what a killed run has left."""
        with self._tree.lock():
            repaired = self._tree.sweep()
            try:
                outcome = work()
            except OSError:
                with suppress(OSError):
                    self._tree.sweep()  # on a full disk that is room
                raise
        outcome.repaired = repaired
        outcome.changed = outcome.changed or bool(repaired)
        return outcome

    def _told(self, work: Callable[[], Outcome], wanted: Expectation | None = None) -> Outcome:
        """Do the work; what stands in its way on the host is a failure like any other."""
        try:
            return work()
        except Busy as error:
            raise untouched("busy", str(error), self._survey.live(wanted)) from error
        except GenerationError as error:
            raise untouched("rejected", str(error), self._survey.live(wanted)) from error
        except OSError as error:
            live = self._survey.live(wanted)
            raise TransactionError(
                "rejected",
                f"cannot write below {self._tree.root}: {error}. Make room or mend the "
                f"permissions, then run again. What was live was not touched; {still_live(live)}.",
                generation=live,
            ) from error

    def _run(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        state = self._survey.look(identity(files), expectation)
        rows = []
        if self._survey.holds(state):
            rows = self._prover.prove(state.wanted, expectation)
            if not _faults(rows) and self._survey.proven(state):
                return self._remember(Outcome(False, state, proof=rows))
        outcome = Outcome(True, state)
        outcome.drift = self._survey.drift(state, rows, files)
        outcome.diff = difference(state.disk, self._survey.files(state.disk), files)
        fresh = state.wanted not in self._tree.generations()
        self._refuse_stopped(state)
        mended = not fresh and not self._tree.intact(state.wanted)
        self._tree.stage(files)
        try:
            return self._change(outcome, expectation, fresh)
        except TransactionError as error:
            if mended:
                error.message += f" Generation {state.wanted}, which was edited, is whole again."
            raise

    def _bring(self, name: str) -> Outcome:
        state, expectation = self._named(name)
        rows = []
        if self._survey.holds(state):
            rows = self._prover.prove(state.wanted, expectation)
            if not _faults(rows) and name != CURRENT and self._survey.proven(state):
                return self._remember(Outcome(False, state, proof=rows))
        outcome = Outcome(True, state)
        outcome.drift = self._survey.drift(state, rows)
        outcome.diff = self._step(state)
        self._refuse_stopped(state)
        return self._change(outcome, expectation, fresh=False)

    def _change(self, outcome: Outcome, expectation: Expectation, fresh: bool) -> Outcome:
        """Bring live what is sealed on disk, or go back.

        :param fresh: it was not on disk before, and goes when it does not come live.
        """
        state = outcome.state
        try:
            self._test(self._tree.path(state.wanted), state)
            restart = self._restart_needed(expectation, state)
            outcome.rehearsal = self._rehearse(self._tree.path(state.wanted), state, expectation)
        except TransactionError:
            if fresh:
                self._tree.remove(state.wanted)
            raise
        mark = self._instance.mark()
        began = self._clock()
        attempt = self._changeover.bring_live(state, expectation, mark, restart)
        if not attempt.proven:
            raise self._changeover.roll_back(state, attempt, mark, fresh)
        outcome.proven_ms = round((self._clock() - began) * 1000, 3)
        outcome.action, outcome.proof = attempt.action, attempt.rows
        outcome.alerts = [
            f"the configuration is live, but nginx logged: {line}"
            for line in self._instance.alerts_since(mark)
        ]
        return self._remember(outcome)

    def _remember(self, outcome: Outcome) -> Outcome:
        """Note what was proven and prune; the configuration is live whatever comes of that."""
        self._mind_instance(outcome)
        state = outcome.state
        try:
            self._tree.note_proven(state.wanted)
            self._tree.prune(self._settings.keep, (state.wanted, state.before))
        except OSError as error:
            outcome.alerts.append(
                f"the configuration is live, but {self._tree.root} could not be tidied: {error}"
            )
        return outcome

    def _named(self, name: str) -> tuple[State, Expectation]:
        """Find a generation on disk that can be proven.

        :raises GenerationError: when there is none of that name.
        """
        links = {CURRENT: self._tree.current(), PREVIOUS: self._tree.previous()}
        generation = links.get(name, name)
        known = self._tree.generations()
        fault = ""
        expectation = self._survey.expectation(generation)
        if generation is None or generation not in known:
            there = ", ".join(known) or "none"
            fault = f"there is no generation {name} below {self._tree.root}; there is: {there}"
        elif not self._tree.intact(generation):
            fault = (
                f"generation {generation} was edited since it was sealed, so nobody knows what "
                "it would do; site.yml writes what the inventory says"
            )
        if fault or generation is None or expectation is None:
            fault = fault or f"generation {generation} does not tell what it must answer"
            raise GenerationError(f"{fault}.")
        return self._survey.look(generation, expectation), expectation

    def _step(self, state: State) -> list[dict[str, str]]:
        """Return the difference from the generation on disk to the one that is wanted."""
        old, new = self._survey.files(state.disk), self._survey.files(state.wanted)
        return difference(state.disk, old, new)

    def _refuse_stopped(self, state: State) -> None:
        """Refuse what the instance could not act on, while nothing has been touched yet."""
        if state.live and not state.running:
            # It may have come to run since it was asked.
            state.running = self._instance.running()
        if state.live and not state.running:
            raise untouched(
                "not_started",
                "the instance does not run, yet another nginx answers with a generation of ours: "
                "it was started by hand, and nobody looks after it. 'ss -ltnp' on the host names "
                "it: end it, then run again.",
                state.live,
            )
        stopped = self._instance.stopped() if state.running else None
        if stopped:
            raise untouched("not_live", stopped, state.live)

    def _mind_instance(self, outcome: Outcome) -> Outcome:
        """Tell of an instance that serves, and will not take the next change as it is."""
        outcome.alerts += self._instance.troubles()
        return outcome

    def _test(self, place: Path, state: State) -> None:
        accepted, words = self._instance.test(place / "nginx.conf")
        if accepted:
            return
        words = words.replace(f"{place}/", "")
        cause = f"nginx refuses the new configuration: {first_cause(words)} Mend what it names."
        raise untouched("rejected", cause, state.live, words.splitlines())

    def _rehearse(self, place: Path, state: State, expectation: Expectation) -> Rehearsal:
        """Prove it apart from what serves; refuse what answers wrongly there already."""
        rehearsal = rehearse(self._instance, place / "nginx.conf", state.wanted, expectation)
        if rehearsal.wrong or rehearsal.died:
            raise refusal(rehearsal, state.live)
        return rehearsal

    def _restart_needed(self, expectation: Expectation, state: State) -> bool:
        """Tell whether the change takes a restart, and refuse it when that is not allowed."""
        serving = self._survey.expectation(state.live) if state.running else None
        clashes = expectation.clashes(serving) if serving else []
        if clashes and not self._settings.allow_restart:
            cause = (
                f"nginx cannot open {', '.join(clashes)} by a reload: the running configuration "
                "holds the same port as a wildcard or a single address. Set "
                "grpc_proxy_allow_restart (allow_restart) for one run; a restart cuts the "
                "streams in flight."
            )
            raise untouched("restart_needed", cause, state.live)
        replaced = self._settings.allow_restart and state.running and self._instance.outdated()
        return bool(clashes or replaced)


def _complete(files: Sequence[File], expectation: Expectation) -> list[File]:
    """Add the file that lets a later run prove this generation.

    :raises GenerationError: for files that form no generation.
    """
    secrets = tuple(sorted(item.path for item in files if item.secret))
    told = replace(expectation, secrets=secrets)
    complete = [*files, File(PROOF_FILE, told.to_json())]
    check(complete)
    return complete


def _faults(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.fault]
