# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a change would come to, found out without making it: a transaction in check mode."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.admission import Admission
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    File,
    identity,
    write,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, proof_holds
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import Outcome, difference
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import (
    CURRENT,
    State,
    Survey,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree


class DryRun:
    """Does all of a transaction that changes nothing.

    :param tree: the generations on disk.
    :param instance: the nginx that runs them.
    :param prover: asks the listeners.
    :param survey: tells what is on disk and live.
    :param admission: refuses what would not come live.
    """

    def __init__(
        self,
        tree: Tree,
        instance: Instance,
        prover: Prover,
        survey: Survey,
        admission: Admission,
    ) -> None:
        self._tree = tree
        self._instance = instance
        self._prover = prover
        self._survey = survey
        self._admission = admission

    def check(self, files: Sequence[File], expectation: Expectation) -> Outcome:
        """Tell what it would be to make files the live configuration.

        :param files: all of the generation, its proof.json too.
        :raises TransactionError: when it would be refused.
        """
        state = self._survey.look(identity(files), expectation)
        holds = self._survey.holds(state)
        serving = expectation if holds else self._survey.expectation(state.live)
        rows = self._prover.prove(state.live, serving) if state.live and serving else []
        if holds and proof_holds(rows) and self._survey.settled(state):
            return Outcome(False, state, proof=rows, alerts=self._instance.troubles())
        outcome = Outcome(True, state, proof=rows if holds else [])
        outcome.drift = self._survey.drift(state, rows, files)
        outcome.diff = difference(state.disk, self._survey.files(state.disk), files)
        with tempfile.TemporaryDirectory(prefix="oap-proxy-check-") as place:
            write(Path(place), files)
            self._admission.test(Path(place), state)
            self._admission.way(expectation, state)
            self._admission.refuse_stopped(state)
            outcome.rehearsal = self._admission.rehearse(Path(place), state, expectation)
        return outcome

    def bring(self, name: str) -> Outcome:
        """Tell what it would be to make a generation that is on disk the live configuration.

        :raises GenerationError: when there is none of that name that can be proven.
        :raises TransactionError: when it would be refused.
        """
        state, expectation = self._survey.named(name)
        holds = self._survey.holds(state)
        serving = self._survey.expectation(state.live)
        rows = self._prover.prove(state.live, serving) if state.live and serving else []
        place = self._tree.path(state.wanted)
        self._admission.test(place, state)
        self._admission.way(expectation, state)
        self._admission.refuse_stopped(state)
        unsettled = not proof_holds(rows) or not self._survey.settled(state)
        changed = name == CURRENT or not holds or unsettled
        outcome = Outcome(changed, state, proof=rows)
        outcome.drift = self._survey.drift(state, rows)
        outcome.diff = difference(
            state.disk, self._survey.files(state.disk), self._survey.files(state.wanted)
        )
        outcome.rehearsal = self._admission.rehearse(place, state, expectation)
        return outcome

    def preview(self, files: Sequence[File]) -> Outcome:
        """Compare files with those on disk, and nothing else."""
        disk = self._tree.current()
        outcome = Outcome(True, State(identity(files), disk, None, False, None), tested=False)
        outcome.diff = difference(disk, self._survey.files(disk), files)
        return outcome
