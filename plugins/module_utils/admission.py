# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused while nothing has been touched yet.

That is what nginx's own test refuses, what takes a restart that is not allowed, what the instance
could not act on, and what answers wrongly in the rehearsal.
"""

from __future__ import annotations

from pathlib import Path

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Rehearsal,
    rehearse,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    first_cause,
    refusal,
    untouched,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State, Survey


class Admission:
    """Refuses what would not come live.

    :param instance: the nginx that is to run it.
    :param survey: tells what is live.
    :param allow_restart: a restart may do what a reload cannot.
    """

    def __init__(self, instance: Instance, survey: Survey, allow_restart: bool) -> None:
        self._instance = instance
        self._survey = survey
        self._allow_restart = allow_restart

    def test(self, place: Path, state: State) -> None:
        """Refuse what nginx itself refuses."""
        accepted, words = self._instance.test(place / "nginx.conf")
        if accepted:
            return
        words = words.replace(f"{place}/", "")
        cause = f"nginx refuses the new configuration: {first_cause(words)} Mend what it names."
        raise untouched("rejected", cause, state.live, words.splitlines())

    def way(self, expectation: Expectation, state: State) -> str:
        """Tell how it comes live: started, reloaded, upgraded or restarted.

        A restart that is not allowed is refused.
        """
        if not state.running:
            return "started"
        serving = self._survey.expectation(state.live)
        clashes = expectation.clashes(serving) if serving else []
        obstacle = self._obstacle(expectation, serving) if state.outdated else None
        if not (clashes or obstacle):
            return "upgraded" if state.outdated else "reloaded"
        if self._allow_restart:
            return "restarted"
        if clashes:
            cause = (
                f"nginx cannot open {', '.join(clashes)} by a reload: the running configuration "
                "holds the same port as a wildcard or a single address."
            )
        else:
            cause = f"{state.outdated} It cannot take over while the other one serves: {obstacle}"
        cause += (
            " Set grpc_proxy_allow_restart (allow_restart) for one run; a restart cuts the "
            "streams in flight."
        )
        raise untouched("restart_needed", cause, state.live)

    def _obstacle(self, expectation: Expectation, serving: Expectation | None) -> str | None:
        """Say why nothing can take over from what serves without a gap."""
        obstacle = self._instance.obstacle()
        shared = expectation.shared and (serving is None or serving.shared)
        if obstacle or shared or self._instance.inherits_ports:
            return obstacle
        return "the ports are not shared (reuseport), in the one configuration or the other."

    def refuse_stopped(self, state: State) -> None:
        """Refuse what the instance could not act on."""
        if state.live and not state.running:
            # It may have come to run since it was asked.
            state.running = self._instance.running()
        if state.live and not state.running:
            raise untouched("not_started", self._who_answers(state.live), state.live)
        stopped = self._instance.stopped() if state.running else None
        if stopped:
            raise untouched("not_live", stopped, state.live)

    def _who_answers(self, live: str) -> str:
        """Say what else than the instance, which does not run, has a generation live."""
        if self._survey.expectation(live):
            return (
                "the instance does not run, yet another nginx answers with a generation of ours: "
                "it was started by hand, and nobody looks after it. 'ss -ltnp' on the host names "
                "it: end it, then run again."
            )
        return (
            f"another proxy of this host has one of the ports, and answers with generation {live}, "
            "which is none of this proxy's. 'ss -ltnp' on the host names it: give one of the two "
            "another port in grpc_proxy_listen, then run again."
        )

    def rehearse(self, place: Path, state: State, expectation: Expectation) -> Rehearsal:
        """Prove it apart from what serves; refuse what answers wrongly there already."""
        rehearsal = rehearse(self._instance, place / "nginx.conf", state.wanted, expectation)
        if rehearsal.wrong or rehearsal.died:
            raise refusal(rehearsal, state.live)
        return rehearsal
