"""A run killed at every place, and what comes after, on one proxy in one scenario.

``power NAME SCENARIO every`` prints one line of JSON for each place: its number, its name, whether
the instance was started anew after it, and what was wrong. The last line names all places.
``power NAME SCENARIO watch`` runs to the end and prints these names.
``power NAME SCENARIO kill NUMBER`` kills one run and prints what ``power NAME SCENARIO after ...``
must be told, once the host has been started anew.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import identity
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import Connection
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import TransactionError

from tests.changes.on_host.hands import Contained, until
from tests.changes.on_host.places import Places, killed_at, watched
from tests.changes.on_host.proxy import Change, Proxy

# One service answers as the widely copied snippet does.
WRONG = "location ^~ /skywalking.v3.EventService/ { return 204; }"
# What is written by hand into a generation, and can be seen from outside.
BY_HAND = "location = /oap_proxy.Test/ByHand { add_header by-hand yes always; return 204; }"
SECONDS = 10.0
MOST = 200


class Power:
    """One scenario on one proxy.

    :ivar last: what was brought live before.
    """

    def __init__(self, proxy: Proxy, scenario: str) -> None:
        self.proxy = proxy
        self.scenario = scenario
        # One of them is enough to show what a kill in the middle of a rehearsal leaves.
        self.rehearses = scenario == "good"
        self.last = proxy.change("none")
        self.whole: set[str] = set()

    def watch(self) -> list[str]:
        """Run to the end, and return the names of all places."""
        self.settle()
        return watched(self.proxy, self.prepare(), Places(), self.rehearses)

    def kill(self, number: int) -> str:
        """Kill one run; return the place, and what ``after`` must be told, as JSON."""
        self.settle()
        change = self.prepare()
        place, _names = killed_at(number, self.proxy, change, self.rehearses)
        known = {"last": self.last.word, "change": [change.word, change.snippet]}
        return json.dumps({"place": place, "known": {**known, "whole": sorted(self.whole)}})

    def after_boot(self, known: str) -> None:
        """Hold what must be once the host has been started anew after a kill."""
        told = json.loads(known)
        self.last = self.proxy.change(told["last"])
        self.whole = set(told["whole"])
        until(lambda: self.proxy.live() == self.proxy.disk(), "what is on disk is not live")
        self.after(self.proxy.change(*told["change"]), boots=False, heal=True)

    def every_place(self) -> Iterator[dict[str, object]]:
        """Kill at one place after the other until a run comes to its end."""
        self.settle()
        for number in range(1, MOST):
            for reboot in (False, True):
                told = {"number": number, "reboot": reboot}
                change = self.prepare()
                place, names = killed_at(number, self.proxy, change, self.rehearses)
                if not place:
                    yield {**told, "names": names}
                    return
                wrong = ""
                try:
                    self.after(change, boots=reboot, heal=reboot)
                except (AssertionError, OSError, TransactionError) as error:
                    wrong = f"{type(error).__name__}: {error}"
                    self.settle()
                yield {**told, "place": place, "wrong": wrong}
        raise SystemExit(f"a run does not end before place {MOST}")

    def settle(self) -> None:
        """Have something live that is right, whatever was before."""
        self.last = self._next()
        self.proxy.transaction(rehearses=self.rehearses).run(self.last.files, self.last.expectation)

    def prepare(self) -> Change:
        """Return the change of the scenario, with all that comes before it done."""
        if self.scenario == "edited":
            return self._edited()
        if self.scenario == "handover":
            assert isinstance(self.proxy.hands, Contained)
            self.proxy.hands.another()
        change = self._next(WRONG if self.scenario == "bad" else "")
        self.whole = {self.last.generation, change.generation}
        return change

    def _next(self, snippet: str = "") -> Change:
        # Never the same again: process ids are, after a boot.
        return self.proxy.change(f"{self.scenario} {time.time_ns()}", snippet)

    def _edited(self) -> Change:
        """Edit by hand what is on disk, and have it live; the run is to mend it."""
        edited = self.proxy.change(self.last.word, BY_HAND)
        content = next(one.content for one in edited.files if one.path == "nginx.conf")
        (self.proxy.root / "current" / "nginx.conf").write_bytes(content)
        workers = self.proxy.workers()
        self.proxy.hands.reload()
        until(
            lambda: not self.proxy.workers() & workers, "what was edited by hand does not come live"
        )
        assert self._by_hand()
        self.whole = {self.last.generation, edited.generation}
        return self.last

    def _by_hand(self) -> bool:
        """Tell whether what was edited by hand is what runs."""
        with Connection(Endpoint("127.0.0.1", self.proxy.port), SECONDS) as connection:
            return connection.call("/oap_proxy.Test/ByHand").headers.get("by-hand") == "yes"

    def after(self, change: Change, boots: bool, heal: bool) -> None:
        """Hold what must be after a kill, and that the next run puts everything right.

        :param boots: start the instance anew before.
        :param heal: where the change is wrong, run something right instead of the same again.
        """
        proxy = self.proxy
        known = {self.last.generation, change.generation}
        _hold(proxy.disk() in known, f"current leads to {proxy.disk()}, not to {known}")
        found = identity(proxy.tree.read(proxy.disk()))
        _hold(found in self.whole, f"what is on disk is not whole: {found}")
        _hold(proxy.live() in known, f"what is live is not one of {known}: {proxy.live()}")
        code, words = proxy.hands.tested(proxy.root / "current" / "nginx.conf")
        _hold(code == 0, f"nginx refuses what it would read at a boot: {words}")
        if boots:
            self._boot()
        proxy.hands.rest()
        left = proxy.left() + proxy.hands.left()
        if self.scenario == "bad" and not heal:
            self._fails_again(change)
        else:
            change = self._next() if self.scenario == "bad" else change
            outcome = proxy.transaction(rehearses=self.rehearses).run(
                change.files, change.expectation
            )
            _hold(outcome.repaired == left, f"left {left}, repaired {outcome.repaired}")
            faults = [row.fault for row in outcome.proof if row.fault]
            _hold(bool(outcome.proof) and not faults, f"not proven: {faults}")
            self.last = change
        wanted = self.last.generation
        ids = {"disk": proxy.disk(), "live": proxy.live(), "proven": proxy.tree.proven()}
        _hold(set(ids.values()) == {wanted}, f"{ids} after the next run, not {wanted}")
        _hold(proxy.tree.intact(wanted), f"{wanted} is not whole after the next run")
        left = proxy.left() + proxy.hands.strangers()
        _hold(left == [], f"left after the next run: {left}")
        _hold(not self._by_hand(), "what was edited by hand still runs after the next run")

    def _fails_again(self, change: Change) -> None:
        try:
            self.proxy.transaction(rehearses=self.rehearses).run(change.files, change.expectation)
        except TransactionError as error:
            _hold(error.reason == "fallback", f"failed again, but: {error.message}")
            _hold(error.rolled_back, f"not rolled back: {error.message}")
        else:
            raise AssertionError("the wrong configuration was brought live by the next run")

    def _boot(self) -> None:
        """Kill all of the instance's processes, and start it from what is on disk."""
        self.proxy.hands.boot()
        until(
            lambda: self.proxy.live() == self.proxy.disk(),
            "after the boot what is on disk is not live",
        )


def _hold(right: bool, wrong: str) -> None:
    if not right:
        raise AssertionError(wrong)


def main(name: str, scenario: str, what: str, *more: str) -> None:
    """Do one of them."""
    power = Power(Proxy(name), scenario)
    if what == "every":
        for row in power.every_place():
            print(json.dumps(row), flush=True)
    elif what == "watch":
        print(json.dumps(power.watch()))
    elif what == "kill":
        print(power.kill(int(more[0])))
    else:
        power.after_boot(more[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
