"""What nginx does not take, and the way back to what was live, on the model of nginx."""

from __future__ import annotations

import errno
import os

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.model_nginx import (
    METHODS,
    ModelNginx,
    complete,
    configuration,
    expecting,
    id_of,
)
from tests.unit.transactions import (
    BOTH,
    DYING,
    NEW,
    NEW_ID,
    OLD,
    OLD_ID,
    PLAIN,
    REFUSED,
    SINGLE,
    UNSTARTABLE,
    WRONG,
    failing,
)


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
    assert serving.verbs() == ["test", "restart", "restart"]


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


def test_a_reload_that_is_refused(serving: ModelNginx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no command is taken, what serves has never been told to change."""
    monkeypatch.setattr(serving, "reload", lambda: (False, "Job type reload is not applicable."))
    error = failing(serving, NEW)
    rolled_back(serving, error)
    assert error.reason == "not_live"
    assert "Job type reload is not applicable." in error.message
