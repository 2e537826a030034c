# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the generation on disk to another one, proven, and the way back."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.following import Follower
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Attempt,
    TransactionError,
    only_a_restart,
    verdict,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State, Survey
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree


class Changeover:
    """Swaps the generation on disk, has the instance take it, and goes back where it does not.

    :param tree: the generations on disk.
    :param instance: the nginx that runs them.
    :param survey: tells what is live.
    :param follower: gives the commands.
    :param allow_restart: restart where nginx has refused a reload.
    """

    def __init__(
        self,
        tree: Tree,
        instance: Instance,
        survey: Survey,
        follower: Follower,
        allow_restart: bool,
    ) -> None:
        self._tree = tree
        self._instance = instance
        self._survey = survey
        self._follower = follower
        self._allow_restart = allow_restart

    def bring_live(self, state: State, expectation: Expectation, mark: Mark, way: str) -> Attempt:
        """Swap, give the command, and wait for the proof; never raises.

        :param way: how it comes live; see :meth:`Admission.way`.
        """
        accepting = self._instance.workers() if state.running else set()
        try:
            if state.disk != state.wanted:
                self._tree.swap(state.wanted)
        except OSError as error:
            return Attempt(
                words=f"cannot swap {self._tree.current_link}: {error}. Make room or mend the "
                "permissions, then run again."
            )
        if way in ("started", "restarted"):
            return self._follower.follow(way, state.wanted, expectation, mark, accepting)
        serving = self._survey.expectation(state.live)
        ours = [listener.name for listener in serving.listeners] if serving else []
        # Where a run was killed while both served, either of the two has told what is live.
        known = {one for one in (state.live, state.before) if one and one != state.wanted}
        beside = known if way == "upgraded" else ()
        attempt = self._follower.follow(
            way, state.wanted, expectation, mark, accepting, ours, beside
        )
        if way == "upgraded":
            return self._completed(state, expectation, mark, attempt)
        if self._allow_restart and only_a_restart(self._instance.log_since(mark)):
            again = self._instance.mark()
            return self._follower.follow("restarted", state.wanted, expectation, again, accepting)
        return attempt

    def _completed(
        self, state: State, expectation: Expectation, mark: Mark, attempt: Attempt
    ) -> Attempt:
        """End what served before a handover that is proven, and prove what is left."""
        if not attempt.proven:
            return replace(attempt, beside=True)
        self._instance.complete()
        alone = Attempt("upgraded", done=True, accepting=attempt.accepting)
        return self._follower.watch(alone, state.wanted, expectation, mark)

    def roll_back(
        self, state: State, attempt: Attempt, mark: Mark, fresh: bool
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
        for told in filter(None, (*self._instance.troubles(), self._instance.altered())):
            cause += f" Mind that {told}"
        # Proven a moment ago; since then a worker that ends may have closed connections unanswered.
        proven = state.before if rolled_back and state.running else None
        live = self._survey.live() or proven
        # Workers of both configurations may answer: what may be live stays on disk.
        known = rolled_back or live is not None
        try:
            if fresh and known and state.wanted not in (live, self._tree.current()):
                self._tree.remove(state.wanted)
        except OSError as error:
            cause = f"{cause} Left on disk: generation {state.wanted} ({error})."
        now = self._now(state, rolled_back, live)
        return TransactionError(reason, f"{cause} {now}", log, rolled_back, live, attempt.rows)

    def _go_back(self, state: State, attempt: Attempt) -> bool:
        """Put the generation before back; return whether it is where it was."""
        return (attempt.beside and self._taken_back(state)) or self._put_back(state, attempt)

    def _taken_back(self, state: State) -> bool:
        """Have what served before a handover go on; return whether that is what was proven."""
        before = state.before
        started = self._instance.workers()
        try:
            if before and self._tree.current() != before:
                self._tree.swap(before)
        finally:
            self._instance.take_back()
        expectation = self._survey.expectation(before)
        # What it had read is what was live, which a run that was killed may have left unproven.
        if before is None or before != state.live or expectation is None:
            return False
        started -= self._instance.workers()
        again = Attempt("upgraded", done=True, accepting=started)
        return self._follower.watch(again, before, expectation, self._instance.mark()).proven

    def _put_back(self, state: State, attempt: Attempt) -> bool:
        """Have what runs take the generation before, where it is not live by itself."""
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
        action = "reloaded" if self._instance.running() else "started"
        # The one that has not come up is ended first, where it was another one.
        action = "restarted" if attempt.action == "restarted" else action
        expectation = self._survey.expectation(before)
        # Workers from before the swap are those of this generation, where the swap had no effect.
        own = attempt.accepting if state.live == before else set()
        accepting = self._instance.workers() - own
        mark = self._instance.mark()
        blank = Expectation((), ())
        back = self._follower.follow(action, before, expectation or blank, mark, accepting)
        # Where both commands were refused, what serves has never been told to change.
        untold = state.live == before and not attempt.done and not back.done
        whole = back.proven or (untold and not back.faults)
        return whole and expectation is not None

    def _now(self, state: State, rolled_back: bool, live: str | None) -> str:
        """Say what is on disk and what is live."""
        serving = f"generation {live}" if live else "nothing that answers with its id"
        if rolled_back and state.running:
            return f"Rolled back: generation {state.before} is live again."
        another = f"another nginx answers with {serving}" if live else "nothing is live"
        if rolled_back and state.before is None:
            return f"There was no generation before: the instance is stopped, {another}."
        if rolled_back:
            return (
                f"Rolled back on disk to generation {state.before}; it does not run, as before: "
                f"{another}."
            )
        if state.before in (None, state.wanted):
            return (
                f"There is no other generation to go back to. Live now: {serving}. "
                "Run again when the cause is gone."
            )
        on_disk = self._tree.current() or "no generation"
        return (
            f"The way back is not proven either. On disk: {on_disk}; live now: {serving}. "
            "Run again when the cause is gone."
        )
