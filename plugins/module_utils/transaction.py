# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the steps from files to a proven configuration, and back when one fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.admission import Admission
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.changeover import Changeover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.dry_run import DryRun
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.following import Follower
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    File,
    GenerationError,
    check,
    identity,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, proof_holds
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
    difference,
    still_live,
    untouched,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import CURRENT, Survey
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Busy, Tree


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
        self._repaired: list[str] = []
        self._survey = Survey(tree, instance, prover)
        self._admission = Admission(instance, self._survey, settings.allow_restart)
        self._dry_run = DryRun(tree, instance, prover, self._survey, self._admission)
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

        def work() -> Outcome:
            return self._dry_run.check(_complete(files, expectation), expectation)

        return self._told(work, expectation)

    def check_bring(self, name: str) -> Outcome:
        """Do all of :meth:`bring` that changes nothing."""
        return self._told(lambda: self._dry_run.bring(name))

    def preview(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Compare only, for a host that cannot test a configuration yet."""
        return self._told(lambda: self._dry_run.preview(_complete(files, expectation)), expectation)

    def refusal(self, cause: str) -> TransactionError:
        """Return the failure of a run that cannot even begin, with what is live.

        :param cause: sentences: what is wrong, and the thing to do next.
        """
        return untouched("rejected", cause, self._survey.live())

    # The steps, in their order

    def _locked(self, work: Callable[[], Outcome]) -> Outcome:
        """Do the work alone, on a tree without what a killed run has left."""
        with self._tree.lock():
            self._repaired = self._tree.sweep() + self._instance.settle()
            try:
                outcome = work()
            except OSError:
                with suppress(OSError):
                    self._tree.sweep()  # on a full disk that is room
                raise
        outcome.repaired = self._repaired
        outcome.changed = outcome.changed or bool(self._repaired)
        return outcome

    def _told(self, work: Callable[[], Outcome], wanted: Expectation | None = None) -> Outcome:
        """Do the work; what stands in its way on the host is a failure like any other."""
        try:
            return self._worded(work, wanted)
        except TransactionError as error:
            error.repaired = self._repaired
            raise

    def _worded(self, work: Callable[[], Outcome], wanted: Expectation | None) -> Outcome:
        """Do the work, and say in words what the tree or the disk refused."""
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
            if proof_holds(rows) and self._survey.settled(state):
                return self._remember(Outcome(False, state, proof=rows))
        outcome = Outcome(True, state)
        outcome.drift = self._survey.drift(state, rows, files)
        outcome.diff = difference(state.disk, self._survey.files(state.disk), files)
        fresh = state.wanted not in self._tree.generations()
        self._admission.refuse_stopped(state)
        mended = not fresh and not self._tree.intact(state.wanted)
        self._tree.stage(files)
        try:
            return self._change(outcome, expectation, fresh)
        except TransactionError as error:
            if mended:
                error.message += f" Generation {state.wanted}, which was edited, is whole again."
            raise

    def _bring(self, name: str) -> Outcome:
        state, expectation = self._survey.named(name)
        rows = []
        if self._survey.holds(state):
            rows = self._prover.prove(state.wanted, expectation)
            if proof_holds(rows) and name != CURRENT and self._survey.settled(state):
                return self._remember(Outcome(False, state, proof=rows))
        outcome = Outcome(True, state)
        outcome.drift = self._survey.drift(state, rows)
        outcome.diff = difference(
            state.disk, self._survey.files(state.disk), self._survey.files(state.wanted)
        )
        self._admission.refuse_stopped(state)
        return self._change(outcome, expectation, fresh=False)

    def _change(self, outcome: Outcome, expectation: Expectation, fresh: bool) -> Outcome:
        """Bring live what is sealed on disk, or go back.

        :param fresh: it was not on disk before, and goes when it does not come live.
        """
        state = outcome.state
        try:
            place = self._tree.path(state.wanted)
            self._admission.test(place, state)
            way = self._admission.way(expectation, state)
            outcome.rehearsal = self._admission.rehearse(place, state, expectation)
        except TransactionError:
            if fresh:
                self._tree.remove(state.wanted)
            raise
        mark = self._instance.mark()
        began = self._clock()
        attempt = self._changeover.bring_live(state, expectation, mark, way)
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
        outcome.alerts += self._instance.troubles()
        state = outcome.state
        try:
            self._tree.note_proven(state.wanted)
            self._tree.prune(self._settings.keep, (state.wanted, state.before))
        except OSError as error:
            outcome.alerts.append(
                f"the configuration is live, but {self._tree.root} could not be tidied: {error}"
            )
        return outcome


def _complete(files: Sequence[File], expectation: Expectation) -> list[File]:
    """Add the file that lets a later run prove this generation.

    :raises GenerationError: for files that form no generation.
    """
    secrets = tuple(sorted(item.path for item in files if item.secret))
    told = replace(expectation, secrets=secrets)
    complete = [*files, File(PROOF_FILE, told.to_json())]
    check(complete)
    return complete
