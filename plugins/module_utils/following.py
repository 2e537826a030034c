# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One command to the instance, and the wait until its effect is proven or will not come."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import Attempt

_LOOK_AT_LOG_S = 0.2


class Follower:
    """Gives commands, and polls fast and judges late whether they had their effect.

    nginx tries a bind for 2.5 s before it gives up, and starts its new workers 100 ms before it
    tells the old ones to stop. So the wait ends at once when the proof holds, when the right
    generation answers wrongly, when nginx has said that it gave up or its workers die, or when a
    listener that was ours before tells no generation: it is the new one, in hiding.

    :param instance: the nginx that is told.
    :param prover: asks the listeners.
    :param timeout: seconds to wait for the proof.
    """

    def __init__(
        self,
        instance: Instance,
        prover: Prover,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._instance = instance
        self._prover = prover
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep

    def follow(
        self,
        action: str,
        generation: str,
        expectation: Expectation,
        mark: Mark,
        accepting: set[int],
        ours: Collection[str] = (),
        beside: Collection[str] = (),
    ) -> Attempt:
        """Give one command and wait.

        :param action: started, reloaded, upgraded or restarted.
        :param generation: id that must be answered.
        :param mark: where the log ended before.
        :param accepting: worker processes of before, which must stop accepting.
        :param ours: names of the listeners that told a generation before.
        :param beside: ids of what goes on serving until the other one has been proven.
        """
        commands = {
            "started": self._instance.start,
            "reloaded": self._instance.reload,
            "upgraded": self._instance.hand_over,
            "restarted": self._instance.restart,
        }
        done, words = commands[action]()
        attempt = Attempt(action, done, words, accepting=accepting)
        return self.watch(attempt, generation, expectation, mark, ours, beside)

    def watch(
        self,
        attempt: Attempt,
        generation: str,
        expectation: Expectation,
        mark: Mark,
        ours: Collection[str] = (),
        beside: Collection[str] = (),
    ) -> Attempt:
        """Wait for what a command was given for; the parameters are those of :meth:`follow`."""
        accepting = attempt.accepting
        deadline = self._clock() + self._timeout
        look = self._clock() + _LOOK_AT_LOG_S
        pause = 0.005
        over = not attempt.done
        # Those of before are of another instance, or gone, where it was not a reload.
        worked = attempt.action == "reloaded" and bool(accepting)
        while True:
            late = self._clock() >= deadline
            ask = self._prover.prove if late else self._prover.poll
            attempt.rows = ask(generation, expectation, beside)
            workers = self._instance.workers()
            attempt.lingering = not attempt.faults and bool(workers & accepting)
            # What answers beside it may be the same generation.
            attempt.absent = attempt.action == "upgraded" and not workers
            wrong = any(
                row.wrong_answer or (row.hidden and row.listener in ours) for row in attempt.faults
            )
            if over or late or wrong or attempt.proven:
                attempt.running = self._instance.running()
                return attempt
            now = self._clock()
            if now >= look:
                # Workers that were there and are not: none of the new ones has lived.
                over = self._instance.given_up(mark, accepting) or (worked and not workers)
                look = now + _LOOK_AT_LOG_S
            worked = worked or bool(workers)
            self._sleep(pause)
            pause = min(pause * 1.5, 0.1)
