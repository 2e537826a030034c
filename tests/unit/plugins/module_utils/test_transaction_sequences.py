"""Runs after runs, with faults that come and go between them, on the model of nginx."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import (
    PROOF_FILE,
    Expectation,
    Listener,
)
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
from tests.unit.model_nginx import Faults, ModelNginx, configuration, expecting, id_of

WIDE, SINGLE = Listener("0.0.0.0", 11800), Listener("10.0.0.1", 11800)
SECOND = Listener("0.0.0.0", 11801)
EXPECTATIONS = st.sampled_from(
    [expecting(WIDE), expecting(SINGLE), expecting(WIDE, SECOND), expecting(SINGLE, SECOND)]
)
RIGHT, BAD = ("a", "b", "key-a", "key-b"), ("refused", "wrong-fallback", "unstartable")
WORDS = st.sampled_from(RIGHT + BAD)
SETTINGS = st.builds(Settings, allow_restart=st.booleans(), keep=st.integers(0, 4))
NOTHING_TOUCHED = {"rejected", "restart_needed", "not_live"}
AFTER_THE_SWAP = {"not_live", "fallback", "not_started", "unproven", "restart_needed"}


class Runs(RuleBasedStateMachine):
    """One host over its life: after any run disk and live are as wanted, or the error is true."""

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda _descriptor: None)  # no example is cut by a crash
        self.nginx = ModelNginx(self.place / "oap-proxy")
        self.edited: set[str] = set()
        self.last: tuple[list[File], Expectation] = (configuration("a"), expecting(WIDE))

    def teardown(self) -> None:
        """Remove what the example wrote."""
        self.patch.undo()
        shutil.rmtree(self.place)

    # What happens to a host

    @initialize(live=st.booleans())
    def begin(self, live: bool) -> None:
        """Begin on a bare host, or on one where a configuration is live."""
        if live:
            assert self.nginx.transaction().run(*self.last).action == "started"

    @rule(taken=st.sets(st.sampled_from([11800, 11801])), lingering=st.booleans())
    def faults(self, taken: set[int], lingering: bool) -> None:
        """Another program takes ports or gives them back; old workers linger or do not."""
        held = {port for _address, port in self.nginx.live.sockets} if self.nginx.live else set()
        self.nginx.faults = replace(self.nginx.faults, taken=taken - held, lingering=lingering)

    @rule(has_stage=st.booleans())
    def stage(self, has_stage: bool) -> None:
        """A configuration can be rehearsed here, or no more."""
        self.nginx.has_stage = has_stage

    @rule(silent=st.booleans())
    def silence(self, silent: bool) -> None:
        """No listener answers, or they do again."""
        self.nginx.faults.silent = silent

    @rule(delay=st.sampled_from([0.0, 0.4, 3.0]), start=st.sampled_from([0.0, 0.4, 3.0]))
    def slowness(self, delay: float, start: float) -> None:
        """A reload takes its time, and so does a start."""
        self.nginx.reload_delay = delay
        self.nginx.start_delay = start

    @rule(seconds=st.sampled_from([0.05, 0.2, 30.0]))
    def time(self, seconds: float) -> None:
        """Time goes by between two runs."""
        self.nginx.sleep(seconds)

    @precondition(lambda self: self.nginx.running())
    @rule()
    def upgrade(self) -> None:
        """The binary is replaced by another one."""
        self.nginx.replaced = "it was replaced."

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

    @rule(again=st.booleans())
    def death(self, again: bool) -> None:
        """The instance dies, and systemd starts it again or not."""
        self.nginx.die()
        self.nginx.faults.stopped_master = False
        if again:
            self.nginx.start()

    @precondition(lambda self: self.nginx.tree.current() is not None)
    @rule()
    def edit(self) -> None:
        """Someone edits what is on disk as current."""
        generation = self.nginx.tree.current() or ""
        path = self.nginx.tree.path(generation) / "http.d/10-upstreams.conf"
        path.write_text("by hand\n")
        self.edited.add(generation)

    @rule(words=WORDS, expectation=EXPECTATIONS, given=SETTINGS, number=st.integers(0, 70))
    def killed(self, words: str, expectation: Expectation, given: Settings, number: int) -> None:
        """A run is killed at some system call, or ends before it came to that."""
        self.last = configuration(words), expectation
        with killed_at(number), contextlib.suppress(Killed, TransactionError):
            self.nginx.transaction(given).run(*self.last)

    @rule(
        words=WORDS,
        expectation=EXPECTATIONS,
        given=SETTINGS,
        number=st.integers(0, 70),
        times=st.sampled_from([1, 3, 1000]),
    )
    def full(
        self, words: str, expectation: Expectation, given: Settings, number: int, times: int
    ) -> None:
        """The disk is full at some system call of a run, for a while or to its end."""
        self.last = configuration(words), expectation
        with failing_at(number, times):
            ended = self._attempt(lambda: self.nginx.transaction(given).run(*self.last))
        self._is_true(ended)

    # Runs

    @rule(words=WORDS, expectation=EXPECTATIONS, given=SETTINGS)
    def run(self, words: str, expectation: Expectation, given: Settings) -> None:
        """A run with some files and listeners."""
        self.last = configuration(words), expectation
        self._judge(given)

    @rule(given=SETTINGS)
    def again(self, given: Settings) -> None:
        """The run before once more."""
        self._judge(given)

    @rule(words=WORDS, expectation=EXPECTATIONS, given=SETTINGS)
    def check(self, words: str, expectation: Expectation, given: Settings) -> None:
        """Check mode changes nothing, whatever it tells."""
        files = configuration(words)
        live = self.nginx.live_id
        before = self._disk(), self.nginx.live
        self.nginx.verbs()
        ended = self._attempt(lambda: self.nginx.transaction(given).check(files, expectation))
        if isinstance(ended, TransactionError):
            assert ended.reason in NOTHING_TOUCHED | self._rehearsed()
            assert ended.rolled_back is False
        else:
            assert (ended.action, ended.proven_ms) == ("none", None)
            wanted = id_of(files, expectation)
            held = [row.fault for row in ended.proof] == [None] * len(expectation.listeners)
            assert ended.changed is not held
            assert not ended.proof or live == wanted == self.nginx.tree.current()
        assert (self._disk(), self.nginx.live) == before
        assert set(self.nginx.verbs()) <= {"test", "rehearse"}

    def _rehearsed(self) -> set[str]:
        """Return the reasons of what is found before the swap where it can be rehearsed."""
        return {"fallback"} if self.nginx.has_stage else set()

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

    def _is_true(self, ended: Outcome | TransactionError) -> None:
        """Hold that what a result says of disk and live is so."""
        nginx, tree = self.nginx, self.nginx.tree
        answers = nginx.answers()
        if isinstance(ended, Outcome):
            assert ended.generation == tree.current() == nginx.live_id
            assert answers == {ended.generation}
            return
        assert ended.message.endswith("."), ended.message
        # While workers of two configurations accept, their listeners need not agree.
        told = answers | {None} if len(answers) > 1 else answers
        # Nothing is known to be live where nobody listens that is asked: the listeners of what
        # was proven, of the disk, and those wanted.
        asked = [self.last[1]]
        for generation in {tree.proven(), tree.current()} - {None}:
            path = tree.path(str(generation)) / PROOF_FILE
            asked.append(Expectation.from_json(path.read_bytes()))
        if not any(nginx.serves(expectation) for expectation in asked):
            told = told | {None}
        assert ended.generation in told, ended.message
        if ended.rolled_back and ended.generation is not None:
            assert answers == {ended.generation} == {tree.current()}, ended.message

    def _judge(self, given: Settings) -> None:
        nginx, tree = self.nginx, self.nginx.tree
        files, expectation = self.last
        wanted = id_of(files, expectation)
        disk, proven, ran = tree.current(), tree.proven(), nginx.running()
        known, live, workers = tree.generations(), nginx.answers(), nginx.workers()
        before = {one if one in known else disk for one in live} if proven is None else {proven}
        nginx.verbs()
        ended = self._attempt(lambda: nginx.transaction(given).run(files, expectation))
        verbs = nginx.verbs()
        self._is_true(ended)
        if isinstance(ended, TransactionError):
            assert given.allow_restart or "restart" not in verbs
            assert tree.proven() == proven
            if set(verbs) <= {"test", "rehearse"}:
                assert ended.reason in NOTHING_TOUCHED | self._rehearsed()
                assert (ended.reason == "not_live") is nginx.faults.stopped_master
                assert (tree.current(), nginx.answers()) == (disk, live)
                assert ended.rolled_back is False
            else:
                assert ended.reason in AFTER_THE_SWAP - self._rehearsed()
                assert tree.current() in before
                assert tree.current() == proven or proven is None
                # Workers that lingered before the run serve what was live then.
                before_it = workers if live == {tree.current()} else set()
                back = self._is_back(tree.current(), wanted, ran, before_it)
                # What did not answer at first may have come back by itself, which nobody proves.
                assert ended.rolled_back is back or (back and None in live), ended.message
            return
        assert ended.generation == wanted == tree.proven()
        assert (ended.previous, ended.tested) == (disk, True)
        assert files[0].content in {f"# {words}\n".encode() for words in RIGHT}
        assert [row.fault for row in ended.proof] == [None] * len(expectation.listeners)
        assert tree.intact(wanted)
        assert before & {None, *tree.generations()}
        assert proven in {None, *tree.generations()}
        assert (ended.proven_ms is None) is (ended.action == "none")
        assert ("it was replaced." in ended.alerts) is (nginx.outdated() is not None)
        assert bool(ended.rehearsal and ended.rehearsal.held) is ("rehearse" in verbs)
        verbs = [verb for verb in verbs if verb != "rehearse"]
        if ended.action == "none":
            assert (verbs, disk, wanted in live) == ([], wanted, True)
            assert ended.changed is bool(ended.repaired)
        else:
            done = {"started": "start", "reloaded": "reload", "restarted": "restart"}
            refused = ["reload"] if verbs[1:2] == ["reload"] and len(verbs) == 3 else []
            assert not refused or given.allow_restart
            assert (verbs, ended.changed) == (["test", *refused, done[ended.action]], True)
        assert nginx.transaction(given).run(files, expectation).changed is False

    def _is_back(self, before: str | None, wanted: str, ran: bool, workers: set[int]) -> bool:
        """Tell whether what was before is back: on disk, and live if it was."""
        nginx = self.nginx
        if before is None:
            return not nginx.running()
        if before == wanted:
            return False
        if not ran:
            return not nginx.running()
        right = "wrong-fallback" not in (nginx.tree.path(before) / "nginx.conf").read_text()
        return nginx.answers() == {before} and right and not nginx.lingering() - workers

    # What always holds

    @invariant()
    def whole(self) -> None:
        """Whole generations only, and a link that leads to one of them or is not there.

        A run that was killed while it replaced what was edited by hand may leave neither.
        """
        tree = self.nginx.tree
        if tree.current_link.is_symlink() and tree.current_link.readlink().name not in self.edited:
            assert tree.current() is not None
        assert all(tree.intact(name) for name in tree.generations() if name not in self.edited)

    @invariant()
    def proven(self) -> None:
        """What was proven last is on disk, and is one that can be proven."""
        tree = self.nginx.tree
        if not tree.proven_link.is_symlink() or tree.proven_link.readlink().name in self.edited:
            return
        proven = tree.proven()
        assert proven is not None
        words = (tree.path(proven) / "nginx.conf").read_text()
        assert words in {f"# {right}\n" for right in RIGHT}


def test_runs_after_runs() -> None:
    """Whatever comes in whatever order, disk and live are as wanted or the error is true."""
    run_state_machine_as_test(Runs, settings=settings(max_examples=150, stateful_step_count=20))
