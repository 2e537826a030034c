"""The module ``nginx_generation_info``: what is on disk and live, over the model of nginx."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree
from ansible_collections.skywalking.oap_proxy.plugins.modules import nginx_generation_info

from tests.unit.model_nginx import ModelNginx, complete, configuration, expecting, id_of
from tests.unit.plugins.modules.documented import (
    ANSIBLES,
    options,
    returned,
    run,
    specification,
    without_no_log,
)

PLAIN = expecting()
IDS = {words: id_of(configuration(words), PLAIN) for words in ("a", "b", "c", "d")}


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelNginx:
    """A model of nginx that the module takes for its instance and its listeners."""
    model = ModelNginx(tmp_path / "oap-proxy")
    monkeypatch.setattr(nginx_generation_info, "from_options", lambda _options, _run: model)
    monkeypatch.setattr(nginx_generation_info, "Prover", lambda: Prover(dial=model.dial))
    return model


def arguments(nginx: ModelNginx) -> dict[str, Any]:
    """Return the arguments for the tree of the model."""
    return {"root": str(nginx.tree.root), "instance": {"name": "oap-proxy"}}


def test_arguments_are_documented() -> None:
    """The specification is what the documentation says."""
    documented = yaml.safe_load(nginx_generation_info.DOCUMENTATION)
    assert documented["module"] == "nginx_generation_info"
    described = specification(options(nginx_generation_info.DOCUMENTATION))
    assert described == without_no_log(nginx_generation_info.ARGUMENTS)


def test_every_generation(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """The youngest first, each with what it is: live, current, proven, previous, intact."""
    for words in ("a", "b", "c"):
        nginx.transaction().run(configuration(words), PLAIN)
    nginx.tree.swap(nginx.tree.stage(complete(configuration("d"), PLAIN)))
    for age, words in enumerate(("a", "b", "c", "d")):
        os.utime(nginx.tree.path(IDS[words]), (age, age))
    (nginx.tree.path(IDS["a"]) / "nginx.conf").write_text("by hand")
    os.utime(nginx.tree.path(IDS["a"]), (0, 0))
    result = run(nginx_generation_info.main, capsys, arguments(nginx))
    assert (result["changed"], result["running"], result["live"]) == (False, True, IDS["c"])
    assert set(result) - ANSIBLES == returned(nginx_generation_info.RETURN, {"success"})
    described = yaml.safe_load(nginx_generation_info.RETURN)["generations"]["contains"]
    assert {name for told in result["generations"] for name in told} == set(described)
    assert [told["id"] for told in result["generations"]] == [IDS[one] for one in "dcba"]
    marks = ("live", "current", "proven", "previous")
    assert {
        mark: [told["id"] for told in result["generations"] if told[mark]] for mark in marks
    } == {
        "live": [IDS["c"]],
        "current": [IDS["d"]],
        "proven": [IDS["c"]],
        "previous": [IDS["b"]],
    }
    assert [told["id"] for told in result["generations"] if not told["intact"]] == [IDS["a"]]
    assert result["generations"][0]["sealed"] == "1970-01-01T00:00:03+00:00"


def test_it_changes_nothing(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """A host without anything is one without generations, and nothing is made there."""
    result = run(nginx_generation_info.main, capsys, arguments(nginx), check_mode=True)
    assert (result["generations"], result["live"], result["running"]) == ([], None, False)
    assert (nginx.verbs(), nginx.tree.root.exists()) == ([], False)


def test_one_that_is_not_the_units(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """What answers is live, whoever started it."""
    nginx.transaction().run(configuration("a"), PLAIN)
    nginx.die()
    nginx.started_by_hand()
    result = run(nginx_generation_info.main, capsys, arguments(nginx))
    assert (result["running"], result["live"]) == (False, IDS["a"])


def test_the_root_goes_by_the_name(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left out, it is the tree of the instance's name."""
    asked: list[str] = []

    def tree(root: str) -> Tree:
        asked.append(root)
        return nginx.tree

    monkeypatch.setattr(nginx_generation_info, "Tree", tree)
    run(nginx_generation_info.main, capsys, {"instance": {"name": "two"}})
    assert asked == ["/etc/nginx/two"]


def test_h2_is_missing(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without h2 nobody can be asked: the package is named."""
    monkeypatch.setattr(nginx_generation_info, "H2_IMPORT_ERROR", "no h2")
    result = run(nginx_generation_info.main, capsys, arguments(nginx))
    assert (result["failed"], nginx.tree.root.exists()) == (True, False)
    assert result["msg"] == "python3-h2 is missing on the host: install it."


def test_a_tree_that_cannot_be_read(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands in the way is told with the place."""

    def denied() -> list[str]:
        raise PermissionError(13, "Permission denied", "/x")

    monkeypatch.setattr(nginx.tree, "generations", denied)
    monkeypatch.setattr(nginx_generation_info, "Tree", lambda _root: nginx.tree)
    result = run(nginx_generation_info.main, capsys, arguments(nginx))
    assert result["msg"] == f"cannot look at {nginx.tree.root}: [Errno 13] Permission denied: '/x'."
