"""A new nginx: when it takes over, what is proven of it, and the way back to the old one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.model_nginx import ModelNginx
from tests.unit.transactions import (
    BOTH,
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

REPLACED = "it is nginx 1 of a binary that was replaced: it is nginx 2 now."
BRIDGE = "there is a bridge."
BROKEN = ("ends", "wrong-fallback", "dying")
UPGRADE = ["test", "hand over", "complete"]


@pytest.fixture
def old(serving: ModelNginx) -> ModelNginx:
    """A host where OLD is live, in a binary that was replaced since."""
    serving.replaced = REPLACED
    return serving


@pytest.mark.parametrize("allow", [False, True], ids=["no-restart", "restart"])
@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "changed"])
def test_a_new_binary_takes_over(old: ModelNginx, files: list[File], allow: bool) -> None:
    """Also where nothing else is to be done, and where a restart is allowed; and then no more."""
    settings = Settings(allow_restart=allow)
    outcome = old.transaction(settings).run(files, PLAIN)
    assert (outcome.changed, outcome.action) == (True, "upgraded")
    assert outcome.proven_ms is not None
    assert outcome.drift == [REPLACED.rstrip(".")]
    assert outcome.alerts == []
    # It is swapped before, so that the new one reads what is wanted.
    assert [call.disk for call in old.said[1:]] == [outcome.generation] * 2
    assert old.verbs() == UPGRADE
    assert old.answers() == {outcome.generation}
    again = old.transaction(settings).run(files, PLAIN)
    assert (again.changed, again.action, again.drift) == (False, "none", [])


@pytest.mark.parametrize("name", ["current", "previous", OLD_ID, NEW_ID])
def test_what_is_on_disk_is_brought_by_it(old: ModelNginx, name: str) -> None:
    """A generation of before comes live in the new binary too."""
    old.replaced = None
    old.transaction().run(NEW, PLAIN)
    old.replaced = REPLACED
    outcome = old.transaction().bring(name)
    assert (outcome.changed, outcome.action) == (True, "upgraded")
    assert old.outdated() is None


@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "changed"])
def test_check_tells_it(old: ModelNginx, files: list[File]) -> None:
    """In check mode it is a change, told with what runs and what would; nothing is done."""
    before = everything(old)
    outcome = old.transaction().check(files, PLAIN)
    assert (outcome.changed, outcome.drift) == (True, [REPLACED.rstrip(".")])
    brought = old.transaction().check_bring(OLD_ID)
    assert (brought.changed, brought.drift) == (True, [REPLACED.rstrip(".")])
    assert (old.verbs(), everything(old)) == (["test"] * 2, before)


@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "changed"])
def test_what_cannot_be_handed_over(old: ModelNginx, files: list[File]) -> None:
    """It takes a restart, which is refused with both reasons unless it is allowed."""
    old.in_the_way = BRIDGE
    error = failing(old, files)
    assert error.reason == "restart_needed"
    assert error.message.startswith(f"{REPLACED} It cannot take over while the other one serves: ")
    assert f": {BRIDGE} Set grpc_proxy_allow_restart" in error.message
    assert (old.verbs(), old.answers()) == (["test"], {OLD_ID})
    assert (old.tree.current(), old.tree.generations()) == (OLD_ID, [OLD_ID])
    with pytest.raises(type(error)):
        old.transaction().check(files, PLAIN)
    outcome = old.transaction(Settings(allow_restart=True)).run(files, PLAIN)
    assert (outcome.action, old.outdated()) == ("restarted", None)


@pytest.mark.parametrize(
    ("inherits", "before", "after", "done"),
    [
        (True, False, False, True),
        (False, True, True, True),
        (False, False, True, False),
        (False, True, False, False),
    ],
)
def test_ports_that_are_not_inherited_are_shared(
    nginx: ModelNginx, inherits: bool, before: bool, after: bool, done: bool
) -> None:
    """In both configurations, or one of the two could not open them."""
    nginx.transaction().run(OLD, replace(PLAIN, shared=before))
    nginx.replaced, nginx.inherits_ports = REPLACED, inherits
    wanted = replace(PLAIN, shared=after)
    if done:
        assert nginx.transaction().run(NEW, wanted).action == "upgraded"
        return
    error = failing(nginx, NEW, wanted)
    assert error.reason == "restart_needed"
    assert "the ports are not shared (reuseport)" in error.message
    # What the instance itself has in its way says more.
    nginx.in_the_way = BRIDGE
    assert BRIDGE in failing(nginx, NEW, wanted).message


def test_what_is_not_outdated_has_nothing_in_its_way(serving: ModelNginx) -> None:
    """What cannot be handed over is reloaded as ever."""
    serving.in_the_way = BRIDGE
    assert serving.transaction().run(NEW, PLAIN).action == "reloaded"


def test_a_clash_takes_a_restart(old: ModelNginx) -> None:
    """The old one holds the sockets as long as it serves; a restart brings both."""
    assert failing(old, OLD, SINGLE).reason == "restart_needed"
    outcome = old.transaction(Settings(allow_restart=True)).run(OLD, SINGLE)
    assert (outcome.action, old.outdated()) == ("restarted", None)


def test_what_a_reload_would_not_take(serving: ModelNginx) -> None:
    """A new master has zones of its own, so another key of a limit needs no restart."""
    serving.transaction().run(KEY_A, PLAIN)
    serving.replaced = REPLACED
    assert serving.transaction().run(KEY_B, PLAIN).action == "upgraded"


def test_a_binary_that_refuses_the_configuration(old: ModelNginx) -> None:
    """Nothing is touched."""
    assert failing(old, REFUSED).reason == "rejected"
    assert (old.verbs(), old.answers()) == (["test"], {OLD_ID})


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "changed"])
def test_one_that_cannot_serve(old: ModelNginx, files: list[File], broken: str) -> None:
    """The old one goes on with the generation before, which is on disk first; then it is healed."""
    old.faults.upgrade = broken
    error = failing(old, files)
    assert error.reason == ("fallback" if broken == "wrong-fallback" else "not_" + {
        "ends": "started", "dying": "live"
    }[broken])  # fmt: skip
    assert (error.rolled_back, error.generation) == (True, OLD_ID)
    assert f"Rolled back: generation {OLD_ID} is live again." in error.message
    assert f"Mind that {REPLACED}" in error.message
    assert [(call.verb, call.disk) for call in old.said[-1:]] == [("take back", OLD_ID)]
    assert old.verbs() == ["test", "hand over", "take back"]
    assert (old.tree.current(), old.answers()) == (OLD_ID, {OLD_ID})
    assert old.tree.generations() == [OLD_ID]
    assert failing(old, files).reason == error.reason
    old.faults.upgrade = ""
    assert old.transaction().run(files, PLAIN).action == "upgraded"


@pytest.mark.parametrize("taken", [11801])
def test_a_port_of_another_program(old: ModelNginx, taken: int) -> None:
    """The new one gives up as a reload would, and the cause is told as for one."""
    old.faults.taken = {taken}
    error = failing(old, NEW, BOTH)
    assert (error.reason, error.rolled_back) == ("not_started", True)
    assert f"another program holds 0.0.0.0:{taken}" in error.message
    assert old.answers() == {OLD_ID}


def test_old_workers_that_do_not_drain(old: ModelNginx) -> None:
    """They would answer on beside the new ones: that is not proven."""
    old.faults.lingering = True
    error = failing(old, NEW)
    assert (error.reason, error.rolled_back) == ("unproven", True)
    assert old.verbs()[-1] == "take back"
    assert old.answers() == {OLD_ID}


@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "changed"])
def test_what_fails_when_it_is_alone(
    old: ModelNginx, monkeypatch: pytest.MonkeyPatch, files: list[File]
) -> None:
    """There is no old one to go back to any more: the new one takes the generation before."""
    real = old.complete

    def mute() -> None:
        real()
        monkeypatch.setattr(old, "reload", heard)
        old.faults.silent = True

    really = old.reload

    def heard() -> tuple[bool, str]:
        old.faults.silent = False
        return really()

    monkeypatch.setattr(old, "complete", mute)
    error = failing(old, files)
    back = files is NEW
    assert (error.reason, error.rolled_back) == ("not_live", back)
    assert old.verbs() == [*UPGRADE, *(["reload"] if back else [])]
    assert old.tree.current() == OLD_ID


def test_a_disk_that_is_full_on_the_way_back(
    old: ModelNginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new one is ended all the same; what is on disk is told."""
    old.faults.upgrade = "wrong-fallback"
    real = old.hand_over

    def then_full() -> tuple[bool, str]:
        told = real()
        (Path(old.tree.root) / ".next-current").mkdir()
        return told

    monkeypatch.setattr(old, "hand_over", then_full)
    error = failing(old, NEW)
    assert "The way back failed: " in error.message
    assert (error.rolled_back, error.generation) == (False, OLD_ID)
    assert old.verbs()[-1] == "take back"
    assert (old.answers(), old.tree.current()) == ({OLD_ID}, NEW_ID)


@pytest.mark.parametrize("broken", ["", *BROKEN])
@pytest.mark.parametrize("files", [OLD, NEW], ids=["unchanged", "changed"])
def test_a_run_that_was_killed_half_way(old: ModelNginx, files: list[File], broken: str) -> None:
    """Two masters are there: the next run has the new one take over, or the old one alone serve."""
    old.tree.swap(old.tree.stage(_sealed(old, files)))
    old.hand_over()
    old.verbs()
    old.faults.upgrade = broken
    if not broken:
        outcome = old.transaction().run(files, PLAIN)
        assert outcome.action == "upgraded"
        assert (old.outdated(), old.answers()) == (None, {outcome.generation})
        return
    error = failing(old, files)
    assert (error.generation, old.answers(), old.outdated()) == (OLD_ID, {OLD_ID}, REPLACED)
    assert error.rolled_back


def test_what_a_killed_run_had_brought_live(old: ModelNginx) -> None:
    """The old nginx goes on with it for no longer than it takes to bring back what was proven."""
    old.tree.swap(old.tree.stage(_sealed(old, NEW)))
    old.reload()
    old.sleep(1.0)
    assert (old.answers(), old.tree.proven()) == ({NEW_ID}, OLD_ID)
    old.faults.upgrade = "wrong-fallback"
    old.verbs()
    began = old.now
    error = failing(old, NEW)
    assert (error.rolled_back, error.generation) == (True, OLD_ID)
    assert old.verbs() == ["test", "hand over", "take back", "reload"]
    assert old.now - began < 1


def _sealed(nginx: ModelNginx, files: list[File]) -> list[File]:
    """Return the files together with what a transaction adds to them."""
    if files is OLD:
        return nginx.tree.read(OLD_ID)
    other = ModelNginx(nginx.tree.root.parent / "other")
    other.transaction().run(files, PLAIN)
    return other.tree.read(NEW_ID)
