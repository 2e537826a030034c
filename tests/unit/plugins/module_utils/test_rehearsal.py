"""What a rehearsal says of a configuration, and what a transaction makes of it.

``ModelNginx`` is a stand-in: that a real nginx on a real stage does so is for the tests on hosts.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Rehearsal
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import TransactionError

from tests.unit.model_nginx import (
    CHDIR,
    NO_STAGE,
    ModelNginx,
    complete,
    configuration,
    expecting,
    id_of,
)

OLD, NEW = configuration("old"), configuration("new")
PLAIN = expecting()
OLD_ID = id_of(OLD, PLAIN)
WRONG, SILENT = Row("0.0.0.0:1", fault="x", wrong_answer=True), Row("0.0.0.0:1", fault="no answer")
RIGHT, HIDDEN = Row("0.0.0.0:1"), Row("0.0.0.0:1", fault="x", hidden=True)


@pytest.fixture
def serving(tmp_path: Path) -> ModelNginx:
    """A host where OLD is live, and where a configuration can be rehearsed."""
    nginx = ModelNginx(tmp_path / "oap-proxy")
    nginx.transaction().run(OLD, PLAIN)
    nginx.has_stage = True
    nginx.verbs()
    return nginx


def refused(nginx: ModelNginx, words: str, run: str) -> TransactionError:
    """Run, or check, what must be refused while nothing is touched."""
    before, live = sorted(nginx.tree.root.rglob("*")), nginx.live_id
    with pytest.raises(TransactionError) as caught:
        getattr(nginx.transaction(), run)(configuration(words), PLAIN)
    assert (sorted(nginx.tree.root.rglob("*")), nginx.live_id) == (before, live)
    assert nginx.verbs() == ["test", "rehearse"]
    assert caught.value.rolled_back is False
    assert caught.value.generation == live
    return caught.value


@pytest.mark.parametrize("words", ["wrong-fallback", "open-bus"])
@pytest.mark.parametrize("run", ["run", "check"])
def test_a_wrong_answer_is_refused(serving: ModelNginx, words: str, run: str) -> None:
    """What answers wrongly on the stage never comes to serve; the same run fails again."""
    for _turn in range(2):
        error = refused(serving, words, run)
        assert error.reason == "fallback"
        assert error.message.startswith("In a rehearsal, 0.0.0.0:11800 answers ")
        assert error.message.endswith(f"Nothing was changed; generation {OLD_ID} is still live.")
        assert [row.wrong_answer for row in error.proof] == [True]


@pytest.mark.parametrize("run", ["run", "check"])
def test_workers_that_die_are_refused(serving: ModelNginx, run: str) -> None:
    """Nginx's own words come first, whatever it said of the end of its workers."""
    error = refused(serving, "dying", run)
    assert error.reason == "not_live"
    assert "the worker processes of the new configuration die: chdir(" in error.message
    assert error.message.endswith(f"Nothing was changed; generation {OLD_ID} is still live.")
    assert error.nginx_log[0] == CHDIR


def test_refused_where_nothing_serves(tmp_path: Path) -> None:
    """On a host without any generation a wrong one does not become the first."""
    nginx = ModelNginx(tmp_path / "oap-proxy")
    nginx.has_stage = True
    nothing = r"Nothing was changed; nothing is known to be live\."
    with pytest.raises(TransactionError, match=nothing):
        nginx.transaction().run(configuration("wrong-fallback"), PLAIN)
    assert (nginx.verbs(), nginx.tree.generations()) == (["test", "rehearse"], [])


def test_a_generation_on_disk_stays_there(serving: ModelNginx) -> None:
    """What was on disk before is not removed when its rehearsal fails."""
    generation = serving.tree.stage(complete(configuration("wrong-fallback"), PLAIN))
    with pytest.raises(TransactionError):
        serving.transaction().bring(generation)
    assert set(serving.tree.generations()) == {OLD_ID, generation}


def test_what_holds_is_brought_live(serving: ModelNginx) -> None:
    """A rehearsal that held is told, and comes before the swap."""
    outcome = serving.transaction().run(NEW, PLAIN)
    assert outcome.rehearsal is not None
    assert outcome.rehearsal.held
    assert [(call.verb, call.disk) for call in serving.said][:2] == [
        ("test", OLD_ID), ("rehearse", OLD_ID)
    ]  # fmt: skip
    assert serving.verbs() == ["test", "rehearse", "reload"]
    result = outcome.as_result()
    assert (result["rehearsed"], result["not_rehearsed"]) == (True, None)


@pytest.mark.parametrize(("stage", "cause"), [(False, NO_STAGE), (True, "it did not start there")])
def test_what_cannot_be_rehearsed_is_told(serving: ModelNginx, stage: bool, cause: str) -> None:
    """A rehearsal that says nothing refuses nothing: the proof where it serves decides."""
    serving.has_stage = stage
    checked = serving.transaction().check(configuration("unstartable"), PLAIN)
    result = checked.as_result()
    assert (result["rehearsed"], result["not_rehearsed"]) == (False, cause)
    serving.verbs()
    with pytest.raises(TransactionError) as caught:
        serving.transaction().run(configuration("unstartable"), PLAIN)
    assert caught.value.rolled_back is True
    assert "reload" in serving.verbs()


def test_nothing_to_change_is_not_rehearsed(serving: ModelNginx) -> None:
    """A run with nothing to do has nothing to rehearse."""
    outcome = serving.transaction().run(OLD, PLAIN)
    assert (outcome.rehearsal, serving.verbs()) == (None, [])
    result = outcome.as_result()
    assert (result["rehearsed"], result["not_rehearsed"]) == (False, None)


@pytest.mark.parametrize(
    ("rehearsal", "held", "wrong"),
    [
        (Rehearsal([RIGHT]), True, []),
        (Rehearsal([RIGHT, WRONG]), False, [WRONG]),
        (Rehearsal([HIDDEN]), False, [HIDDEN]),
        (Rehearsal([SILENT], "no answer"), False, []),
        (Rehearsal(died=["x"]), False, []),
    ],
)
def test_verdicts(rehearsal: Rehearsal, held: bool, wrong: list[Row]) -> None:
    """It holds, it is wrong, or it says nothing."""
    assert (rehearsal.held, rehearsal.wrong) == (held, wrong)
