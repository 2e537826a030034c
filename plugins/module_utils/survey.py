# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on disk, what is live, and where the two differ: looked at, and never changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    GenerationError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree

CURRENT = "current"
PREVIOUS = "previous"


@dataclass
class State:
    """What was found before anything was touched.

    :ivar wanted: id of the generation that is to be live.
    :ivar disk: id that ``current`` points to.
    :ivar live: id that the listeners answer with.
    :ivar before: what to go back to: the last proven generation, else the live, else the disk's.
    :ivar outdated: what runs is not what a start would take now.
    """

    wanted: str
    disk: str | None
    live: str | None
    running: bool
    before: str | None
    outdated: str | None = None


class Survey:
    """Looks at one tree and the instance that runs it.

    :param tree: the generations on disk.
    :param instance: the nginx that runs them.
    :param prover: asks the listeners.
    """

    def __init__(self, tree: Tree, instance: Instance, prover: Prover) -> None:
        self._tree = tree
        self._instance = instance
        self._prover = prover

    def look(self, wanted: str, expectation: Expectation) -> State:
        """Return what there is.

        :raises GenerationError: when something that is not ours stands in the tree.
        """
        self._tree.refuse_strangers()
        disk, proven = self._tree.current(), self._tree.proven()
        running = self._instance.running()
        live = self.live(expectation)
        known = self._tree.generations()
        before = next((one for one in (proven, live, disk) if one in known), None)
        outdated = self._instance.outdated() if running else None
        return State(wanted, disk, live, running, before, outdated)

    def named(self, name: str) -> tuple[State, Expectation]:
        """Find a generation on disk that can be proven.

        :raises GenerationError: when there is none of that name.
        """
        links = {CURRENT: self._tree.current(), PREVIOUS: self._tree.previous()}
        generation = links.get(name, name)
        known = self._tree.generations()
        fault = ""
        expectation = self.expectation(generation)
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
        return self.look(generation, expectation), expectation

    def live(self, expectation: Expectation | None = None) -> str | None:
        """Ask what is live, where what was proven last listens, the disk's, and any other.

        :param expectation: of the generation that is wanted, which need not be on disk yet.
        """
        tree = self._tree
        names = (tree.proven(), tree.current(), tree.previous(), *tree.generations()[::-1])
        places = [self.expectation(name) for name in dict.fromkeys(names)]
        for place in dict.fromkeys((*places, expectation)):
            live = self._prover.live(place) if place else None
            if live:
                return live
        return None

    def expectation(self, generation: str | None) -> Expectation | None:
        """Return what a generation says that it must answer; None when it does not tell."""
        if generation is None:
            return None
        try:
            return Expectation.from_json((self._tree.path(generation) / PROOF_FILE).read_bytes())
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def files(self, generation: str | None) -> list[File]:
        """Return the files of a generation on disk, those marked that no diff may show."""
        if generation is None:
            return []
        told = self.expectation(generation)
        return self._tree.read(generation, told.secrets if told else None)

    def holds(self, state: State) -> bool:
        """Tell whether disk and live are both what is wanted already."""
        same = state.disk == state.wanted == state.live
        return state.running and same and self._tree.intact(state.wanted)

    def proven(self, state: State) -> bool:
        """Tell whether what is wanted is what was proven last.

        What was edited by hand and loaded answers with the same id as what a run has mended since:
        a run that was killed before its reload was proven leaves that unproven.
        """
        return self._tree.proven() == state.wanted

    def settled(self, state: State) -> bool:
        """Tell whether nothing is left to do where the proof of what is live holds."""
        return self.proven(state) and not state.outdated

    def drift(self, state: State, rows: Sequence[Row], files: Sequence[File] = ()) -> list[str]:
        """Say where disk, process and listeners differ from one another.

        :param rows: what the live generation was proven to answer.
        :param files: those that are wanted; where the disk should have them already, the ones
            that differ are named.
        """
        current = self._tree.current_link
        told = []
        if state.disk is None and os.path.lexists(str(current)):
            told.append(f"{current} leads to no generation")
        if state.disk and not self._tree.intact(state.disk):
            names = self._edited(state, files)
            told.append(f"generation {state.disk} was edited since it was sealed{names}")
        if state.disk and not state.running:
            told.append("nginx does not run")
        if state.live and not state.running:
            told.append(f"another nginx answers with generation {state.live}")
        if state.running and state.live is None:
            told.append("no listener tells which generation is live")
        if state.live and state.disk and state.live != state.disk:
            told.append(f"generation {state.live} is live, while {state.disk} is on disk")
        if self.holds(state) and not self.proven(state):
            told.append(f"generation {state.wanted} is live and not proven: a run was killed")
        if state.outdated:
            told.append(state.outdated.rstrip("."))
        return told + [row.fault for row in rows if row.fault]

    def _edited(self, state: State, files: Sequence[File]) -> str:
        if state.disk != state.wanted or not files:
            return ""
        there = {(item.path, item.mode, item.content) for item in self.files(state.disk)}
        sealed = {(item.path, item.mode, item.content) for item in files}
        # What is neither here nor there differs in the file that holds the id.
        names = {path for path, _mode, _content in there ^ sealed} or {GENERATION_FILE}
        return f" ({', '.join(sorted(names))})"
