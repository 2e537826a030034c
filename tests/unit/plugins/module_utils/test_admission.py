"""What a transaction refuses before anything is touched, on the model of nginx."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import Survey
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.model_nginx import (
    STOPPED,
    ModelNginx,
    id_of,
)
from tests.unit.transactions import (
    KEY_A,
    KEY_B,
    NEW,
    NEW_ID,
    OLD,
    OLD_ID,
    PLAIN,
    REFUSED,
    SINGLE,
    everything,
    failing,
)


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


def test_a_port_of_another_proxy(serving: ModelNginx) -> None:
    """It is told from one of ours that was started by hand: there is no such generation here."""
    serving.die()
    serving.started_by_hand()
    (serving.tree.path(OLD_ID) / PROOF_FILE).unlink()
    error = failing(serving, NEW)
    assert error.reason == "not_started"
    assert error.message.startswith("another proxy of this host has one of the ports, and answers")
    assert "give one of the two another port in grpc_proxy_listen" in error.message
    assert error.message.endswith(f"Nothing was changed; generation {OLD_ID} is still live.")
