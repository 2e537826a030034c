"""One command and the wait after it: when it ends, by what, and what is asked meanwhile.

``Host`` is an instance and its listeners on a clock of their own: what it tells hangs on the time
alone, so that each end of the wait can be held to its moment.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Callable

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Expectation
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.following import Follower
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import Attempt

from tests.unit.model_nginx import expecting

PLAIN = expecting()
ID = "3f9c1a20b7e4"
MARK = Mark(7, 42, 1000.0)
BEFORE, AFTER = {100, 101}, {102, 103}
ONE, TWO = "0.0.0.0:11800", "0.0.0.0:11801"
RIGHT = Row(ONE, ID)
OLD = Row(ONE, "91b0c7d2e6aa", fault="answers with generation 91b0c7d2e6aa")
REFUSED = Row(TWO, fault="cannot connect")
WRONG = Row(TWO, ID, fault="HTTP status 204", wrong_answer=True)
HIDDEN = Row(TWO, fault="answers with OK", hidden=True)

Told = Callable[[float], Any]
NEVER = float("inf")
# The longest step between two looks at the listeners.
STEP = 0.1


def until(moment: float, before: Any, after: Any) -> Told:
    """Tell one thing before a moment, and another from then on."""
    return lambda now: before if now < moment else after


class Host:
    """An instance and its listeners. Time begins at the command and is moved by sleep and calls.

    :ivar events: what was done, each with its time, a pause with its length.
    :ivar given: what was told to whoever has read the log.
    """

    def __init__(
        self,
        rows: Told | Sequence[Row] = (RIGHT,),
        workers: Told | Collection[int] = tuple(AFTER),
        gives_up: float = NEVER,
        says: tuple[bool, str] = (True, ""),
        takes: float = 0.0,
        slow: float = 0.0,
    ) -> None:
        self.now = 0.0
        self.events: list[tuple[str, float]] = []
        self.given: list[tuple[Any, ...]] = []
        self._rows = rows if callable(rows) else (lambda _now: rows)
        self._workers = workers if callable(workers) else (lambda _now: workers)
        self._gives_up = gives_up
        self._says = says
        self._takes = takes
        self._slow = slow

    def follow(
        self,
        accepting: Collection[int] = (),
        ours: Sequence[str] = (),
        action: str = "reloaded",
        timeout: float = 20.0,
    ) -> Attempt:
        """Follow one command to its end."""
        follower = Follower(
            self,  # type: ignore[arg-type]
            self,  # type: ignore[arg-type]
            timeout,
            lambda: self.now,
            self._sleep,
        )
        return follower.follow(action, ID, PLAIN, MARK, set(accepting), ours)

    def times(self, *kinds: str) -> list[float]:
        """Return when these were done."""
        return [moment for kind, moment in self.events if kind in kinds]

    def asked(self) -> list[str]:
        """Return in which ways the listeners were asked."""
        return [kind for kind, _moment in self.events if kind in ("poll", "prove")]

    def _sleep(self, seconds: float) -> None:
        self.events.append(("sleep", seconds))
        self.now += seconds
        assert self.now < 100, "the wait has no end"

    def _command(self, verb: str) -> tuple[bool, str]:
        self.events.append((verb, self.now))
        self.now += self._takes
        return self._says

    def start(self) -> tuple[bool, str]:
        """See Instance."""
        return self._command("start")

    def reload(self) -> tuple[bool, str]:
        """See Instance."""
        return self._command("reload")

    def hand_over(self) -> tuple[bool, str]:
        """See Instance."""
        return self._command("hand over")

    def restart(self) -> tuple[bool, str]:
        """See Instance."""
        return self._command("restart")

    def running(self) -> bool:
        """See Instance."""
        self.events.append(("running", self.now))
        return self.now < self._gives_up

    def workers(self) -> set[int]:
        """See Instance."""
        return set(self._workers(self.now))

    def given_up(self, *given: Any) -> bool:
        """See Instance."""
        self.events.append(("log", self.now))
        self.given.append(given)
        return self.now >= self._gives_up

    def _ask(self, kind: str, generation: str, expectation: Expectation) -> list[Row]:
        assert (generation, expectation) == (ID, PLAIN)
        self.events.append((kind, self.now))
        self.now += self._slow
        return list(self._rows(self.now))

    def poll(
        self, generation: str, expectation: Expectation, _beside: Collection[str] = ()
    ) -> list[Row]:
        """See Prover."""
        return self._ask("poll", generation, expectation)

    def prove(
        self, generation: str, expectation: Expectation, _beside: Collection[str] = ()
    ) -> list[Row]:
        """See Prover."""
        return self._ask("prove", generation, expectation)


# The command


@pytest.mark.parametrize(
    ("action", "verb"), [("started", "start"), ("reloaded", "reload"), ("restarted", "restart")]
)
def test_one_command_is_given(action: str, verb: str) -> None:
    """The one that was asked for, once, before any listener is asked."""
    host = Host(says=(True, "words"))
    attempt = host.follow(BEFORE, action=action)
    assert host.events == [(verb, 0.0), ("poll", 0.0), ("running", 0.0)]
    assert (attempt.action, attempt.done, attempt.words) == (action, True, "words")
    assert (attempt.rows, attempt.accepting) == ([RIGHT], BEFORE)
    assert (attempt.proven, attempt.running, attempt.lingering) == (True, True, False)


def test_a_command_that_is_refused_is_not_waited_for() -> None:
    """Its words are told with what the listeners answer, who are asked once."""
    host = Host([OLD], says=(False, "not active"))
    attempt = host.follow()
    assert (attempt.done, attempt.words, attempt.rows) == (False, "not active", [OLD])
    assert host.events == [("reload", 0.0), ("poll", 0.0), ("running", 0.0)]


def test_a_command_that_is_refused_proves_nothing() -> None:
    """Also where the listeners answer as they must, for another reason."""
    host = Host(says=(False, ""))
    assert not host.follow().proven
    assert host.asked() == ["poll"]


def test_the_time_of_the_command_is_not_the_time_of_the_wait() -> None:
    """A command that takes longer than the wait may last leaves the whole of it."""
    host = Host(until(33, [OLD], [RIGHT]), takes=30)
    assert host.follow(timeout=5).proven
    assert host.now == pytest.approx(33, abs=STEP)
    assert host.times("log")[0] >= 30.2


# Ends of the wait


@pytest.mark.parametrize("moment", [0.001, 0.1, 1.0, 19.9])
def test_the_proof_ends_it(moment: float) -> None:
    """At the first look after it holds, with the rows of that look."""
    host = Host(until(moment, [OLD], [RIGHT]))
    attempt = host.follow()
    assert (attempt.proven, attempt.rows) == (True, [RIGHT])
    assert moment <= host.now < moment + STEP
    assert set(host.asked()) == {"poll"}


@pytest.mark.parametrize("rows", [[WRONG], [OLD, WRONG]], ids=["first", "second"])
def test_a_wrong_answer_ends_it(rows: list[Row]) -> None:
    """The right generation will not answer otherwise by and by."""
    host = Host(until(1, [OLD], rows))
    attempt = host.follow()
    assert (attempt.proven, attempt.rows) == (False, rows)
    assert 1 <= host.now < 1 + STEP
    assert set(host.asked()) == {"poll"}


@pytest.mark.parametrize("rows", [[HIDDEN], [OLD, HIDDEN]], ids=["first", "second"])
def test_a_listener_of_ours_that_hides_ends_it(rows: list[Row]) -> None:
    """Who told a generation before and tells none now is the new one."""
    host = Host(until(1, [OLD], rows))
    assert host.follow(ours=[ONE, TWO]).rows == rows
    assert 1 <= host.now < 1 + STEP


@pytest.mark.parametrize("ours", [(), (ONE,)], ids=["none", "another"])
def test_a_stranger_that_hides_does_not_end_it(ours: Sequence[str]) -> None:
    """Who was not ours may be another program, that is gone before nginx gives up."""
    host = Host(until(2, [HIDDEN], [RIGHT]))
    assert host.follow(ours=ours).proven
    assert 2 <= host.now < 2 + STEP


def test_a_listener_of_ours_that_is_silent_does_not_end_it() -> None:
    """That nobody answers for a while is how a restart looks."""
    host = Host(until(2, [REFUSED], [RIGHT]))
    assert host.follow(ours=[ONE, TWO], action="restarted").proven


@pytest.mark.parametrize("moment", [0.0, 0.5, 2.5])
def test_what_the_log_says_ends_it(moment: float) -> None:
    """Within one look at the log, and the listeners are asked once more after it."""
    host = Host([OLD], gives_up=moment)
    attempt = host.follow(BEFORE)
    assert (attempt.proven, attempt.running) == (False, False)
    assert max(moment, 0.2) <= host.now < max(moment, 0.2) + 0.2 + 2 * STEP
    kinds = [kind for kind, _moment in host.events]
    assert kinds[-4:] == ["log", "sleep", "poll", "running"]
    assert all(given == (MARK, BEFORE) for given in host.given)


def test_what_is_proven_after_the_log_has_spoken_counts() -> None:
    """The last answers are the judgement, not what the log has said before."""
    host = Host(lambda now: [RIGHT] if now > seen() else [OLD], gives_up=1)

    def seen() -> float:
        late = [moment for moment in host.times("log") if moment >= 1]
        return late[0] if late else NEVER

    assert host.follow().proven


def test_workers_that_die_end_it() -> None:
    """Where there were some and are none, no listener will ever answer."""
    host = Host([REFUSED], workers=until(1, BEFORE, ()))
    assert not host.follow(BEFORE).proven
    assert 1 <= host.now < 1.2 + 2 * STEP


def test_workers_that_come_and_die_end_it() -> None:
    """Also where there were none before the command."""
    host = Host([REFUSED], workers=lambda now: AFTER if 0.5 < now < 1 else ())
    host.follow(action="started")
    assert 1 <= host.now < 1.2 + 2 * STEP


def test_workers_that_are_yet_to_come_do_not_end_it() -> None:
    """A master that is slow to start has none at first, and is waited for."""
    host = Host(until(5, [REFUSED], [RIGHT]), workers=until(5, (), AFTER))
    assert host.follow(action="started").proven
    assert 5 <= host.now < 5 + STEP


def test_workers_of_before_that_are_gone_at_once_end_it() -> None:
    """Those that accepted before the command count as ones that were there."""
    host = Host([REFUSED], workers=())
    host.follow(BEFORE)
    assert 0.2 <= host.now < 0.2 + 2 * STEP


@pytest.mark.parametrize("action", ["upgraded", "restarted", "started"])
def test_workers_of_another_instance_do_not_count(action: str) -> None:
    """What was there before a start is no sign that workers of this one have died."""
    host = Host(until(5, [REFUSED], [RIGHT]), workers=until(5, (), AFTER))
    assert host.follow(BEFORE, action=action).proven
    assert 5 <= host.now < 5 + STEP


def test_an_answer_of_the_same_generation_beside() -> None:
    """It is not that of what was started, as long as that has no workers."""
    host = Host([RIGHT], workers=until(5, (), AFTER))
    assert host.follow(action="upgraded").proven
    assert 5 <= host.now < 5 + STEP
    assert not Host([RIGHT], workers=(), gives_up=2).follow(action="upgraded").proven


def test_the_time_ends_it() -> None:
    """With the whole proof, asked once, with all of its patience."""
    host = Host([OLD])
    assert not host.follow().proven
    assert 20 <= host.now < 20 + STEP
    assert host.asked()[-1] == "prove"
    assert set(host.asked()[:-1]) == {"poll"}


def test_the_last_look_is_a_proof_of_its_own() -> None:
    """What holds in time's last look is proven."""
    host = Host(until(20, [OLD], [RIGHT]))
    assert host.follow().proven
    assert host.asked()[-1] == "prove"


def test_no_time_at_all() -> None:
    """Without any time there is one look, the last one."""
    host = Host([OLD])
    host.follow(timeout=0)
    assert host.events == [("reload", 0.0), ("prove", 0.0), ("running", 0.0)]


# Workers that linger


def test_workers_of_before_are_waited_for() -> None:
    """Right answers of the new ones prove nothing while old ones accept as well."""
    host = Host(workers=until(1, BEFORE | AFTER, AFTER))
    attempt = host.follow(BEFORE)
    assert (attempt.proven, attempt.lingering) == (True, False)
    assert 1 <= host.now < 1 + STEP


@pytest.mark.parametrize(
    ("rows", "workers", "lingering"),
    [
        ([RIGHT], {101, 102}, True),
        ([OLD], {101, 102}, False),
        ([OLD], AFTER, False),
    ],
)
def test_what_lingers_at_the_end(rows: list[Row], workers: set[int], lingering: bool) -> None:
    """One worker of before is enough, and counts only where every listener is right."""
    host = Host(rows, workers=workers)
    attempt = host.follow(BEFORE)
    assert (attempt.proven, attempt.lingering) == (False, lingering)
    assert host.now >= 20


def test_what_the_log_says_ends_the_wait_for_those_that_linger() -> None:
    """Right answers do not keep the log from being looked at."""
    host = Host(workers=BEFORE | AFTER, gives_up=1)
    attempt = host.follow(BEFORE)
    assert (attempt.proven, attempt.lingering) == (False, True)
    assert 1 <= host.now < 1.2 + 2 * STEP


# How often


def test_the_pause_grows_and_is_bounded() -> None:
    """From 5 ms by a half each time to a tenth of a second."""
    host = Host([OLD])
    host.follow()
    pauses = host.times("sleep")
    assert pauses[:4] == pytest.approx([0.005, 0.0075, 0.01125, 0.016875])
    assert all(one < other for one, other in zip(pauses[:8], pauses[1:8]))
    assert (max(pauses), set(pauses[8:])) == (0.1, {0.1})
    assert len(pauses) == len(host.asked()) - 1


def test_the_log_is_looked_at_every_fifth_of_a_second() -> None:
    """Not before the first has gone by, never sooner after the last look, and not much later."""
    host = Host([OLD])
    host.follow()
    looks = [0.0, *host.times("log"), host.now]
    steps = [after - before for before, after in zip(looks, looks[1:])]
    assert min(steps[:-1]) > 0.2 - 1e-9
    assert max(steps) < 0.2 + 2 * STEP
    assert len(looks) > 60


def test_the_log_is_looked_at_however_long_an_answer_takes() -> None:
    """Between slow answers there is one look each, and the time is kept to one answer."""
    host = Host([OLD], slow=0.5)
    host.follow()
    assert host.asked().count("poll") == len(host.times("log"))
    assert 20 <= host.times("prove")[0] < 20.6


@pytest.mark.parametrize(
    "host",
    [
        Host(until(3, [OLD], [RIGHT])),
        Host(until(3, [OLD], [WRONG])),
        Host([OLD], gives_up=3),
        Host([OLD], workers=until(3, AFTER, ())),
        Host([OLD], says=(False, "")),
        Host([OLD]),
    ],
    ids=["proven", "wrong", "given up", "dead", "refused", "late"],
)
def test_nothing_is_asked_after_the_end(host: Host) -> None:
    """Whatever ended it, the last thing is one answer, and whether the instance runs."""
    host.follow()
    kinds = [kind for kind, _moment in host.events]
    assert kinds[-2] in {"poll", "prove"}
    assert kinds.count("running") == 1
    assert kinds[-1] == "running"
