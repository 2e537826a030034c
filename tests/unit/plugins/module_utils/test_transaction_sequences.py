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
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Outcome,
    Settings,
    TransactionError,
)
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

from tests.unit.killing import Killed, killed_at
from tests.unit.model_nginx import Faults, ModelNginx, configuration, expecting, id_of

WIDE, SINGLE = Listener("0.0.0.0", 11800), Listener("10.0.0.1", 11800)
SECOND = Listener("0.0.0.0", 11801)
EXPECTATIONS = st.sampled_from(
    [expecting(WIDE), expecting(SINGLE), expecting(WIDE, SECOND), expecting(SINGLE, SECOND)]
)
WORDS = st.sampled_from(["a", "b", "refused", "wrong-fallback", "unstartable"])
SETTINGS = st.builds(Settings, allow_restart=st.booleans(), keep=st.integers(2, 4))
BEFORE_THE_SWAP = {"rejected", "restart_needed"}
AFTER_THE_SWAP = {"not_live", "fallback", "not_started", "unproven"}


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

    @rule(silent=st.booleans())
    def silence(self, silent: bool) -> None:
        """No listener answers, or they do again."""
        self.nginx.faults.silent = silent

    @rule(delay=st.sampled_from([0.0, 0.4, 3.0]))
    def slowness(self, delay: float) -> None:
        """A reload takes its time."""
        self.nginx.reload_delay = delay

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
        before = self._disk(), self.nginx.live
        self.nginx.verbs()
        ended = self._attempt(lambda: self.nginx.transaction(given).check(files, expectation))
        if isinstance(ended, TransactionError):
            assert (ended.reason in BEFORE_THE_SWAP, ended.rolled_back) == (True, False)
        else:
            assert ended.action == "none"
        assert (self._disk(), self.nginx.live) == before
        assert set(self.nginx.verbs()) <= {"test"}

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

    def _judge(self, given: Settings) -> None:
        nginx, tree = self.nginx, self.nginx.tree
        files, expectation = self.last
        wanted = id_of(files, expectation)
        disk, live, ran = tree.current(), nginx.live_id, nginx.running()
        before = live if live in tree.generations() else disk
        nginx.verbs()
        ended = self._attempt(lambda: nginx.transaction(given).run(files, expectation))
        verbs = nginx.verbs()
        if isinstance(ended, TransactionError):
            assert ended.generation == nginx.live_id, ended.message
            assert ended.message.endswith(".")
            assert given.allow_restart or "restart" not in verbs
            if ended.reason in BEFORE_THE_SWAP:
                assert (tree.current(), nginx.live_id) == (disk, live)
                assert set(verbs) <= {"test"}
                assert ended.rolled_back is False
            else:
                assert ended.reason in AFTER_THE_SWAP
                assert tree.current() == before
                assert ended.rolled_back is self._is_back(before, wanted, ran), ended.message
            return
        assert ended.generation == wanted == tree.current() == nginx.live_id
        assert (ended.previous, ended.tested) == (disk, True)
        assert files[0].content in {b"# a\n", b"# b\n"}
        assert [row.fault for row in ended.proof] == [None] * len(expectation.listeners)
        assert tree.intact(wanted)
        assert before is None or before in tree.generations()
        if ended.action == "none":
            assert (verbs, disk, live) == ([], wanted, wanted)
            assert ended.changed is bool(ended.repaired)
        else:
            done = {"started": "start", "reloaded": "reload", "restarted": "restart"}
            assert (verbs, ended.changed) == (["test", done[ended.action]], True)
        assert nginx.transaction(given).run(files, expectation).changed is False

    def _is_back(self, before: str | None, wanted: str, ran: bool) -> bool:
        """Tell whether what was before is back: on disk, and live if it was."""
        if before is None:
            return not self.nginx.running()
        if before == wanted:
            return False
        return self.nginx.live_id == before if ran else not self.nginx.running()

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


def test_runs_after_runs() -> None:
    """Whatever comes in whatever order, disk and live are as wanted or the error is true."""
    run_state_machine_as_test(Runs, settings=settings(max_examples=60, stateful_step_count=20))
