"""Runs after runs, with faults that come and go between them, on the model of nginx."""

from __future__ import annotations

import contextlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.unit.killing import Killed, failing_at, killed_at
from tests.unit.model_nginx import STOPPED, Faults, ModelNginx, configuration, expecting, id_of

WIDE, SINGLE = Listener("0.0.0.0", 11800), Listener("10.0.0.1", 11800)
SECOND = Listener("0.0.0.0", 11801)
SHAPES = {
    "wide": (WIDE,),
    "single": (SINGLE,),
    "wide and second": (WIDE, SECOND),
    "single and second": (SINGLE, SECOND),
    "wide over TLS": (replace(WIDE, tls=True),),
}
EXPECTATIONS = st.sampled_from(sorted(SHAPES))
RIGHT = ("a", "b", "key-a", "key-b")
BAD = ("refused", "wrong-fallback", "unstartable", "dying")
WORDS = st.sampled_from(RIGHT + BAD)
SETTINGS = st.builds(Settings, allow_restart=st.booleans(), keep=st.integers(0, 4))
NAMES = st.sampled_from(["current", "previous", "0123456789ab", 0, 1, 2])
NOTHING_TOUCHED = {"rejected", "restart_needed", "not_live", "not_started"}
AFTER_THE_SWAP = {"not_live", "fallback", "not_started", "unproven", "restart_needed"}
ENDINGS = (
    "Nothing was changed; ",
    "What was live was not touched; ",
    "Rolled back",
    "There was no generation before: ",
    "There is no other generation to go back to. Live now: ",
    "The way back is not proven either. On disk: ",
)


@dataclass
class Before:
    """What a host was like before a run."""

    disk: str | None
    proven: str | None
    previous: str | None
    running: bool
    intact: bool
    leads: bool
    known: list[str]
    live: set[str | None]
    workers: set[int]
    stopped: bool
    outdated: bool


class Runs(RuleBasedStateMachine):
    """One host over its life: after any run disk and live are as wanted, or the error is true."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda _descriptor: None)  # no example is cut by a crash
        self.nginx = ModelNginx(self.place / "oap-proxy")
        self.certificate = self.place / "renewed.pem"
        self._renew(b"first")
        self.edited: set[str] = set()
        self.misled = False
        self.last: tuple[list[File], Expectation] = (configuration("a"), expecting(WIDE))

    def teardown(self) -> None:
        """Remove what the example wrote."""
        self.patch.undo()
        shutil.rmtree(self.place)

    def _renew(self, content: bytes) -> None:
        self.certificate.write_text(ssl.DER_cert_to_PEM_cert(content))

    def _expectation(self, shape: str) -> Expectation:
        path = str(self.certificate)
        listeners = (replace(one, certificate=path if one.tls else "") for one in SHAPES[shape])
        return expecting(*listeners)

    # What happens to a host

    @initialize(live=st.sampled_from(["nothing", "the unit's", "started by hand"]))
    def begin(self, live: str) -> None:
        """Begin on a bare host, or on one where a configuration is live, the unit's or not."""
        if live == "nothing":
            return
        assert self.nginx.transaction().run(*self.last).action == "started"
        if live == "started by hand":
            self.nginx.die()
            self.nginx.started_by_hand()

    @rule(taken=st.sets(st.sampled_from([11800, 11801])), lingering=st.booleans())
    def faults(self, taken: set[int], lingering: bool) -> None:
        """Another program takes ports or gives them back; old workers linger or do not."""
        serving = self.nginx.live or self.nginx.by_hand
        held = {port for _address, port in serving.sockets} if serving else set()
        self.nginx.faults = replace(self.nginx.faults, taken=taken - held, lingering=lingering)

    @rule(has_stage=st.booleans())
    def stage(self, has_stage: bool) -> None:
        """A configuration can be rehearsed here, or no more."""
        self.nginx.has_stage = has_stage

    @rule(silent=st.booleans(), deaf=st.booleans())
    def silence(self, silent: bool, deaf: bool) -> None:
        """No listener answers, or they do again; the master loses its signals, or does not."""
        self.nginx.faults = replace(self.nginx.faults, silent=silent, deaf=deaf)

    @rule(delay=st.sampled_from([0.0, 0.4, 3.0]), start=st.sampled_from([0.0, 0.4, 3.0]))
    def slowness(self, delay: float, start: float) -> None:
        """A reload takes its time, and so does a start."""
        self.nginx.reload_delay = delay
        self.nginx.start_delay = start

    @rule(seconds=st.sampled_from([0.05, 0.2, 30.0]))
    def time(self, seconds: float) -> None:
        """Time goes by between two runs."""
        self.nginx.sleep(seconds)

    @rule()
    def clock_set_back(self) -> None:
        """The clock is set back: what was sealed so far is of the future."""
        for name in self.nginx.tree.generations():
            path = self.nginx.tree.path(name)
            os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 86400))

    @rule(content=st.sampled_from([b"second", b"third", None]))
    def renewal(self, content: bytes | None) -> None:
        """Another program renews the certificate outside of the tree, or removes it."""
        self.certificate.unlink(missing_ok=True)
        if content:
            self._renew(content)

    @precondition(lambda self: self.nginx.running())
    @rule(
        wrong=st.sampled_from(["", "ends", "wrong-fallback", "dying"]),
        obstacle=st.sampled_from([None, "there is a bridge."]),
        half_way=st.booleans(),
    )
    def upgrade(self, wrong: str, obstacle: str | None, half_way: bool) -> None:
        """The binary is replaced by another one, and a run that takes it over may be killed."""
        self.nginx.replaced = "it was replaced."
        self.nginx.in_the_way = obstacle
        self.nginx.faults.upgrade = wrong
        if half_way and not obstacle:
            self.nginx.hand_over()

    @precondition(lambda self: self.nginx.running() and not self.nginx.faults.stopped_master)
    @rule()
    def stop_signal(self) -> None:
        """The master is stopped by a signal."""
        self.nginx.faults.stopped_master = True

    @precondition(lambda self: self.nginx.faults.stopped_master)
    @rule()
    def continue_signal(self) -> None:
        """The master is continued, and acts on what it was told meanwhile."""
        self.nginx.continued()

    @rule()
    def mended(self) -> None:
        """Everything is mended."""
        self.nginx.continued()
        self.nginx.faults = Faults()
        self.nginx.by_hand = None
        self._renew(b"mended")

    @rule(again=st.booleans())
    def death(self, again: bool) -> None:
        """The instance dies, and systemd starts it again or not."""
        self.nginx.die()
        self.nginx.faults.stopped_master = False
        if again:
            self.nginx.start()

    @precondition(lambda self: not self.nginx.running())
    @rule(there=st.booleans())
    def by_hand(self, there: bool) -> None:
        """Someone starts an nginx on the tree that is not the unit's, or ends it."""
        if there:
            self.nginx.started_by_hand()
        else:
            self.nginx.by_hand = None

    @precondition(lambda self: self.nginx.tree.current() is not None)
    @rule(
        name=st.sampled_from(["http.d/10-upstreams.conf", "nginx.conf"]),
        words=WORDS,
        loaded=st.booleans(),
    )
    def edit(self, name: str, words: str, loaded: bool) -> None:
        """Someone edits what is on disk as current, and may reload it."""
        generation = self.nginx.tree.current() or ""
        (self.nginx.tree.path(generation) / name).write_text(f"# {words}, by hand\n")
        self.edited.add(generation)
        if loaded:
            self.nginx.reload()

    @precondition(lambda self: self.nginx.tree.current_link.is_symlink())
    @rule(place=st.sampled_from(["/etc", "generations/0123456789ab", None]))
    def mislead(self, place: str | None) -> None:
        """Someone has current point elsewhere, to nothing, or takes it away."""
        self.nginx.tree.current_link.unlink()
        self.misled = True
        if place:
            self.nginx.tree.current_link.symlink_to(place)

    @rule(words=WORDS, shape=EXPECTATIONS, given=SETTINGS, number=st.integers(0, 70))
    def killed(self, words: str, shape: str, given: Settings, number: int) -> None:
        """A run is killed at some system call, or ends before it came to that."""
        self.last = configuration(words), self._expectation(shape)
        with killed_at(number), contextlib.suppress(Killed, TransactionError):
            self.nginx.transaction(given).run(*self.last)

    @rule(name=NAMES, given=SETTINGS, number=st.integers(0, 20))
    def killed_bringing(self, name: str | int, given: Settings, number: int) -> None:
        """A run that brings a generation of before is killed at some system call."""
        with killed_at(number), contextlib.suppress(Killed, TransactionError):
            self.nginx.transaction(given).bring(self._name(name))

    @rule(
        words=WORDS,
        shape=EXPECTATIONS,
        given=SETTINGS,
        number=st.integers(0, 70),
        times=st.sampled_from([1, 3, 1000]),
    )
    def full(self, words: str, shape: str, given: Settings, number: int, times: int) -> None:
        """The disk is full at some system call of a run, for a while or to its end."""
        self.last = configuration(words), self._expectation(shape)
        before = self._before()
        with failing_at(number, times):
            ended = self._attempt(lambda: self.nginx.transaction(given).run(*self.last))
        self._is_true(ended, before)

    # Runs

    @rule(words=WORDS, shape=EXPECTATIONS, given=SETTINGS)
    def run(self, words: str, shape: str, given: Settings) -> None:
        """A run with some files and listeners."""
        self.last = configuration(words), self._expectation(shape)
        self._judge_run(given)

    @rule(given=SETTINGS)
    def again(self, given: Settings) -> None:
        """The run before once more."""
        self._judge_run(given)

    @rule(name=NAMES, given=SETTINGS)
    def bring(self, name: str | int, given: Settings) -> None:
        """A generation on disk is brought live: its id, or that of a link."""
        nginx, tree = self.nginx, self.nginx.tree
        asked = self._name(name)
        wanted = {"current": tree.current(), "previous": tree.previous()}.get(asked, asked)
        before = self._before()
        there = wanted in before.known and tree.intact(str(wanted))
        nginx.verbs()
        ended = self._attempt(lambda: nginx.transaction(given).bring(asked))
        self._judge(ended, before, given, wanted)
        if not there:
            assert isinstance(ended, TransactionError)
            assert (ended.reason, nginx.verbs()) == ("rejected", [])
        if isinstance(ended, Outcome):
            assert (ended.action == "none") <= (asked != "current")
            assert not nginx.transaction(given).bring(str(wanted)).changed

    def _name(self, name: str | int) -> str:
        """Return what is asked for: a number counts the generations on disk."""
        known = self.nginx.tree.generations()
        if isinstance(name, int):
            return known[name % len(known)] if known else "0123456789ab"
        return name

    @rule(words=WORDS, shape=EXPECTATIONS, given=SETTINGS)
    def check(self, words: str, shape: str, given: Settings) -> None:
        """Check mode changes nothing, and tells what the run would be."""
        files, expectation = configuration(words), self._expectation(shape)
        before = self._before()
        ended = self._checked(lambda: self.nginx.transaction(given).check(files, expectation))
        if isinstance(ended, Outcome):
            wanted = id_of(files, expectation)
            held = [row.fault for row in ended.proof] == [None] * len(expectation.listeners)
            settled = self.nginx.tree.proven() == wanted and not before.outdated
            assert ended.changed is not (held and settled)
            assert not ended.proof or ended.state.live == wanted == self.nginx.tree.current()

    @rule(name=NAMES, given=SETTINGS)
    def check_bring(self, name: str | int, given: Settings) -> None:
        """Check mode of what brings a generation live changes nothing either."""
        asked = self._name(name)
        ended = self._checked(lambda: self.nginx.transaction(given).check_bring(asked))
        assert isinstance(ended, TransactionError) or ended.changed or asked != "current"

    def _checked(self, work: Callable[[], Outcome]) -> Outcome | TransactionError:
        before = self._before()
        state = self._disk(), self.nginx.live
        self.nginx.verbs()
        ended = self._attempt(work)
        if isinstance(ended, TransactionError):
            assert ended.reason in NOTHING_TOUCHED | self._rehearsed()
            assert ended.rolled_back is False
            self._is_true(ended, before)
        else:
            assert (ended.action, ended.proven_ms) == ("none", None)
            if ended.changed:
                self._drift_is_true(ended, before)
        assert (self._disk(), self.nginx.live) == state
        assert set(self.nginx.verbs()) <= {"test", "rehearse"}
        return ended

    def _rehearsed(self) -> set[str]:
        """Return the reasons of what is found before the swap where it can be rehearsed."""
        return {"fallback"} if self.nginx.has_stage else set()

    # Judgement

    @staticmethod
    def _attempt(run: Callable[[], Outcome]) -> Outcome | TransactionError:
        try:
            return run()
        except TransactionError as error:
            return error

    def _disk(self) -> dict[str, object]:
        return {
            str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns)
            for path in self.nginx.tree.root.rglob("*")
        }

    def _before(self) -> Before:
        nginx, tree = self.nginx, self.nginx.tree
        disk = tree.current()
        return Before(
            disk=disk,
            proven=tree.proven(),
            previous=tree.previous(),
            running=nginx.running(),
            intact=disk is not None and tree.intact(disk),
            leads=not os.path.lexists(tree.current_link) or disk is not None,
            known=tree.generations(),
            live=nginx.answers(),
            workers=nginx.workers(),
            stopped=nginx.stopped() is not None,
            outdated=nginx.outdated() is not None,
        )

    @staticmethod
    def _may_be_told(answers: set[str | None]) -> set[str | None]:
        """While workers of two configurations accept, their listeners need not agree."""
        return answers | {None} if len(answers) > 1 else answers

    def _is_true(self, ended: Outcome | TransactionError, before: Before) -> None:
        """Hold that what a result says of disk and live is so."""
        nginx, tree = self.nginx, self.nginx.tree
        answers = nginx.answers()
        if isinstance(ended, Outcome):
            assert ended.generation == tree.current() == nginx.live_id
            assert answers == {ended.generation}
            assert ended.state.live in self._may_be_told(before.live)
            assert nginx.live is not None
            assert nginx.live.read == ended.generation, "what was edited is live"
            return
        message = ended.message
        assert ended.reason in NOTHING_TOUCHED | AFTER_THE_SWAP
        assert message.endswith("."), message
        assert sum(ending in message for ending in ENDINGS) == 1, message
        assert ended.generation in self._may_be_told(answers), message
        assert ended.generation is None or ended.generation in message
        if "Nothing was changed" in message or "was not touched" in message:
            assert ended.rolled_back is False
            serving = f"generation {ended.generation} is still live"
            known = serving if ended.generation else "nothing is known to be live"
            assert f"; {known}." in message
            assert nginx.answers() == before.live
        if "Nothing was changed" in message and "is whole again" not in message:
            assert (tree.current(), tree.proven()) == (before.disk, before.proven)
        assert ("Rolled back" in message or "is stopped" in message) >= ended.rolled_back, message
        if ended.rolled_back and before.running:
            assert answers == {ended.generation} == {tree.current()}, message

    def _drift_is_true(self, ended: Outcome, before: Before) -> None:
        """Hold that every difference is told, and no other."""
        wanted, live, disk = ended.generation, ended.state.live, before.disk
        holds = before.running and before.intact and wanted == live == disk
        facts = {
            f"{self.nginx.tree.current_link} leads to no generation": not before.leads,
            f"generation {disk} was edited since it was sealed": disk and not before.intact,
            "nginx does not run": disk and not before.running,
            f"another nginx answers with generation {live}": live and not before.running,
            "no listener tells which generation is live": before.running and live is None,
            f"generation {live} is live, while {disk} is on disk": live and disk and live != disk,
            f"generation {wanted} is live and not proven: a run was killed": (
                holds and before.proven != wanted
            ),
            "it was replaced": before.outdated,
        }
        told = [sentence.partition(" (")[0] for sentence in ended.drift]
        expected = [sentence for sentence, fact in facts.items() if fact]
        assert told[: len(expected)] == expected, (told, expected)
        faults = ended.drift[len(expected) :]
        assert live or not faults
        kinds = (" answers ", " shows ", " cannot be held against ")
        assert all(any(kind in fault for kind in kinds) for fault in faults), faults

    def _judge_run(self, given: Settings) -> None:
        files, expectation = self.last
        wanted = id_of(files, expectation)
        before = self._before()
        self.nginx.verbs()
        run = self.nginx.transaction(given).run
        ended = self._attempt(lambda: run(files, expectation))
        self._judge(ended, before, given, wanted)
        if isinstance(ended, Outcome):
            assert files[0].content in {f"# {words}\n".encode() for words in RIGHT}
            assert [row.fault for row in ended.proof] == [None] * len(expectation.listeners)
            assert self.nginx.transaction(given).run(files, expectation).changed is False

    def _judge(
        self,
        ended: Outcome | TransactionError,
        before: Before,
        given: Settings,
        wanted: str | None,
    ) -> None:
        nginx, tree = self.nginx, self.nginx.tree
        verbs = [call.verb for call in nginx.said]
        self._is_true(ended, before)
        if isinstance(ended, TransactionError):
            self._failed_rightly(ended, before, given, wanted)
            return
        assert ended.generation == wanted == tree.proven()
        stepped = before.proven not in (None, wanted)
        assert tree.previous() == (before.proven if stepped else before.previous)
        assert (ended.previous, ended.tested) == (before.disk, True)
        assert tree.intact(str(wanted))
        assert (ended.proven_ms is None) is (ended.action == "none")
        assert nginx.outdated() is None
        assert (STOPPED in ended.alerts) is before.stopped
        assert bool(ended.rehearsal and ended.rehearsal.held) is ("rehearse" in verbs)
        verbs = [verb for verb in verbs if verb != "rehearse"]
        if ended.action == "none":
            assert (verbs, before.disk, wanted in before.live) == ([], wanted, True)
            assert (ended.changed, ended.drift) == (bool(ended.repaired), [])
        else:
            done = {
                "started": ["start"],
                "reloaded": ["reload"],
                "upgraded": ["hand over", "complete"],
                "restarted": ["restart"],
            }
            refused = ["reload"] if verbs[1:2] == ["reload"] and len(verbs) == 3 else []
            assert not refused or given.allow_restart
            assert (ended.action in ("upgraded", "restarted")) >= before.outdated
            assert (verbs, ended.changed) == (["test", *refused, *done[ended.action]], True)
            self._drift_is_true(ended, before)

    def _failed_rightly(
        self, ended: TransactionError, before: Before, given: Settings, wanted: str | None
    ) -> None:
        nginx, tree = self.nginx, self.nginx.tree
        verbs = [call.verb for call in nginx.said]
        assert given.allow_restart or "restart" not in verbs
        mended = "is whole again" in ended.message
        assert tree.proven() == before.proven or (mended and tree.proven() is None)
        assert tree.previous() == before.previous
        if set(verbs) <= {"test", "rehearse"}:
            assert ended.reason in NOTHING_TOUCHED | self._rehearsed()
            assert (ended.reason == "not_started") <= (nginx.by_hand is not None)
            if "rehearse" not in verbs:
                assert (ended.reason == "not_live") <= before.stopped
                assert (ended.reason in ("not_live", "rejected")) >= before.stopped
            assert (tree.current(), nginx.answers()) == (before.disk, before.live)
            assert "Nothing was changed" in ended.message
            return
        # What a new binary does on the sockets of another one, no rehearsal sees.
        seen = set() if "take back" in verbs else self._rehearsed()
        assert ended.reason in AFTER_THE_SWAP - seen
        assert "Nothing was changed" not in ended.message
        way_back = {one if one in before.known else before.disk for one in before.live}
        way_back = {before.proven} if before.proven else way_back
        if wanted not in way_back and None not in way_back:
            assert tree.current() in way_back
        # Workers that lingered before the run serve what was live then.
        before_it = before.workers if before.live == {tree.current()} else set()
        kept = "take back" in verbs and before.live == {tree.current()}
        back = self._is_back(tree.current(), None if kept else wanted, before.running, before_it)
        # What did not answer at first may have come back by itself, which nobody proves.
        assert ended.rolled_back is back or (back and None in before.live), ended.message

    def _is_back(self, disk: str | None, wanted: str | None, ran: bool, workers: set[int]) -> bool:
        """Tell whether what was before is back: on disk, and live if it was."""
        nginx = self.nginx
        if disk is None:
            return not nginx.running()
        if disk == wanted:
            return False
        if not ran:
            return not nginx.running()
        serving = nginx.live
        if nginx.answers() != {disk} or serving is None or nginx.lingering() - workers:
            return False
        told = Expectation.from_json((nginx.tree.path(disk) / PROOF_FILE).read_bytes())
        shown = set(serving.certificates.values()) if any(x.tls for x in told.listeners) else set()
        there = self.certificate.is_file()
        renewed = {ssl.PEM_cert_to_DER_cert(self.certificate.read_text())} if there else {b""}
        return "wrong-fallback" not in serving.words and shown <= renewed

    # What always holds

    @invariant()
    def whole(self) -> None:
        """Whole generations only, and a link that leads to one of them or is not there."""
        tree = self.nginx.tree
        self.misled = self.misled and tree.current() is None
        if tree.current_link.is_symlink() and not self.misled:
            assert tree.current() is not None
        assert all(tree.intact(name) for name in tree.generations() if name not in self.edited)

    @invariant()
    def kept(self) -> None:
        """What answers, what was proven last and what was before it are on disk."""
        tree = self.nginx.tree
        assert self.nginx.answers() - {None} <= set(tree.generations())
        assert tree.previous_link.is_symlink() is (tree.previous() is not None)
        assert tree.proven_link.is_symlink() is (tree.proven() is not None)
        if tree.proven() in self.edited | {None}:
            return
        words = (tree.path(str(tree.proven())) / "nginx.conf").read_text()
        assert words in {f"# {right}\n" for right in RIGHT}


def test_runs_after_runs() -> None:
    """Whatever comes in whatever order, disk and live are as wanted or the error is true."""
    run_state_machine_as_test(Runs, settings=settings(max_examples=150, stateful_step_count=20))
