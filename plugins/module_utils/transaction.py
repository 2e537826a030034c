# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of the steps from files to a proven configuration, and back when one fails."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
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
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
    difference,
    first_cause,
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
        complete = _complete(files, expectation)
        return self._locked(lambda: self._run(complete, expectation))

    def bring(self, name: str) -> Outcome:
        """Make a generation that is on disk the live configuration.

        The one that ``current`` points to is always read again: files outside of the tree, such
        as certificates, may have changed.

        :param name: ``current``, ``previous``, or an id.
        :raises TransactionError: as for :meth:`run`, and when there is no such generation.
        """
        return self._locked(lambda: self._bring(name))

    def check(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Do all that changes nothing: compare, and test in a place that is thrown away.

        :raises TransactionError: when nginx refuses the configuration.
        """
        complete = _complete(files, expectation)
        state = self._look(identity(complete), expectation)
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
        return outcome

    def check_bring(self, name: str) -> Outcome:
        """Do all of :meth:`bring` that changes nothing."""
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
        return outcome

    def preview(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Compare only, for a host that cannot test a configuration yet."""
        complete = _complete(files, expectation)
        disk = self._tree.current()
        outcome = Outcome(True, State(identity(complete), disk, None, False, None), tested=False)
        outcome.diff = difference(disk, self._survey.files(disk), complete)
        return outcome

    # The steps, in their order

    def _locked(self, work: Callable[[], Outcome]) -> Outcome:
        """Do the work alone, on a tree without what a killed run has left."""
        try:
            with self._tree.lock():
                repaired = self._tree.sweep()
                outcome = work()
        except Busy as error:
            raise TransactionError("busy", str(error)) from error
        except OSError as error:
            raise TransactionError(
                "rejected",
                f"cannot write below {self._tree.root}: {error}; what was live was not touched. "
                "Make room or mend the permissions, then run again.",
                generation=self._survey.live(),
            ) from error
        outcome.repaired = repaired
        outcome.changed = outcome.changed or bool(repaired)
        return outcome

    def _run(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        state = self._look(identity(files), expectation)
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
        self._tree.stage(files)
        return self._change(outcome, expectation, fresh)

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

    def _look(self, wanted: str, expectation: Expectation) -> State:
        try:
            return self._survey.look(wanted, expectation)
        except GenerationError as error:
            raise TransactionError(
                "rejected", str(error), generation=self._survey.live(expectation)
            ) from error

    def _named(self, name: str) -> tuple[State, Expectation]:
        """Find a generation on disk that can be proven."""
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
            live = self._survey.live()
            raise TransactionError("rejected", f"{fault}. Nothing was changed.", generation=live)
        return self._look(generation, expectation), expectation

    def _step(self, state: State) -> list[dict[str, str]]:
        """Return the difference from the generation on disk to the one that is wanted."""
        old, new = self._survey.files(state.disk), self._survey.files(state.wanted)
        return difference(state.disk, old, new)

    def _refuse_stopped(self, state: State) -> None:
        """Refuse what the instance could not act on, while nothing has been touched yet."""
        stopped = self._instance.stopped() if state.running else None
        if stopped:
            serving = f"generation {state.live} is still live" if state.live else "nothing answers"
            raise TransactionError(
                "not_live", f"{stopped} Nothing was changed; {serving}.", generation=state.live
            )

    def _mind_instance(self, outcome: Outcome) -> Outcome:
        """Tell of an instance that serves, and will not take the next change as it is."""
        words = (self._instance.outdated(), self._instance.stopped())
        outcome.alerts += [told for told in words if told]
        return outcome

    def _test(self, place: Path, state: State) -> None:
        accepted, words = self._instance.test(place / "nginx.conf")
        if accepted:
            return
        words = words.replace(f"{place}/", "")
        serving = f"generation {state.live} is still live" if state.live else "nothing was live"
        raise TransactionError(
            "rejected",
            f"nginx refuses the new configuration: {first_cause(words)} "
            f"Nothing was changed; {serving}. Mend what it names, then run again.",
            words.splitlines(),
            generation=state.live,
        )

    def _restart_needed(self, expectation: Expectation, state: State) -> bool:
        """Tell whether the change takes a restart, and refuse it when that is not allowed."""
        serving = self._survey.expectation(state.live) if state.running else None
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
