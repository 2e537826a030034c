"""The order of the steps, on a real tree of generations and a model of nginx: what goes well.

``ModelNginx`` is a stand-in: that the real nginx behaves like it is for the tests on hosts.
"""

from __future__ import annotations

import errno

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import TransactionError
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.model_nginx import (
    WINDOW_S,
    ModelNginx,
    complete,
    configuration,
    id_of,
)
from tests.unit.transactions import (
    BOTH,
    NEW,
    NEW_ID,
    OLD,
    OLD_ID,
    PLAIN,
    REFUSED,
    SINGLE,
    WRONG,
    everything,
    failing,
)


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


def test_left_over_is_told_with_a_failure(serving: ModelNginx) -> None:
    """A run that fails names what it has removed before."""
    (serving.tree.generations_dir / ".staging-0123456789ab").mkdir()
    assert failing(serving, REFUSED).repaired == [".staging-0123456789ab"]
    assert failing(serving, REFUSED).repaired == []


def test_left_over_is_told_where_there_is_no_such_generation(serving: ModelNginx) -> None:
    """Also where the tree itself is why it fails."""
    (serving.tree.generations_dir / ".staging-0123456789ab").mkdir()
    with pytest.raises(TransactionError, match="there is no generation") as caught:
        serving.transaction().bring("ffffffffffff")
    assert caught.value.repaired == [".staging-0123456789ab"]
