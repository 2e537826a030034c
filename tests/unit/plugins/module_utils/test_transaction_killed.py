"""Runs that are killed or fill the disk at any point, on the model of nginx."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.killing import Killed, failing_at, killed_at
from tests.unit.model_nginx import (
    ModelNginx,
    complete,
    configuration,
)
from tests.unit.transactions import (
    NEW,
    NEW_ID,
    OLD,
    OLD_ID,
    PLAIN,
    WRONG,
)


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
