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
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import Survey
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.killing import Killed, failing_at, killed_at
from tests.unit.model_nginx import (
    METHODS,
    STOPPED,
    WINDOW_S,
    ModelNginx,
    complete,
    configuration,
    expecting,
    id_of,
)

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
    assert nginx.live_id == nginx.tree.current() == nginx.tree.proven() == OLD_ID
    assert nginx.tree.intact(OLD_ID)


def test_the_files_on_disk(nginx: ModelNginx) -> None:
    """A generation holds the files given, and what a later run must ask and must not show."""
    nginx.transaction().run(OLD, PLAIN)
    found = {item.path: item for item in nginx.tree.read(OLD_ID, ())}
    assert set(found) == {PROOF_FILE, *(item.path for item in OLD)}
    told = Expectation.from_json(found[PROOF_FILE].content)
    assert (told.listeners, told.methods) == (PLAIN.listeners, PLAIN.methods)
    assert told.secrets == ("tls/key.pem",)


def test_unchanged(serving: ModelNginx) -> None:
    """The same again: proven, nothing done, nothing written."""
    before = everything(serving)
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.action, outcome.generation) == (False, "none", OLD_ID)
    assert (outcome.previous, outcome.diff, outcome.repaired) == (OLD_ID, [], [])
    assert [(row.generation, row.grpc_status) for row in outcome.proof] == [(OLD_ID, 14)]
    assert (serving.verbs(), everything(serving)) == ([], before)
    assert (outcome.proven_ms, outcome.alerts) == (None, [])


def test_what_is_not_known_to_be_proven_is_read_again(serving: ModelNginx) -> None:
    """What is live may be what was edited before a run that was killed mended it."""
    serving.tree.proven_link.unlink()
    told = [f"generation {OLD_ID} is live and not proven: a run was killed"]
    checked = serving.transaction().check(OLD, PLAIN)
    assert (checked.changed, checked.drift) == (True, told)
    serving.verbs()
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.action, outcome.drift) == (True, "reloaded", told)
    assert serving.tree.proven() == OLD_ID
    assert not serving.transaction().run(OLD, PLAIN).changed


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
    assert delay + WINDOW_S <= serving.now - began < delay + WINDOW_S + 0.2
    assert outcome.proven_ms == pytest.approx((serving.now - began) * 1000, abs=0.01)


def test_workers_of_before_are_waited_for(serving: ModelNginx) -> None:
    """A good reload is judged when the old workers have had their time to stop, not before."""
    began = serving.now
    seen: list[set[str | None]] = []
    real = serving.sleep

    def looking(seconds: float) -> None:
        seen.append(serving.answers())
        real(seconds)

    serving.sleep = looking  # type: ignore[method-assign]
    outcome = serving.transaction().run(NEW, PLAIN)
    assert {OLD_ID, NEW_ID} in seen
    assert (outcome.action, serving.answers()) == ("reloaded", {NEW_ID})
    assert WINDOW_S <= serving.now - began < WINDOW_S + 0.1
    assert serving.verbs() == ["test", "reload"]


@pytest.mark.parametrize("delay", [0.4, 4.0, 15.0])
@pytest.mark.parametrize("action", ["started", "restarted"])
def test_starts_are_waited_for(serving: ModelNginx, action: str, delay: float) -> None:
    """A start that takes its time is as good as a reload that does."""
    serving.start_delay = delay
    wanted = SINGLE
    if action == "started":
        serving.die()
    outcome = serving.transaction(Settings(allow_restart=True)).run(OLD, wanted)
    assert (outcome.action, serving.live_id) == (action, id_of(OLD, wanted))


def test_a_start_that_never_answers(nginx: ModelNginx) -> None:
    """What starts and does not answer is waited for to the end of the time, and stopped."""
    nginx.start_delay = 1000
    began = nginx.now
    error = failing(nginx, OLD)
    assert (error.reason, error.rolled_back, error.generation) == ("not_live", True, None)
    assert 20 <= nginx.now - began < 20.5
    assert nginx.verbs() == ["test", "start", "stop"]


@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "reloaded"])
def test_outdated_is_an_alert(serving: ModelNginx, files: list[File]) -> None:
    """That the running binary was replaced is told on a green run."""
    serving.replaced = "it was replaced."
    outcome = serving.transaction().run(files, PLAIN)
    assert outcome.alerts == ["it was replaced."]
    assert serving.transaction().check(files, PLAIN).alerts == ["it was replaced."]


def test_outdated_is_told_with_a_failure(serving: ModelNginx) -> None:
    """Where a run fails on a binary that was replaced, that may be why."""
    serving.replaced = "it was replaced."
    error = failing(serving, WRONG)
    assert "Mind that it was replaced." in error.message


@pytest.mark.parametrize("allow", [False, True])
def test_outdated_and_leave_to_restart(serving: ModelNginx, allow: bool) -> None:
    """A change on a binary that was replaced takes the new one where a restart is allowed."""
    serving.replaced = "it was replaced."
    outcome = serving.transaction(Settings(allow_restart=allow)).run(NEW, PLAIN)
    assert outcome.action == ("restarted" if allow else "reloaded")


def test_alerts_are_told(serving: ModelNginx) -> None:
    """What nginx logs as an alert is told though the proof holds, and only what is new."""
    serving.log.append("[alert] 7#7: old")
    real = serving.reload

    def loud() -> tuple[bool, str]:
        serving.log += ["[warn] 7#7: low", "[alert] 7#7: 64 worker_connections are not enough"]
        return real()

    serving.reload = loud  # type: ignore[method-assign]
    outcome = serving.transaction().run(NEW, PLAIN)
    assert outcome.alerts == [
        "the configuration is live, but nginx logged: "
        "[alert] 7#7: 64 worker_connections are not enough"
    ]
    assert serving.transaction().run(NEW, PLAIN).alerts == []


def test_dead_instance_is_started(serving: ModelNginx) -> None:
    """What is on disk as wanted, but does not run, is started."""
    serving.die()
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.changed, outcome.action, serving.live_id) == (True, "started", OLD_ID)
    assert outcome.proven_ms is not None


def test_killed_after_the_swap(serving: ModelNginx) -> None:
    """Disk is as wanted and live is older: the comparison with live reloads it."""
    generation = serving.tree.stage(complete(NEW, PLAIN))
    serving.tree.swap(generation)
    assert (serving.tree.current(), serving.live_id) == (NEW_ID, OLD_ID)
    outcome = serving.transaction().run(NEW, PLAIN)
    assert (outcome.changed, outcome.action, serving.live_id) == (True, "reloaded", NEW_ID)
    assert outcome.proven_ms is not None


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


def test_the_proven_generation_is_never_pruned(serving: ModelNginx) -> None:
    """What a killed run had put live counts for one step back, the proven one stays as well."""
    serving.tree.swap(serving.tree.stage(complete(NEW, PLAIN)))
    serving.reload()
    serving.sleep(1)
    assert (serving.live_id, serving.tree.proven()) == (NEW_ID, OLD_ID)
    failing(serving, WRONG, keep=0)
    assert (serving.tree.proven(), serving.live_id) == (OLD_ID, OLD_ID)
    serving.transaction(Settings(keep=0)).run(configuration("third"), PLAIN)
    third = id_of(configuration("third"), PLAIN)
    assert set(serving.tree.generations()) == {OLD_ID, third}
    assert serving.tree.proven() == third


def test_the_time_to_prune_is_no_time_to_prove(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Milliseconds to the proof end at the proof."""
    began = serving.now
    proven: list[float] = []

    def slow(_keep: int, _protect: object) -> list[str]:
        proven.append(serving.now)
        serving.sleep(30)
        return []

    monkeypatch.setattr(serving.tree, "prune", slow)
    outcome = serving.transaction().run(NEW, PLAIN)
    assert outcome.proven_ms == pytest.approx((proven[0] - began) * 1000, abs=0.01)


@pytest.mark.parametrize("step", ["note_proven", "prune"])
@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "reloaded"])
def test_trouble_after_the_proof_is_an_alert(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch, step: str, files: list[File]
) -> None:
    """What is proven stays live; that the tree could not be tidied is told."""

    def full(*_given: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(serving.tree, step, full)
    outcome = serving.transaction().run(files, PLAIN)
    (alert,) = outcome.alerts
    assert alert.startswith("the configuration is live, but ")
    assert "No space left on device" in alert
    assert serving.live_id == serving.tree.current() == id_of(files, PLAIN)


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
    assert "Nothing was changed; nothing is known to be live." in error.message


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


KEY_A, KEY_B = configuration("key-a"), configuration("key-b")


def test_another_key_of_a_zone(serving: ModelNginx) -> None:
    """A limit's key is exchanged by a restart alone: nginx's refusal is recognised as that."""
    serving.transaction().run(KEY_A, PLAIN)
    serving.verbs()
    began = serving.now
    error = failing(serving, KEY_B)
    assert (error.reason, error.rolled_back) == ("restart_needed", True)
    assert 'uses the "$b" key while previously it used the "$a" key.' in error.message
    assert "grpc_proxy_allow_restart" in error.message
    assert error.generation == serving.live_id == serving.tree.current() == id_of(KEY_A, PLAIN)
    assert serving.now - began < 1
    assert serving.verbs() == ["test", "reload", "reload"]
    assert id_of(KEY_B, PLAIN) not in serving.tree.generations()


@pytest.mark.parametrize("delay", [0.0, 0.4, 4.0])
def test_another_key_of_a_zone_with_leave_to_restart(serving: ModelNginx, delay: float) -> None:
    """Allowed, the restart follows the reload that was refused, and is waited for like any."""
    serving.transaction().run(KEY_A, PLAIN)
    serving.verbs()
    serving.start_delay = delay
    outcome = serving.transaction(Settings(allow_restart=True)).run(KEY_B, PLAIN)
    assert (outcome.action, serving.live_id) == ("restarted", id_of(KEY_B, PLAIN))
    assert serving.verbs() == ["test", "reload", "restart"]


def test_a_restart_in_vain_is_not_asked_for_again(serving: ModelNginx) -> None:
    """Where the restart was allowed and did not help, the reason is what came after it."""
    serving.transaction().run(KEY_A, PLAIN)
    serving.start_delay = 1000
    error = failing(serving, KEY_B, allow_restart=True)
    assert error.reason == "not_live"
    assert "Set grpc_proxy_allow_restart" not in error.message


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
    assert (error.reason, error.generation) == ("busy", OLD_ID)
    assert error.message.endswith(f"Nothing was changed; generation {OLD_ID} is still live.")
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
    assert f"What was live was not touched; generation {OLD_ID} is still live." in error.message
    assert (serving.tree.current(), serving.tree.intact(OLD_ID)) == (OLD_ID, True)
    assert [one.name for one in serving.tree.generations_dir.iterdir()] == [OLD_ID]
    assert serving.transaction().run(NEW, PLAIN).generation == NEW_ID


def test_disk_full_while_mending(serving: ModelNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk takes away nothing that was there, also where the live one is to be mended."""
    (serving.tree.path(OLD_ID) / "nginx.conf").write_text("by hand")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    error = failing(serving, OLD)
    monkeypatch.undo()
    assert f"What was live was not touched; generation {OLD_ID} is still live." in error.message
    assert serving.tree.current() == OLD_ID
    assert serving.transaction().run(NEW, PLAIN).generation == NEW_ID


@pytest.mark.parametrize("action", ["rename", "fsync"])
def test_a_swap_that_fails(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """An error on the way of the link to the disk is rolled back like any other."""
    real_swap, real = serving.tree.swap, getattr(os, action)

    def full(*given: object) -> None:
        if action == "fsync":
            real(*given)
        raise OSError(errno.EIO, "Input/output error")

    def swap(generation: str) -> None:
        if generation != NEW_ID:
            real_swap(generation)
            return
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, action, full)
            real_swap(generation)

    monkeypatch.setattr(serving.tree, "swap", swap)
    error = failing(serving, NEW)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "cannot swap" in error.message
    assert "Input/output error" in error.message
    assert "Make room or mend the permissions" in error.message


@pytest.mark.parametrize("files", [OLD, NEW], ids=["same", "change"])
@pytest.mark.parametrize("run", ["run", "check"])
def test_started_by_hand(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch, files: list[File], run: str
) -> None:
    """What answers while the instance does not run is no success, though it is what is wanted."""
    monkeypatch.setattr(serving, "running", lambda: False)
    transaction = serving.transaction()

    def ending() -> TransactionError:
        with pytest.raises(TransactionError) as caught:
            getattr(transaction, run)(files, PLAIN)
        return caught.value

    error = untouched(serving, ending)
    assert error.reason == "not_started"
    assert "started by hand" in error.message
    assert "Nothing was changed" in error.message
    monkeypatch.undo()
    assert serving.transaction().run(files, PLAIN).generation == id_of(files, PLAIN)


def test_started_while_it_was_asked(serving: ModelNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instance that has come up by the time its listeners answer runs."""
    states = iter([False])
    monkeypatch.setattr(serving, "running", lambda: next(states, True))
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.action, outcome.generation) == ("reloaded", OLD_ID)


def test_a_reload_that_is_refused(serving: ModelNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no command is taken, what serves has never been told to change."""
    monkeypatch.setattr(serving, "reload", lambda: (False, "Job type reload is not applicable."))
    error = failing(serving, NEW)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "Job type reload is not applicable." in error.message


# What nginx does not take, and the way back


def rolled_back(nginx: ModelNginx, error: TransactionError) -> None:
    """Hold that OLD is back, on disk and live, and that nothing else is left."""
    assert (error.rolled_back, error.generation) == (True, OLD_ID)
    assert nginx.tree.current() == nginx.live_id == OLD_ID
    assert nginx.tree.intact(OLD_ID)
    assert nginx.tree.generations() == [OLD_ID]
    assert nginx.answers() == {OLD_ID}
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
    assert [row.fault is None for row in error.proof] == [False]


def test_a_reload_that_lies(serving: ModelNginx) -> None:
    """A master that hears nothing is waited for to the end of the time, and no longer."""
    serving.faults.deaf = True
    began = serving.now
    error = failing(serving, NEW)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "nginx wrote nothing of weight to its log" in error.message
    assert error.nginx_log == []
    assert 20 <= serving.now - began < 20.5


def test_a_master_that_is_stopped(serving: ModelNginx) -> None:
    """A master that can act on nothing is told nothing: refused before anything is touched."""
    serving.faults.stopped_master = True
    began = serving.now
    error = untouched(serving, lambda: failing(serving, NEW))
    assert error.reason == "not_live"
    assert error.message == (f"{STOPPED} Nothing was changed; generation {OLD_ID} is still live.")
    assert serving.now == began
    serving.continued()
    assert serving.live_id == OLD_ID
    assert serving.transaction().run(NEW, PLAIN).action == "reloaded"


DYING = configuration("dying")


def test_workers_that_die(serving: ModelNginx) -> None:
    """New workers that die are seen at once, long before the time is up, and taken back."""
    began = serving.now
    error = failing(serving, DYING)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "exited with fatal code 2 and cannot be respawned." in error.message
    assert serving.now - began < 2


def test_workers_that_die_at_the_first_start(nginx: ModelNginx) -> None:
    """A unit whose workers have all died runs for systemd, and is stopped again."""
    error = failing(nginx, DYING)
    assert (error.reason, error.rolled_back, error.generation) == ("not_live", True, None)
    assert "cannot be respawned." in error.message
    assert (nginx.running(), nginx.tree.generations()) == (False, [])


def test_an_nginx_that_is_not_the_units(serving: ModelNginx) -> None:
    """One that was started by hand is live, and nothing is touched until it is ended."""
    serving.die()
    serving.started_by_hand()
    drift = ["nginx does not run", f"another nginx answers with generation {OLD_ID}"]
    error = untouched(serving, lambda: failing(serving, NEW))
    assert error.reason == "not_started"
    assert "another nginx answers with a generation of ours" in error.message
    assert error.message.endswith(f"Nothing was changed; generation {OLD_ID} is still live.")
    survey = Survey(serving.tree, serving, Prover(dial=serving.dial))
    state = survey.look(NEW_ID, PLAIN)
    assert (state.running, state.live, survey.drift(state, ())[:2]) == (False, OLD_ID, drift)
    serving.by_hand = None
    assert serving.transaction().run(NEW, PLAIN).action == "started"


def test_a_failed_run_tells_what_it_mended(serving: ModelNginx) -> None:
    """What was edited and is whole again is a change, whatever came after it."""
    (serving.tree.path(OLD_ID) / "nginx.conf").write_text("by hand")
    serving.faults.silent = True
    error = failing(serving, OLD)
    assert error.message.endswith(f" Generation {OLD_ID}, which was edited, is whole again.")
    assert serving.tree.intact(OLD_ID)


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


def test_what_must_be_refused_is_not(serving: ModelNginx) -> None:
    """A call that is passed on though it must be refused is found at once, and taken back."""
    began = serving.now
    opened = configuration("open-bus")
    error = failing(serving, opened)
    rolled_back(serving, error)
    assert error.reason == "fallback"
    assert error.message.startswith(
        "0.0.0.0:11800 answers /RemoteService/call, which it must refuse, with UNAVAILABLE "
        "instead of UNIMPLEMENTED. "
    )
    assert error.proof[0].generation == id_of(opened, PLAIN)
    assert serving.now - began < 1


def test_a_generation_of_the_version_before(nginx: ModelNginx) -> None:
    """One that was brought live when a proof had no refusals is read, and gone back to."""
    before = Expectation(tuple(Listener(one.address, one.port) for one in PLAIN.listeners), METHODS)
    nginx.transaction().run(OLD, before)
    old_id = id_of(OLD, before)
    proof = nginx.tree.path(old_id) / PROOF_FILE
    assert nginx.live_id == old_id
    assert b'"refusals": []' in proof.read_bytes()
    error = failing(nginx, WRONG)
    assert (error.rolled_back, error.generation) == (True, old_id)
    assert nginx.transaction().run(NEW, PLAIN).previous == old_id


def test_lingering_workers(serving: ModelNginx) -> None:
    """Old workers that go on accepting make the new configuration unproven, at the deadline."""
    serving.faults.lingering = True
    began = serving.now
    error = failing(serving, NEW)
    assert error.reason == "unproven"
    assert "still accept calls" in error.message
    assert serving.tree.current() == serving.live_id == error.generation == OLD_ID
    assert serving.now - began >= 20
    # Those of the configuration that failed linger too: it is not wholly gone.
    assert error.rolled_back is False


def test_workers_that_linger_for_a_while(serving: ModelNginx) -> None:
    """Old workers that stop within the time do not undo a good reload."""
    serving.faults.lingering = True
    real = serving.sleep

    def slowly(seconds: float) -> None:
        real(seconds)
        if serving.now > began + 5:
            serving.faults.lingering = False
            serving.reaped()

    began = serving.now
    serving.sleep = slowly  # type: ignore[method-assign]
    outcome = serving.transaction().run(NEW, PLAIN)
    assert (outcome.action, serving.live_id) == ("reloaded", NEW_ID)
    assert 5 <= serving.now - began < 5.3


def test_what_is_live_is_asked_after_the_way_back(serving: ModelNginx) -> None:
    """The way back ends when no worker of the configuration that failed accepts any more."""
    for number in range(4):
        error = failing(serving, configuration(f"wrong-fallback {number}"))
        rolled_back(serving, error)


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
    # Workers of both accept: what went wrong is not gone, and is not said to be.
    assert serving.answers() == {OLD_ID, id_of(WRONG, PLAIN)}
    assert caught.value.rolled_back is False
    assert caught.value.generation in serving.answers()
    assert serving.tree.current() == OLD_ID
    serving.reload = real  # type: ignore[method-assign]
    serving.continued()
    serving.sleep(1)
    assert serving.answers() == {OLD_ID}


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
    told = [failing(serving, OLD, BOTH) for _run in range(3)]
    assert {error.message for error in told} == {told[0].message}
    serving.faults.taken = set()
    outcome = serving.transaction().run(OLD, BOTH)
    assert (outcome.action, serving.live_id) == ("reloaded", id_of(OLD, BOTH))
    assert not serving.transaction().run(OLD, BOTH).changed


def test_rolled_back_to_what_was_live_not_to_what_was_on_disk(serving: ModelNginx) -> None:
    """A run killed after its swap, and one that fails: back to the one that was proven."""
    generation = serving.tree.stage(complete(NEW, PLAIN))
    serving.tree.swap(generation)
    error = failing(serving, WRONG)
    assert (error.rolled_back, error.generation) == (True, OLD_ID)
    assert serving.tree.current() == serving.live_id == OLD_ID


@pytest.mark.parametrize("ahead", [BOTH, SINGLE], ids=["one more", "another"])
def test_killed_after_the_swap_to_other_listeners(serving: ModelNginx, ahead: Expectation) -> None:
    """What is live is found though the disk names other listeners, and is the way back."""
    serving.tree.swap(serving.tree.stage(complete(OLD, ahead)))
    error = failing(serving, WRONG, PLAIN)
    assert (error.reason, error.rolled_back, error.generation) == ("fallback", True, OLD_ID)
    assert serving.tree.current() == serving.live_id == OLD_ID


def test_the_live_generation_is_not_pruned_after_a_kill(serving: ModelNginx) -> None:
    """What was live one step back stays on disk, whatever the disk said meanwhile."""
    serving.tree.swap(serving.tree.stage(complete(OLD, BOTH)))
    serving.transaction(Settings(keep=1)).run(NEW, PLAIN)
    assert OLD_ID in serving.tree.generations()


def test_back_to_what_was_proven_not_to_what_was_live(serving: ModelNginx) -> None:
    """Killed between reload and proof: the next run fails, and ends on the proven one."""
    generation = serving.tree.stage(complete(WRONG, PLAIN))
    serving.tree.swap(generation)
    serving.reload()
    serving.sleep(1)
    assert (serving.live_id, serving.tree.proven()) == (generation, OLD_ID)
    for files in (WRONG, configuration("wrong-fallback too")):
        error = failing(serving, files)
        assert (error.reason, error.rolled_back, error.generation) == ("fallback", True, OLD_ID)
        assert serving.tree.current() == serving.live_id == OLD_ID


def test_what_is_live_is_told_where_there_is_no_way_back(nginx: ModelNginx) -> None:
    """A first run killed before its proof: the next one fails, and tells what is really live."""
    with nginx.tree.lock():
        generation = nginx.tree.stage(complete(WRONG, PLAIN))
        nginx.tree.swap(generation)
    nginx.start()
    error = failing(nginx, WRONG)
    nginx.sleep(1)
    assert (error.reason, error.rolled_back) == ("fallback", False)
    assert nginx.live_id == generation == error.generation
    assert generation in error.message


@pytest.mark.parametrize("damaged", [None, b"not json"])
def test_a_way_back_that_cannot_be_proven_is_taken(
    serving: ModelNginx, damaged: bytes | None
) -> None:
    """Without the proof.json of before nothing can be proven, and nothing is stopped for it."""
    path = serving.tree.path(OLD_ID) / PROOF_FILE
    path.unlink()
    if damaged is not None:
        path.write_bytes(damaged)
    error = failing(serving, WRONG)
    serving.sleep(1)
    assert error.reason == "fallback"
    assert "stop" not in serving.verbs()
    assert serving.tree.current() == serving.live_id == OLD_ID


def test_live_is_asked_where_disk_and_wanted_say_nothing(serving: ModelNginx) -> None:
    """What is live is asked wherever a generation on disk listens, and where the wanted would."""
    elsewhere = expecting(Listener("0.0.0.0", 11802))
    serving.tree.swap(serving.tree.stage(complete(NEW, BOTH)))
    assert serving.transaction().check(OLD, elsewhere).previous == id_of(NEW, BOTH)
    error = failing(serving, REFUSED, elsewhere)
    assert error.generation == OLD_ID
    serving.tree.proven_link.unlink()
    assert failing(serving, REFUSED, elsewhere).generation == OLD_ID
    # On disk no generation tells any more where it listens.
    for generation in serving.tree.generations():
        (serving.tree.path(generation) / PROOF_FILE).unlink()
    assert failing(serving, REFUSED, elsewhere).generation is None
    assert failing(serving, REFUSED, PLAIN).generation == OLD_ID


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


@pytest.mark.parametrize("work", ["check", "preview", "run", "bring", "check_bring"])
def test_a_host_that_cannot_be_read(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Whatever the host forbids is a failure with its reason, in check mode too."""

    def denied(*_given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/x")

    monkeypatch.setattr(serving.tree, "read", denied)
    given = ("current",) if "bring" in work else (NEW, PLAIN)
    with pytest.raises(TransactionError) as caught:
        getattr(serving.transaction(), work)(*given)
    assert (caught.value.reason, caught.value.generation) == ("rejected", OLD_ID)
    assert "Permission denied" in caught.value.message
    assert caught.value.message.endswith(
        f"What was live was not touched; generation {OLD_ID} is still live."
    )


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
    serving.tree.swap(serving.tree.stage(complete(NEW, PLAIN)))
    assert serving.transaction().check(NEW, PLAIN).changed is True
    serving.transaction().run(NEW, PLAIN)
    assert serving.transaction().check(NEW, PLAIN).changed is False
    serving.die()
    assert serving.transaction().check(NEW, PLAIN).changed is True


def test_check_of_a_proof_that_does_not_hold(nginx: ModelNginx) -> None:
    """Disk and live are as wanted and the answers are wrong: a change, with the rows that say."""
    with nginx.tree.lock():
        generation = nginx.tree.stage(complete(WRONG, PLAIN))
        nginx.tree.swap(generation)
    nginx.start()
    outcome = nginx.transaction().check(WRONG, PLAIN)
    assert (outcome.changed, outcome.generation, outcome.previous) == (True, generation, generation)
    assert outcome.diff == []
    (row,) = outcome.proof
    assert (row.generation, row.wrong_answer) == (generation, True)
    assert "HTTP status 204" in (row.fault or "")


def test_check_has_no_rows_where_another_is_live(serving: ModelNginx) -> None:
    """What is not live has nothing to prove."""
    assert serving.transaction().check(NEW, PLAIN).proof == []
    (row,) = serving.transaction().check(OLD, PLAIN).proof
    assert (row.generation, row.fault) == (OLD_ID, None)


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
    assert list(diffs(outcome)) == ["proof.json", "tls/key.pem"]
    assert "OLDKEY" not in str(outcome)


def test_a_private_file_that_is_no_secret_is_shown(nginx: ModelNginx) -> None:
    """What is a secret is told by whoever gives it, not by its mode."""
    files = [*OLD[:2], File("tls/key.pem", b"before", 0o600)]
    nginx.transaction().run(files, PLAIN)
    changed = [*OLD[:2], File("tls/key.pem", b"after", 0o600)]
    outcome = nginx.transaction().run(changed, PLAIN)
    assert diffs(outcome) == {"tls/key.pem": ("# mode 0600\nbefore", "# mode 0600\nafter")}


def test_diff_of_a_damaged_proof(serving: ModelNginx) -> None:
    """Where it is not known which files were secret, no old one is shown."""
    (serving.tree.path(OLD_ID) / PROOF_FILE).write_text("not json")
    outcome = serving.transaction().run(configuration("new", "NEWKEY"), PLAIN)
    shown = diffs(outcome)
    assert set(shown) == {"nginx.conf", PROOF_FILE, "tls/key.pem"}
    assert all("not shown" in before for before, _after in shown.values())
    assert "KEY" not in str(outcome)


# Killed, and full


def ended(nginx: ModelNginx, run: Callable[[], Outcome]) -> Outcome | TransactionError:
    """Run, and hold that what the result says of disk and live is so."""
    try:
        result: Outcome | TransactionError = run()
    except TransactionError as error:
        result = error
    if isinstance(result, TransactionError):
        assert result.generation in nginx.answers(), result.message
    if isinstance(result, Outcome) or result.rolled_back:
        assert nginx.answers() == {result.generation}
        assert nginx.tree.current() == nginx.live_id == result.generation
    if isinstance(result, TransactionError) and result.rolled_back:
        assert result.generation == nginx.tree.proven(), result.message
    return result


def test_a_run_killed_at_any_point_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a death at any system call of a run: whole, and the next run ends proven."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    whole = False
    actions, noted = set(), set()
    for number in range(1000):
        nginx = ModelNginx(tmp_path / str(number))
        nginx.transaction().run(OLD, PLAIN)
        with killed_at(number) as made:
            try:
                nginx.transaction(Settings(keep=1)).run(NEW, PLAIN)
                whole = True
            except Killed:
                pass
        assert nginx.tree.current() in {OLD_ID, NEW_ID}, made
        assert nginx.live_id in {OLD_ID, NEW_ID}, made
        proven = nginx.tree.proven()
        assert proven == OLD_ID or proven == nginx.tree.current() == nginx.live_id, made
        assert all(nginx.tree.intact(name) for name in nginx.tree.generations()), made
        noted.add(proven)
        # A run that fails meanwhile goes back to the proven one, whatever was live.
        error = ended(nginx, lambda nginx=nginx: nginx.transaction().run(WRONG, PLAIN))  # type: ignore[misc]
        assert isinstance(error, TransactionError)
        assert (error.rolled_back, error.generation) == (True, proven), made
        outcome = nginx.transaction().run(NEW, PLAIN)
        actions.add(outcome.action)
        assert nginx.tree.current() == nginx.live_id == nginx.tree.proven() == NEW_ID, made
        assert not nginx.transaction().run(NEW, PLAIN).changed, made
        shutil.rmtree(nginx.tree.root)
        if whole:
            break
    assert whole
    assert actions == {"reloaded", "none"}
    assert noted == {OLD_ID, NEW_ID}


@pytest.mark.parametrize("files", [NEW, WRONG], ids=["right", "wrong"])
@pytest.mark.parametrize("times", [1, 1000], ids=["once", "for good"])
@pytest.mark.parametrize("ahead", [False, True], ids=["plain", "after a kill"])
def test_a_run_on_a_disk_that_is_full_at_any_point(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: list[File],
    times: int,
    ahead: bool,
) -> None:
    """An error at any system call: the result is true, and the next run ends proven."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)
    reasons = set()
    between = configuration("never proven")
    for number in range(1000):
        nginx = ModelNginx(tmp_path / str(number))
        nginx.transaction().run(OLD, PLAIN)
        if ahead:
            nginx.tree.swap(nginx.tree.stage(complete(between, PLAIN)))
        before = nginx.tree.current()
        with failing_at(number, times) as made:
            result = ended(
                nginx,
                lambda nginx=nginx: nginx.transaction(Settings(keep=1)).run(files, PLAIN),  # type: ignore[misc]
            )
        assert nginx.tree.proven() in {OLD_ID, result.generation}, made
        assert all(nginx.tree.intact(name) for name in nginx.tree.generations()), made
        if isinstance(result, TransactionError):
            reasons.add(result.reason)
            assert result.message.endswith("."), made
            if result.reason == "rejected":
                assert (nginx.tree.current(), nginx.live_id) == (before, OLD_ID), made
            elif "The way back failed" in result.message:
                reasons.add("no way back")
                assert result.rolled_back is False, made
            else:
                assert result.rolled_back is True, made
                assert nginx.tree.current() == nginx.live_id == OLD_ID, made
        assert nginx.transaction().run(NEW, PLAIN).generation == NEW_ID, made
        assert nginx.tree.current() == nginx.live_id == nginx.tree.proven() == NEW_ID, made
        assert not nginx.transaction().run(NEW, PLAIN).changed, made
        shutil.rmtree(nginx.tree.root)
        if "failed" not in made:
            break
    assert "failed" not in made
    expected = {"rejected", "not_live"}
    if files is WRONG:
        expected |= {"fallback"}
    if files is WRONG or times > 1:
        expected |= {"no way back"}
    assert reasons == expected
