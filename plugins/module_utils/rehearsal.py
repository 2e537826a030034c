# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A configuration proven before it serves anybody: in a throw-away nginx, in a network of its own.

What it answers wrongly there it would answer wrongly to clients, so it is refused while nothing
has been touched. What cannot be said there is left to the proof where it serves, and told.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row


class Inconclusive(Exception):
    """A rehearsal that says nothing of the configuration, and why."""


class WorkersDied(Exception):
    """Worker processes of the configuration come to their end by themselves.

    :ivar log: nginx's own words.
    """

    def __init__(self, log: Sequence[str]) -> None:
        super().__init__("the worker processes die")
        self.log = list(log)


class Stage(Protocol):
    """A throw-away nginx that runs a configuration."""

    def prove(self, generation: str, expectation: Expectation) -> list[Row]:
        """Ask every listener there.

        :raises Inconclusive: when the answers tell nothing of the configuration.
        :raises WorkersDied: when its worker processes do not live.
        """


class Rehearsing(Protocol):
    """What can put a configuration on a stage."""

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """Run a configuration apart from everything, for as long as it is asked.

        :raises Inconclusive: when that cannot be done here.
        """


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal showed: that the proof holds, that it does not, or nothing.

    :ivar proof: one row a listener, where they were asked.
    :ivar cause: why it says nothing; empty where it does.
    :ivar died: nginx's words on worker processes that die.
    """

    proof: Sequence[Row] = ()
    cause: str = ""
    died: Sequence[str] = ()

    @property
    def wrong(self) -> list[Row]:
        """The rows of listeners that would answer clients wrongly."""
        if self.cause:
            return []
        return [row for row in self.proof if row.wrong_answer or row.hidden]

    @property
    def held(self) -> bool:
        """Tell whether the proof held."""
        return not (self.cause or self.died or self.wrong)


def rehearse(
    instance: Rehearsing, configuration: Path, generation: str, expectation: Expectation
) -> Rehearsal:
    """Run a configuration apart from everything and prove it there; never raises."""
    try:
        with instance.rehearse(configuration) as stage:
            rows = stage.prove(generation, expectation)
    except Inconclusive as error:
        return Rehearsal(cause=str(error))
    except WorkersDied as error:
        return Rehearsal(died=error.log)
    told = Rehearsal(rows)
    # No answer at all may be the rehearsal's own fault, so it is held against nothing.
    silent = next((row.fault for row in rows if row.fault), None)
    return Rehearsal(rows, f"in the rehearsal {silent}") if silent and not told.wrong else told
