"""From one generation to another and back: which command is given, and what is said of the end.

The tree is real. How each command ended is given beforehand: the wait is the follower's own.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.changeover import Changeover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Attempt,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State, Survey

from tests.unit.model_nginx import ModelNginx, complete, configuration, expecting, id_of

PLAIN = expecting()
BOTH = expecting(Listener("0.0.0.0", 11800), Listener("0.0.0.0", 11801))
OLD, NEW = id_of(configuration("old"), BOTH), id_of(configuration("new"), PLAIN)
BEFORE, NOW = {100, 101}, {102, 103}
RIGHT, DEAF = Row("0.0.0.0:11800"), Row("0.0.0.0:11800", fault="it is deaf")
WENT = Attempt(done=True, rows=[RIGHT])
FAILED = Attempt(done=True, rows=[DEAF], accepting=BEFORE)
REFUSED = Attempt(done=False, rows=[RIGHT], accepting=BEFORE)
ZONE = '[emerg] 7#7: limit_req "oap" uses the "$b" key while previously it used the "$a" key'
AGAIN = "Run again when the cause is gone."


class Telling(Prover):
    """Listeners that all tell the same id, or none."""

    told: str | None = None

    def live(self, expectation: Expectation) -> str | None:
        """See Prover."""
        assert expectation.listeners
        return self.told


class Host(ModelNginx):
    """A host where OLD is on disk and live, and NEW is sealed.

    :ivar ends: how the commands end, in their order; well, where nothing is given.
    :ivar given: what the follower was told at each command.
    :ivar disks: what was current when the workers were counted, and at each command.
    :ivar says: what is logged at a command.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.runs = True
        self.accepting = BEFORE
        self.ends: list[Attempt] = []
        self.given: list[tuple[Any, ...]] = []
        self.besides: list[Collection[str]] = []
        self.disks: list[tuple[str, str | None]] = []
        self.says: list[str] = []
        self.change: str | None = None
        self.listeners = Telling()
        self.listeners.told = OLD
        with self.tree.lock():
            self.tree.swap(self.tree.stage(complete(configuration("old"), BOTH)))
            self.tree.stage(complete(configuration("new"), PLAIN))

    def state(self, **found: Any) -> State:
        """Return what was found, as it is here but for what is given."""
        return replace(State(NEW, OLD, OLD, True, OLD), **found)

    def changeover(self, allow_restart: bool = False) -> Changeover:
        """Return what is tested."""
        survey = Survey(self.tree, self, self.listeners)
        return Changeover(self.tree, self, survey, self, allow_restart)  # type: ignore[arg-type]

    def bring(self, way: str = "reloaded", allow: bool = False, **found: Any) -> Attempt:
        """Bring NEW live."""
        state = self.state(**found)
        return self.changeover(allow).bring_live(state, PLAIN, self.mark(), way)

    def back(self, attempt: Attempt = FAILED, fresh: bool = True, **found: Any) -> TransactionError:
        """Go back from NEW, which is on disk."""
        mark = self.mark()
        self.log += self.says
        action = "reloaded" if attempt.action == "none" else attempt.action
        attempt = replace(attempt, action=action)
        return self.changeover().roll_back(self.state(**found), attempt, mark, fresh)

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
        """See Follower."""
        self.besides.append(beside)
        self.given.append((action, generation, expectation, mark.offset, accepting, tuple(ours)))
        self.disks.append((action, self.tree.current()))
        self.log += self.says
        return replace(self.ends.pop(0) if self.ends else WENT, action=action, accepting=accepting)

    def running(self) -> bool:
        """See Instance."""
        return self.runs

    def workers(self) -> set[int]:
        """See Instance."""
        self.disks.append(("workers", self.tree.current()))
        return set(self.accepting)

    def stop(self) -> None:
        """See Instance."""
        self.disks.append(("stop", self.tree.current()))
        self.runs = False

    def troubles(self) -> list[str]:
        """See Instance."""
        return [self.replaced, "it is stopped."] if self.replaced else []

    def altered(self) -> str | None:
        """See Instance."""
        return self.change

    def blocked(self) -> None:
        """Let every swap fail from now on."""
        (self.tree.root / ".next-current").mkdir()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host where OLD is live."""
    return Host(tmp_path / "oap-proxy")


@pytest.fixture
def swapped(host: Host) -> Host:
    """A host on whose disk NEW was put, by a run that has failed."""
    host.tree.swap(NEW)
    host.accepting = BEFORE | NOW
    return host


# The way there


NAMES = ("0.0.0.0:11800", "0.0.0.0:11801")


def test_a_reload(host: Host) -> None:
    """Workers of before are counted, then it is swapped, then told; whose listeners is told."""
    host.log.append(ZONE)
    attempt = host.bring(allow=True)
    assert (attempt.action, attempt.proven) == ("reloaded", True)
    assert host.given == [("reloaded", NEW, PLAIN, 1, BEFORE, NAMES)]
    assert host.disks == [("workers", OLD), ("reloaded", NEW)]


def test_a_start(host: Host) -> None:
    """Where nothing runs, nobody of before is waited for."""
    assert host.bring("started", running=False).action == "started"
    assert host.given == [("started", NEW, PLAIN, 0, set(), ())]
    assert host.disks == [("started", NEW)]


@pytest.mark.parametrize("allow", [False, True])
def test_a_restart(host: Host, allow: bool) -> None:
    """It is told once, also where its log reads like a refused reload."""
    host.says = [ZONE]
    assert host.bring("restarted", allow=allow).action == "restarted"
    assert host.given == [("restarted", NEW, PLAIN, 0, BEFORE, ())]


def test_what_is_on_disk_already_is_not_swapped(host: Host) -> None:
    """The link is left as it is, so that a tree that cannot be written keeps nobody."""
    host.blocked()
    assert host.bring(wanted=OLD).action == "reloaded"
    assert host.given[0][:2] == ("reloaded", OLD)


@pytest.mark.parametrize("live", [None, "0123456789ab"], ids=["nothing", "unknown"])
def test_listeners_of_nobody_are_not_ours(host: Host, live: str | None) -> None:
    """Where it is not known who was live, no listener counts as one that told."""
    host.bring(live=live)
    assert host.given == [("reloaded", NEW, PLAIN, 0, BEFORE, ())]


@pytest.mark.parametrize(
    ("way", "live", "before", "beside"),
    [
        ("upgraded", OLD, OLD, {OLD}),
        # A run was killed while both served, and the new one has told what is live.
        ("upgraded", NEW, OLD, {OLD}),
        ("upgraded", None, OLD, {OLD}),
        # And something else is wanted by now: either of the two may answer.
        ("upgraded", "0123456789ab", OLD, {"0123456789ab", OLD}),
        ("upgraded", NEW, NEW, set()),
        ("reloaded", OLD, OLD, set()),
    ],
)
def test_what_serves_beside(
    host: Host, way: str, live: str | None, before: str, beside: set[str]
) -> None:
    """Answers of the one before are no fault as long as both serve."""
    host.ends = [FAILED]
    host.bring(way, live=live, before=before)
    assert set(host.besides[0]) == beside


@pytest.mark.parametrize("running", [True, False])
@pytest.mark.parametrize("way", ["started", "reloaded", "upgraded", "restarted"])
def test_a_swap_that_fails(host: Host, running: bool, way: str) -> None:
    """No command is given; what stands in the way is told with the thing to do."""
    host.blocked()
    attempt = host.bring(way, running=running, allow=True)
    assert (attempt.action, attempt.done, attempt.proven, attempt.rows) == (
        "none",
        False,
        False,
        [],
    )
    assert attempt.words.startswith(f"cannot swap {host.tree.current_link}: [Errno 17] ")
    assert attempt.words.endswith(". Make room or mend the permissions, then run again.")
    assert (host.given, host.tree.current()) == ([], OLD)


@pytest.mark.parametrize("end", [FAILED, WENT], ids=["failed", "went"])
def test_a_restart_after_a_refused_reload(host: Host, end: Attempt) -> None:
    """With a mark of its own: what the reload has logged is not the restart's. It ends it."""
    host.says = [ZONE]
    host.ends = [FAILED, end]
    attempt = host.bring(allow=True)
    assert host.given == [
        ("reloaded", NEW, PLAIN, 0, BEFORE, NAMES),
        ("restarted", NEW, PLAIN, 1, BEFORE, ()),
    ]
    assert (attempt.action, attempt.proven) == ("restarted", end is WENT)


@pytest.mark.parametrize(
    ("allow", "says"), [(False, ZONE), (True, "[emerg] 7#7: still could not bind()")]
)
def test_no_restart_after_a_reload(host: Host, allow: bool, says: str) -> None:
    """Neither without leave nor for another reason."""
    host.says, host.ends = [says], [FAILED]
    assert host.bring(allow=allow).action == "reloaded"
    assert [action for action, *_rest in host.given] == ["reloaded"]


# The way back


def test_rolled_back(swapped: Host) -> None:
    """Swapped before the command; workers of before the swap are its own, the others are not."""
    error = swapped.back()
    assert (error.reason, error.rolled_back, error.generation) == ("not_live", True, OLD)
    assert error.message.endswith(f" Rolled back: generation {OLD} is live again.")
    assert [given[:2] + given[4:] for given in swapped.given] == [("reloaded", OLD, NOW, ())]
    assert swapped.given[0][2].listeners == BOTH.listeners
    assert swapped.disks == [("workers", OLD), ("reloaded", OLD)]
    assert (swapped.tree.generations(), error.proof) == ([OLD], [DEAF])


def test_what_is_proven_is_live(swapped: Host) -> None:
    """The way back was proven by workers that may end while they are asked once more."""
    swapped.listeners.told = None
    error = swapped.back()
    assert (error.rolled_back, error.generation) == (True, OLD)


@pytest.mark.parametrize(
    ("action", "runs", "back"),
    [
        ("reloaded", True, "reloaded"),
        ("restarted", True, "restarted"),
        ("reloaded", False, "started"),
        # What has not come up may be another one than what is to come back.
        ("restarted", False, "restarted"),
    ],
)
def test_the_command_of_the_way_back(swapped: Host, action: str, runs: bool, back: str) -> None:
    """The same as there, and a start of what does not run any more."""
    swapped.runs = runs
    swapped.back(replace(FAILED, action=action))
    assert [given[0] for given in swapped.given] == [back]


def test_workers_of_another_that_was_live(swapped: Host) -> None:
    """Where something else was live than is gone back to, all who accept must stop."""
    swapped.back(live=None)
    assert swapped.given[0][4] == BEFORE | NOW


@pytest.mark.parametrize(
    ("attempt", "end", "live", "rolled_back"),
    [
        (FAILED, WENT, OLD, True),
        (FAILED, FAILED, OLD, False),
        (FAILED, REFUSED, OLD, False),
        (REFUSED, REFUSED, OLD, True),
        (REFUSED, REFUSED, NEW, False),
        (REFUSED, replace(REFUSED, rows=[DEAF]), OLD, False),
        (REFUSED, WENT, NEW, True),
        (REFUSED, replace(WENT, lingering=True), OLD, False),
    ],
)
def test_what_counts_as_rolled_back(
    swapped: Host, attempt: Attempt, end: Attempt, live: str, rolled_back: bool
) -> None:
    """It is proven, or nothing was ever told to change and answers as it must."""
    swapped.ends = [end]
    assert swapped.back(attempt, live=live).rolled_back is rolled_back


def test_the_way_back_of_a_swap_without_effect(host: Host) -> None:
    """What is on disk as before is not swapped, so that a tree that cannot be written keeps it."""
    host.blocked()
    error = host.back(replace(REFUSED, words="cannot swap."), fresh=False)
    assert (error.rolled_back, host.tree.current()) == (True, OLD)
    assert [given[:2] for given in host.given] == [("reloaded", OLD)]


def test_what_cannot_be_proven_is_not_rolled_back(swapped: Host) -> None:
    """Without a proof.json nothing is asked, however well the command went."""
    (swapped.tree.path(OLD) / PROOF_FILE).unlink()
    error = swapped.back()
    assert swapped.given[0][2] == Expectation((), ())
    assert (error.rolled_back, swapped.tree.current()) == (False, OLD)


# What is said of the state after


def said(host: Host, *, rolled_back: bool, live: str | None, **found: Any) -> str:
    """Go back, and return what is said after the cause."""
    host.listeners.told = live
    error = host.back(replace(FAILED, rows=[], words="the cause."), **found)
    assert (error.rolled_back, error.generation) == (rolled_back, live)
    return error.message.partition(" the cause. ")[2]


@pytest.mark.parametrize("live", [None, OLD])
def test_said_where_there_was_none_before(swapped: Host, live: str | None) -> None:
    """Stopped, with nothing current; who answers all the same is another nginx."""
    told = said(swapped, rolled_back=True, live=live, before=None, running=False)
    serving = f"another nginx answers with generation {OLD}" if live else "nothing is live"
    assert told == f"There was no generation before: the instance is stopped, {serving}."
    assert (swapped.disks, swapped.tree.current()) == ([("stop", NEW)], None)
    assert (swapped.given, swapped.tree.generations()) == ([], [OLD])


@pytest.mark.parametrize("live", [None, NEW])
def test_said_where_it_did_not_run(swapped: Host, live: str | None) -> None:
    """Back on disk before it is stopped, so that nothing is started from what failed."""
    told = said(swapped, rolled_back=True, live=live, running=False)
    serving = f"another nginx answers with generation {NEW}" if live else "nothing is live"
    assert told == (
        f"Rolled back on disk to generation {OLD}; it does not run, as before: {serving}."
    )
    assert (swapped.disks, swapped.given) == ([("stop", OLD)], [])


@pytest.mark.parametrize("live", [None, NEW])
@pytest.mark.parametrize(("before", "running"), [(NEW, True), (None, True), (NEW, False)], ids=str)
def test_said_where_there_is_no_other(
    swapped: Host, live: str | None, before: str | None, running: bool
) -> None:
    """It stays on disk; what runs goes on, and what was started is stopped again."""
    told = said(swapped, rolled_back=False, live=live, before=before, running=running)
    serving = f"generation {NEW}" if live else "nothing that answers with its id"
    assert told == f"There is no other generation to go back to. Live now: {serving}. {AGAIN}"
    assert swapped.disks == ([] if running else [("stop", NEW)])
    assert (swapped.given, swapped.tree.current()) == ([], NEW)


@pytest.mark.parametrize("live", [None, NEW])
def test_said_where_the_way_back_is_not_proven(swapped: Host, live: str | None) -> None:
    """What is on disk, and what is live, which may differ."""
    swapped.ends = [FAILED]
    told = said(swapped, rolled_back=False, live=live)
    serving = f"generation {NEW}" if live else "nothing that answers with its id"
    assert told == (
        f"The way back is not proven either. On disk: {OLD}; live now: {serving}. {AGAIN}"
    )
    assert NEW in swapped.tree.generations()


@pytest.mark.parametrize("disk", [NEW, None])
def test_said_where_the_way_back_fails(swapped: Host, disk: str | None) -> None:
    """Why, between the cause and what is on disk; nothing is told to the instance."""
    swapped.blocked()
    if disk is None:
        swapped.tree.clear()
    told = said(swapped, rolled_back=False, live=OLD)
    assert told.startswith("The way back failed: [Errno 17] File exists: ")
    assert told.endswith(
        f". The way back is not proven either. On disk: {disk or 'no generation'}; "
        f"live now: generation {OLD}. {AGAIN}"
    )
    assert swapped.given == []


# What else is said


def test_what_to_mind(swapped: Host) -> None:
    """Troubles of the instance in their order, then how it was altered, then the state."""
    swapped.replaced, swapped.change = "it was replaced.", "it was altered."
    told = said(swapped, rolled_back=True, live=OLD)
    assert told == (
        "Mind that it was replaced. Mind that it is stopped. Mind that it was altered. "
        f"Rolled back: generation {OLD} is live again."
    )


def test_the_log_of_the_failure(swapped: Host) -> None:
    """What was logged since the mark is told, and is what the reason comes of."""
    swapped.log.append("[emerg] of before")
    swapped.says = [ZONE]
    error = swapped.back()
    # Once at what failed, once more at the way back.
    assert (error.reason, error.nginx_log) == ("restart_needed", [ZONE, ZONE])
    # What has failed is no reason to give up the way back.
    assert swapped.given[0][3] == 2


# What is removed


@pytest.mark.parametrize(
    ("fresh", "live", "end", "stays"),
    [
        (True, OLD, WENT, False),
        (False, OLD, WENT, True),
        (True, NEW, WENT, True),
        (True, OLD, FAILED, False),
        (True, None, FAILED, True),
        (True, None, WENT, False),
    ],
)
def test_what_failed_is_removed(
    swapped: Host, fresh: bool, live: str | None, end: Attempt, stays: bool
) -> None:
    """What this run has made goes, but never while it may be live; what was there stays."""
    swapped.listeners.told, swapped.ends = live, [end]
    swapped.back(fresh=fresh)
    assert (NEW in swapped.tree.generations()) is stays


def test_what_is_on_disk_is_not_removed(swapped: Host) -> None:
    """Where the way back failed, current goes on leading to a generation."""
    swapped.blocked()
    swapped.back()
    assert (swapped.tree.current(), NEW in swapped.tree.generations()) == (NEW, True)


def test_what_cannot_be_removed_is_told(swapped: Host) -> None:
    """It is left, which does not undo the way back."""
    broken = swapped.tree.generations_dir / f".broken-{NEW}"
    broken.mkdir()
    (broken / "x").write_text("x")
    told = said(swapped, rolled_back=True, live=OLD)
    assert told.startswith(f"Left on disk: generation {NEW} ([Errno 39] ")
    assert told.endswith(f"). Rolled back: generation {OLD} is live again.")
