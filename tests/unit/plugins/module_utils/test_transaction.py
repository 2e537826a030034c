"""The order of the steps, on a real tree of generations and a model of nginx.

``ModelNginx`` is a stand-in: that the real nginx behaves like it is for the tests on hosts.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import (
    PROOF_FILE,
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Outcome,
    Settings,
    TransactionError,
)

from tests.unit.killing import Killed, killed_at
from tests.unit.model_nginx import ModelNginx, configuration, expecting, id_of

OLD, NEW, REFUSED = configuration("old"), configuration("new"), configuration("refused")
WRONG, UNSTARTABLE = configuration("wrong-fallback"), configuration("unstartable")
PLAIN = expecting()
SINGLE = expecting(Listener("10.0.0.1", 11800))
BOTH = expecting(Listener("0.0.0.0", 11800), Listener("0.0.0.0", 11801))


@pytest.fixture
def nginx(tmp_path: Path) -> ModelNginx:
    """A host without any generation, where nothing runs."""
    return ModelNginx(tmp_path / "oap-proxy")


@pytest.fixture
def serving(nginx: ModelNginx) -> ModelNginx:
    """A host where OLD is live."""
    nginx.transaction().run(OLD, PLAIN)
    nginx.verbs()
    return nginx


def everything(nginx: ModelNginx) -> dict[str, object]:
    """Everything on disk below the root but the lock: kind, mode, time of change, content."""
    return {
        path.relative_to(nginx.tree.root).as_posix(): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            str(path.readlink()) if path.is_symlink() else path.is_file() and path.read_bytes(),
        )
        for path in nginx.tree.root.rglob("*")
        if path.name != ".lock"
    }


def failing(
    nginx: ModelNginx, files: list[File], expectation: Expectation = PLAIN, **settings: object
) -> TransactionError:
    """Run, and return the error that the run must end with."""
    with pytest.raises(TransactionError) as caught:
        nginx.transaction(Settings(**settings)).run(files, expectation)  # type: ignore[arg-type]
    return caught.value


OLD_ID, NEW_ID = id_of(OLD, PLAIN), id_of(NEW, PLAIN)


# What goes well


def test_first_run(nginx: ModelNginx) -> None:
    """With nothing there: tested before it is current, current before it is started."""
    outcome = nginx.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.generation, outcome.previous) == (True, OLD_ID, None)
    assert outcome.action == "started"
    assert [(row.generation, row.fault) for row in outcome.proof] == [(OLD_ID, None)]
    assert [(call.verb, call.disk) for call in nginx.said] == [("test", None), ("start", OLD_ID)]
    assert nginx.live_id == nginx.tree.current() == OLD_ID
    assert nginx.tree.intact(OLD_ID)


def test_unchanged(serving: ModelNginx) -> None:
    """The same again: proven, nothing done, nothing written."""
    before = everything(serving)
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.action, outcome.generation) == (False, "none", OLD_ID)
    assert (outcome.previous, outcome.diff, outcome.repaired) == (OLD_ID, [], [])
    assert [(row.generation, row.grpc_status) for row in outcome.proof] == [(OLD_ID, 14)]
    assert (serving.verbs(), everything(serving)) == ([], before)


@pytest.mark.parametrize("delay", [0.0, 0.3, 4.0])
def test_reload(serving: ModelNginx, delay: float) -> None:
    """A change is reloaded, and waited for however long it takes within the time."""
    serving.reload_delay = delay
    began = serving.now
    outcome = serving.transaction().run(NEW, PLAIN)
    assert (outcome.changed, outcome.action) == (True, "reloaded")
    assert (outcome.previous, outcome.generation) == (OLD_ID, NEW_ID)
    assert serving.live_id == serving.tree.current() == NEW_ID
    assert serving.verbs() == ["test", "reload"]
    assert delay <= serving.now - began < delay + 0.2
    assert outcome.proven_ms == pytest.approx((serving.now - began) * 1000, abs=0.01)


def test_alerts_are_told(serving: ModelNginx) -> None:
    """What nginx logs as an alert is told though the proof holds, and only what is new."""
    serving.log.append("[alert] 7#7: old")
    real = serving.reload

    def loud() -> tuple[bool, str]:
        serving.log += ["[warn] 7#7: low", "[alert] 7#7: 64 worker_connections are not enough"]
        return real()

    serving.reload = loud  # type: ignore[method-assign]
    outcome = serving.transaction().run(NEW, PLAIN)
    assert outcome.alerts == ["[alert] 7#7: 64 worker_connections are not enough"]
    assert serving.transaction().run(NEW, PLAIN).alerts == []


def test_dead_instance_is_started(serving: ModelNginx) -> None:
    """What is on disk as wanted, but does not run, is started."""
    serving.die()
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.action, serving.live_id) == (True, "started", OLD_ID)


def test_killed_after_the_swap(serving: ModelNginx) -> None:
    """Disk is as wanted and live is older: the comparison with live reloads it."""
    generation = serving.tree.stage([*NEW, File(PROOF_FILE, PLAIN.to_json())])
    serving.tree.swap(generation)
    assert (serving.tree.current(), serving.live_id) == (NEW_ID, OLD_ID)
    outcome = serving.transaction().run(NEW, PLAIN)
    assert (outcome.changed, outcome.action, serving.live_id) == (True, "reloaded", NEW_ID)


def test_edited_by_hand(serving: ModelNginx) -> None:
    """A generation that was edited on disk is put right, though the live id is the wanted one."""
    (serving.tree.path(OLD_ID) / "nginx.conf").write_text("by hand")
    assert serving.transaction().run(OLD, PLAIN).changed
    assert serving.tree.intact(OLD_ID)
    assert not serving.transaction().run(OLD, PLAIN).changed


def test_adding_a_listener(serving: ModelNginx) -> None:
    """A new port is opened by a reload, and proven with the old one."""
    outcome = serving.transaction().run(OLD, BOTH)
    assert outcome.action == "reloaded"
    assert [row.listener for row in outcome.proof] == ["0.0.0.0:11800", "0.0.0.0:11801"]


def test_back_to_an_older_generation(serving: ModelNginx) -> None:
    """A generation that is still on disk is taken as it is."""
    serving.transaction().run(NEW, PLAIN)
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.previous, serving.live_id) == (NEW_ID, OLD_ID)
    assert set(serving.tree.generations()) == {OLD_ID, NEW_ID}


def test_prune_keeps_live_and_before(serving: ModelNginx) -> None:
    """No more generations stay than told, and the one before always does."""
    for number in range(5):
        outcome = serving.transaction(Settings(keep=1)).run(configuration(str(number)), PLAIN)
        assert set(serving.tree.generations()) == {outcome.generation, outcome.previous}
    for number in range(5, 9):
        serving.transaction(Settings(keep=4)).run(configuration(str(number)), PLAIN)
    wanted = [id_of(configuration(str(number)), PLAIN) for number in range(5, 9)]
    assert serving.tree.generations() == wanted


def test_left_over_of_a_killed_run_is_told(serving: ModelNginx) -> None:
    """What a killed run left is removed, named, and counts as a change."""
    (serving.tree.generations_dir / ".staging-0123456789ab").mkdir()
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.repaired) == (True, [".staging-0123456789ab"])
    assert outcome.action == "none"
    assert serving.transaction().run(OLD, PLAIN).changed is False


# What is refused before anything is touched


def untouched(nginx: ModelNginx, run: Callable[[], TransactionError]) -> TransactionError:
    """Run, and hold that neither disk nor live changed."""
    before, live = everything(nginx), nginx.live_id
    error = run()
    after = everything(nginx)
    # A candidate that comes and goes leaves its trace in the time of its directory alone.
    before.pop("generations")
    after.pop("generations")
    assert (after, nginx.live_id) == (before, live)
    assert error.rolled_back is False
    assert error.generation == live
    assert set(nginx.verbs()) <= {"test"}
    return error


def test_rejected(serving: ModelNginx) -> None:
    """What nginx refuses is removed again; its own words are told, without our paths."""
    error = untouched(serving, lambda: failing(serving, REFUSED))
    assert error.reason == "rejected"
    assert error.nginx_log == ['nginx: [emerg] unknown directive "refused" in nginx.conf:1']
    assert 'unknown directive "refused" in nginx.conf:1.' in error.message
    assert f"Nothing was changed; generation {OLD_ID} is still live." in error.message
    again = failing(serving, REFUSED)
    assert (again.reason, again.message) == (error.reason, error.message)


def test_rejected_at_the_first_run(nginx: ModelNginx) -> None:
    """Nothing is left of a first configuration that is refused."""
    error = failing(nginx, REFUSED)
    assert (error.reason, error.generation, error.rolled_back) == ("rejected", None, False)
    assert (nginx.tree.current(), nginx.tree.generations(), nginx.live_id) == (None, [], None)
    assert "nothing was live" in error.message


@pytest.mark.parametrize(
    "path", ["../x", "/x", "generation.conf", "nginx.conf", "nginx.conf/x", PROOF_FILE]
)
def test_bad_paths(serving: ModelNginx, path: str) -> None:
    """A path that does not do is refused by its name."""
    before = everything(serving)
    error = failing(serving, [*NEW, File(path, b"")])
    assert error.reason == "rejected"
    assert path in error.message
    assert (serving.verbs(), everything(serving)) == ([], before)


def test_restart_needed(serving: ModelNginx) -> None:
    """A change that only a restart takes is refused with the reason and the way out."""
    error = untouched(serving, lambda: failing(serving, OLD, SINGLE))
    assert error.reason == "restart_needed"
    assert "10.0.0.1:11800" in error.message
    assert "grpc_proxy_allow_restart" in error.message


def test_restart_allowed(serving: ModelNginx) -> None:
    """The same change, allowed, is restarted and proven."""
    outcome = serving.transaction(Settings(allow_restart=True)).run(OLD, SINGLE)
    assert outcome.action == "restarted"
    assert serving.live_id == serving.tree.current() == id_of(OLD, SINGLE)
    assert serving.verbs() == ["test", "restart"]


def test_restart_is_not_taken_where_a_reload_does(serving: ModelNginx) -> None:
    """Leave to restart is not a wish to restart."""
    outcome = serving.transaction(Settings(allow_restart=True)).run(NEW, PLAIN)
    assert outcome.action == "reloaded"


def test_no_restart_needed_where_nothing_runs(serving: ModelNginx) -> None:
    """A dead instance holds no sockets: its next configuration is started."""
    serving.die()
    assert serving.transaction().run(OLD, SINGLE).action == "started"


def test_busy(serving: ModelNginx) -> None:
    """A second run at the same time is refused at once."""
    with serving.tree.lock():
        before = everything(serving)
        error = failing(serving, NEW)
        assert everything(serving) == before
    assert error.reason == "busy"
    assert (serving.verbs(), serving.live_id) == ([], OLD_ID)
    assert serving.transaction().run(NEW, PLAIN).changed


def test_disk_full(serving: ModelNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full is told; what is live is left as it was."""
    real = os.fsync

    def full(descriptor: int) -> None:
        real(descriptor)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = failing(serving, NEW)
    monkeypatch.undo()
    assert (error.reason, error.generation, error.rolled_back) == ("rejected", OLD_ID, False)
    assert "No space left on device" in error.message
    assert (serving.tree.current(), serving.tree.intact(OLD_ID)) == (OLD_ID, True)
    assert serving.transaction().run(NEW, PLAIN).generation == NEW_ID


def test_disk_full_while_mending(serving: ModelNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes away nothing that was there, also where the live one is to be mended."""
    (serving.tree.path(OLD_ID) / "nginx.conf").write_text("by hand")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = failing(serving, OLD)
    assert "nothing was changed" in error.message
    assert serving.tree.current() == OLD_ID


# What nginx does not take, and the way back


def rolled_back(nginx: ModelNginx, error: TransactionError) -> None:
    """Hold that OLD is back, on disk and live, and that nothing else is left."""
    assert (error.rolled_back, error.generation) == (True, OLD_ID)
    assert nginx.tree.current() == nginx.live_id == OLD_ID
    assert nginx.tree.intact(OLD_ID)
    assert nginx.tree.generations() == [OLD_ID]
    assert f"Rolled back: generation {OLD_ID} is live again." in error.message


def test_bind_given_up(serving: ModelNginx) -> None:
    """A port that another program holds is named; judged when nginx gives up, not earlier."""
    serving.faults.taken = {11801}
    began = serving.now
    error = failing(serving, OLD, BOTH)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "another program holds 0.0.0.0:11801" in error.message
    assert any("still could not bind()" in line for line in error.nginx_log)
    assert 2.5 <= serving.now - began < 3.5
    assert [row.fault is None for row in error.proof] == [False, False]


def test_a_reload_that_lies(serving: ModelNginx) -> None:
    """A master that acts on no signal is waited for to the end of the time, and no longer."""
    serving.faults.stopped_master = True
    began = serving.now
    error = failing(serving, NEW)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "is its master process stopped?" in error.message
    assert error.nginx_log == []
    assert 20 <= serving.now - began < 20.5
    serving.continued()
    assert serving.live_id == OLD_ID


def test_given_up_for_another_reason(serving: ModelNginx) -> None:
    """Nginx's own words at a reload that fails end the wait, and are told."""
    began = serving.now
    error = failing(serving, UNSTARTABLE)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "the configuration cannot be used." in error.message
    assert serving.now - began < 1


def test_wrong_fallback(serving: ModelNginx) -> None:
    """A fallback that a client misreads is found at once, and taken back."""
    began = serving.now
    error = failing(serving, WRONG)
    rolled_back(serving, error)
    assert error.reason == "fallback"
    assert "HTTP status 204 instead of 200" in error.message
    assert error.proof[0].generation == id_of(WRONG, PLAIN)
    assert serving.now - began < 1


def test_lingering_workers(serving: ModelNginx) -> None:
    """Old workers that go on accepting make the new configuration unproven."""
    serving.faults.lingering = True
    error = failing(serving, NEW)
    rolled_back(serving, error)
    assert error.reason == "unproven"


def test_the_way_back_is_not_proven_either(serving: ModelNginx) -> None:
    """Where the way back fails too, that is said, and what is live."""
    serving.faults.silent = True
    error = failing(serving, NEW)
    assert (error.rolled_back, error.generation) == (False, None)
    assert "The way back is not proven either" in error.message
    assert serving.tree.current() == OLD_ID


def test_stopped_in_the_middle(serving: ModelNginx) -> None:
    """A master that stops acting after the new one is live: the new one is told as live."""
    transaction = serving.transaction()
    real = serving.reload

    def once() -> tuple[bool, str]:
        told = real()
        serving.faults.stopped_master = True
        return told

    serving.reload = once  # type: ignore[method-assign]
    with pytest.raises(TransactionError) as caught:
        transaction.run(WRONG, PLAIN)
    assert (caught.value.rolled_back, caught.value.generation) == (False, id_of(WRONG, PLAIN))
    assert serving.tree.current() == OLD_ID
    assert serving.tree.intact(id_of(WRONG, PLAIN))


def test_restart_that_fails(serving: ModelNginx) -> None:
    """After a restart that failed the old configuration is started again."""
    error = failing(serving, UNSTARTABLE, SINGLE, allow_restart=True)
    rolled_back(serving, error)
    assert error.reason == "not_started"
    assert "it cannot start" in error.message
    assert serving.verbs() == ["test", "restart", "start"]


def test_restart_with_a_wrong_fallback(serving: ModelNginx) -> None:
    """The way back over a wildcard is a restart too."""
    error = failing(serving, WRONG, SINGLE, allow_restart=True)
    rolled_back(serving, error)
    assert error.reason == "fallback"
    assert serving.verbs() == ["test", "restart", "restart"]


@pytest.mark.parametrize(("files", "reason"), [(UNSTARTABLE, "not_started"), (WRONG, "fallback")])
def test_first_run_that_fails(nginx: ModelNginx, files: list[File], reason: str) -> None:
    """A first run that fails leaves nothing current, nothing running, no generation."""
    error = failing(nginx, files)
    assert (error.reason, error.generation, error.rolled_back) == (reason, None, True)
    assert (nginx.tree.current(), nginx.live_id, nginx.running()) == (None, None, False)
    assert nginx.tree.generations() == []
    assert not nginx.tree.current_link.is_symlink()
    assert "the instance is stopped" in error.message


def test_dead_before_and_after(serving: ModelNginx) -> None:
    """What did not run before does not run after a run that failed, and disk is as it was."""
    serving.die()
    error = failing(serving, UNSTARTABLE)
    assert (error.reason, error.generation, error.rolled_back) == ("not_started", None, True)
    assert (serving.tree.current(), serving.running()) == (OLD_ID, False)
    assert "it does not run, as before" in error.message


def test_the_same_run_fails_until_its_cause_is_gone(serving: ModelNginx) -> None:
    """No run that failed makes the next one green: only the end of the cause does."""
    serving.faults.taken = {11801}
    told = [failing(serving, OLD, BOTH) for _ in range(3)]
    assert {error.message for error in told} == {told[0].message}
    serving.faults.taken = set()
    outcome = serving.transaction().run(OLD, BOTH)
    assert (outcome.action, serving.live_id) == ("reloaded", id_of(OLD, BOTH))
    assert not serving.transaction().run(OLD, BOTH).changed


def test_rolled_back_to_what_was_live_not_to_what_was_on_disk(serving: ModelNginx) -> None:
    """A run killed after its swap, and one that fails: back to the one that was live."""
    generation = serving.tree.stage([*NEW, File(PROOF_FILE, PLAIN.to_json())])
    serving.tree.swap(generation)
    error = failing(serving, WRONG)
    assert (error.rolled_back, error.generation) == (True, OLD_ID)
    assert serving.tree.current() == serving.live_id == OLD_ID


@pytest.mark.parametrize("ahead", [BOTH, SINGLE], ids=["one more", "another"])
def test_killed_after_the_swap_to_other_listeners(serving: ModelNginx, ahead: Expectation) -> None:
    """What is live is found though the disk names other listeners, and is the way back."""
    serving.tree.swap(serving.tree.stage([*OLD, File(PROOF_FILE, ahead.to_json())]))
    error = failing(serving, WRONG, PLAIN)
    assert (error.reason, error.rolled_back, error.generation) == ("fallback", True, OLD_ID)
    assert serving.tree.current() == serving.live_id == OLD_ID


def test_the_live_generation_is_not_pruned_after_a_kill(serving: ModelNginx) -> None:
    """What was live one step back stays on disk, whatever the disk said meanwhile."""
    serving.tree.swap(serving.tree.stage([*OLD, File(PROOF_FILE, BOTH.to_json())]))
    serving.transaction(Settings(keep=1)).run(NEW, PLAIN)
    assert OLD_ID in serving.tree.generations()


def test_what_is_live_is_told_where_there_is_no_way_back(serving: ModelNginx) -> None:
    """Killed between reload and proof: the next run fails, and tells what is really live."""
    generation = serving.tree.stage([*WRONG, File(PROOF_FILE, PLAIN.to_json())])
    serving.tree.swap(generation)
    serving.reload()
    error = failing(serving, WRONG)
    assert (error.reason, error.rolled_back) == ("fallback", False)
    assert serving.live_id == generation
    assert error.generation == generation
    assert generation in error.message


@pytest.mark.parametrize(
    "line",
    [
        "[crit] 7#7: *3 bind(10.0.0.9) failed (98: Address already in use) while connecting",
        "[warn] 7#7: *3 a client request body is buffered (98304 bytes)",
    ],
)
def test_log_lines_that_look_like_a_bind(serving: ModelNginx, line: str) -> None:
    """Whatever else stands in the log, a failed run is rolled back and its cause told."""
    serving.faults.taken = {11801}
    real = serving.reload

    def chatty() -> tuple[bool, str]:
        serving.log.append(line)
        return real()

    serving.reload = chatty  # type: ignore[method-assign]
    error = failing(serving, OLD, BOTH)
    rolled_back(serving, error)
    assert "0.0.0.0:11801" in error.message


@pytest.mark.parametrize("content", [None, b"", b"not json", b"{}", b'{"listeners": [{}]}'])
def test_damaged_proof(serving: ModelNginx, content: bytes | None) -> None:
    """A proof.json that was damaged or removed by hand does not stop the next run."""
    path = serving.tree.path(OLD_ID) / PROOF_FILE
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    outcome = serving.transaction().run(NEW, PLAIN)
    assert (outcome.action, serving.live_id) == ("reloaded", NEW_ID)


# Check mode


@pytest.mark.parametrize("files", [OLD, NEW], ids=["same", "new"])
def test_check_changes_nothing(serving: ModelNginx, files: list[File]) -> None:
    """Nothing on disk changes, not even a time; the candidate is tested all the same."""
    (serving.tree.generations_dir / ".staging-0123456789ab").mkdir()
    before = everything(serving)
    outcome = serving.transaction().check(files, PLAIN)
    assert everything(serving) == before
    assert outcome.changed is (files is NEW)
    assert (outcome.generation, outcome.previous) == (id_of(files, PLAIN), OLD_ID)
    assert (outcome.action, outcome.tested) == ("none", True)
    assert serving.verbs() == (["test"] if files is NEW else [])
    assert serving.live_id == OLD_ID


def test_check_on_a_bare_host(nginx: ModelNginx) -> None:
    """Nothing is made where nothing was, not even the root."""
    outcome = nginx.transaction().check(NEW, PLAIN)
    assert (outcome.changed, outcome.generation, outcome.previous) == (True, NEW_ID, None)
    assert not nginx.tree.root.exists()


def test_check_tests_what_would_be_live(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nginx tests in check mode is the whole generation, in a place that is gone after."""
    places = []

    def test(configuration: Path) -> tuple[bool, str]:
        root = configuration.parent
        places.append(root)
        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        assert found == {"generation.conf", PROOF_FILE, *(item.path for item in NEW)}
        assert NEW_ID in (root / "generation.conf").read_text()
        return True, ""

    monkeypatch.setattr(serving, "test", test)
    serving.transaction().check(NEW, PLAIN)
    assert not places[0].exists()
    assert serving.tree.root not in places[0].parents


def test_check_rejected(serving: ModelNginx) -> None:
    """Check mode fails as the run would, where nginx refuses the files."""
    before = everything(serving)
    with pytest.raises(TransactionError) as caught:
        serving.transaction().check(REFUSED, PLAIN)
    assert (caught.value.reason, caught.value.generation) == ("rejected", OLD_ID)
    assert everything(serving) == before


def test_check_restart_needed(serving: ModelNginx) -> None:
    """Check mode fails as the run would, where only a restart takes the change."""
    with pytest.raises(TransactionError) as caught:
        serving.transaction().check(OLD, SINGLE)
    assert caught.value.reason == "restart_needed"
    assert serving.transaction(Settings(allow_restart=True)).check(OLD, SINGLE).changed


def test_check_sees_what_is_live(serving: ModelNginx) -> None:
    """Check mode tells a change where disk is as wanted and live is not."""
    serving.tree.swap(serving.tree.stage([*NEW, File(PROOF_FILE, PLAIN.to_json())]))
    assert serving.transaction().check(NEW, PLAIN).changed is True
    serving.transaction().run(NEW, PLAIN)
    assert serving.transaction().check(NEW, PLAIN).changed is False
    serving.die()
    assert serving.transaction().check(NEW, PLAIN).changed is True


def test_preview(serving: ModelNginx) -> None:
    """Without an nginx to test with, the comparison alone is told, and that it was not tested."""
    before = everything(serving)
    outcome = serving.transaction().preview(NEW, PLAIN)
    assert (outcome.changed, outcome.tested, outcome.generation) == (True, False, NEW_ID)
    assert {item["after_header"] for item in outcome.diff} == {f"nginx.conf ({NEW_ID})"}
    assert (serving.verbs(), everything(serving)) == ([], before)


# Diff


def diffs(outcome: Outcome) -> dict[str, tuple[str, str]]:
    """Return before and after of each file of a diff."""
    names = {
        item["after_header" if item["after"] else "before_header"].split()[0]: item
        for item in outcome.diff
    }
    return {name: (item["before"], item["after"]) for name, item in names.items()}


def test_diff(serving: ModelNginx) -> None:
    """Every file that changes is shown with its mode, and no other."""
    files = [
        File("nginx.conf", b"# new\n", 0o640),
        File("http.d/20-more.conf", b"more\n"),
        OLD[2],
    ]
    outcome = serving.transaction().run(files, PLAIN)
    assert diffs(outcome) == {
        "nginx.conf": ("# mode 0644\n# old\n", "# mode 0640\n# new\n"),
        "http.d/10-upstreams.conf": ("# mode 0644\nupstream oaps {}\n", ""),
        "http.d/20-more.conf": ("", "# mode 0644\nmore\n"),
    }
    headers = {item["before_header"] for item in outcome.diff}
    assert headers == {
        f"nginx.conf ({OLD_ID})",
        f"http.d/10-upstreams.conf ({OLD_ID})",
        "(none)",
    }


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644])
@pytest.mark.parametrize("run", ["run", "check", "preview"])
def test_diff_hides_secrets(nginx: ModelNginx, mode: int, run: str) -> None:
    """No secret is shown, old or new, whatever its mode; that it changed is."""
    nginx.transaction().run(configuration("same", "OLDKEY", mode), PLAIN)
    outcome = getattr(nginx.transaction(), run)(configuration("same", "NEWKEY", mode), PLAIN)
    assert list(diffs(outcome)) == ["tls/key.pem"]
    assert "KEY" not in str(outcome)
    (before, after) = diffs(outcome)["tls/key.pem"]
    assert "not shown" in before
    assert "changed, not shown" in after


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_diff_hides_secrets_that_go(nginx: ModelNginx, mode: int) -> None:
    """A secret that is taken away is not shown at its end either."""
    nginx.transaction().run(configuration("same", "OLDKEY", mode), PLAIN)
    outcome = nginx.transaction().run(configuration("same", "OLDKEY", mode)[:2], PLAIN)
    assert list(diffs(outcome)) == ["tls/key.pem"]
    assert "OLDKEY" not in str(outcome)


# Killed


def test_a_run_killed_at_any_point_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a death at any system call of a run: whole, and the next run ends proven."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    ended = False
    actions = set()
    for number in range(1000):
        nginx = ModelNginx(tmp_path / str(number))
        nginx.transaction().run(OLD, PLAIN)
        with killed_at(number) as made:
            try:
                nginx.transaction(Settings(keep=1)).run(NEW, PLAIN)
                ended = True
            except Killed:
                pass
        assert nginx.tree.current() in {OLD_ID, NEW_ID}, made
        assert nginx.live_id in {OLD_ID, NEW_ID}, made
        assert all(nginx.tree.intact(name) for name in nginx.tree.generations()), made
        outcome = nginx.transaction().run(NEW, PLAIN)
        actions.add(outcome.action)
        assert nginx.tree.current() == nginx.live_id == NEW_ID, made
        assert not nginx.transaction().run(NEW, PLAIN).changed, made
        shutil.rmtree(nginx.tree.root)
        if ended:
            break
    assert ended
    assert actions == {"reloaded", "none"}
