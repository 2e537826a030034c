"""The command NAME-reload, over the model of nginx: what it says, and how it ends."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import bringing, command
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, fingerprint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree

from tests.unit.inventories import authority
from tests.unit.model_nginx import ModelNginx, configuration, expecting, id_of

OLD, NEW = configuration("old"), configuration("new")
OLD_ID, NEW_ID = id_of(OLD, expecting()), id_of(NEW, expecting())


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelNginx:
    """A host where OLD and then NEW came live, and root runs the command."""
    model = ModelNginx(tmp_path / "oap-proxy")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(bringing, "from_options", lambda *_options, **_of: model)
    monkeypatch.setattr(bringing, "Prover", lambda: Prover(dial=model.dial))

    def on_its_clock(
        tree: Tree, instance: Instance, prover: Prover, settings: Settings
    ) -> Transaction:
        assert settings == Settings(keep=7, proof_timeout=9.0)
        return Transaction(tree, instance, prover, settings, model.clock, model.sleep)

    monkeypatch.setattr(bringing, "Transaction", on_its_clock)
    for files in (OLD, NEW):
        model.transaction().run(files, expecting())
    model.verbs()
    return model


def run(nginx: ModelNginx, *arguments: str, binary: str = "/bin/sh", **environment: str) -> int:
    """Run the command."""
    options = {
        "root": str(nginx.tree.root),
        "instance": {"name": "oap-proxy", "binary": binary, "runtime": "/"},
        "keep": 7,
        "proof_timeout": 9.0,
    }
    return command.main(options, arguments, environment)


Said = pytest.CaptureFixture[str]


def test_current(nginx: ModelNginx, capsys: Said) -> None:
    """Without an argument it reads again what is on disk, and says in lines what is proven."""
    assert run(nginx) == 0
    assert nginx.verbs() == ["test", "reload"]
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        f"generation {NEW_ID} is live and proven (reloaded)",
        f"0.0.0.0:11800: generation {NEW_ID}, fallback UNAVAILABLE in every client",
    ]
    assert said.err == ""


@pytest.mark.parametrize("name", ["previous", OLD_ID])
def test_generation(nginx: ModelNginx, capsys: Said, name: str) -> None:
    """With a generation it goes back."""
    assert run(nginx, "--generation", name, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["generation"], told["previous"], told["changed"]) == (OLD_ID, NEW_ID, True)
    assert (told["certificates"], told["warnings"]) == ([], [])
    assert nginx.live_id == OLD_ID


def test_check(nginx: ModelNginx, capsys: Said) -> None:
    """With --check it tests, and touches nothing."""
    assert run(nginx, "--check", "--generation", "previous") == 0
    assert nginx.verbs() == ["test"]
    said = capsys.readouterr().out
    assert said.startswith(f"generation {OLD_ID} would do; nothing was changed\n")
    assert nginx.live_id == NEW_ID


def test_failure(nginx: ModelNginx, capsys: Said) -> None:
    """A failure is one line on standard error, with its reason; as JSON it is on both."""
    nginx.faults.stopped_master = True
    assert run(nginx) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("oap-proxy-reload: the master process is stopped")
    assert said.err.endswith("(reason: not_live)\n")
    assert said.err.count("\n") == 1
    assert run(nginx, "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["reason"], told["generation"], told["rolled_back"]) == ("not_live", NEW_ID, False)
    assert "Nothing was changed" in told["msg"]


def test_not_root(nginx: ModelNginx, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not root is told so."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert run(nginx) == 1
    assert "must be run by root: 'sudo oap-proxy-reload'" in capsys.readouterr().err
    assert nginx.verbs() == []


def test_nothing_to_test_with(nginx: ModelNginx, capsys: Said) -> None:
    """What is missing on the host is named."""
    assert run(nginx, binary="/nowhere/nginx") == 1
    assert "/nowhere/nginx is missing on the host" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["", "next", "../x", f"{OLD_ID}0", OLD_ID.upper()])
def test_no_generation(nginx: ModelNginx, capsys: Said, name: str) -> None:
    """What cannot name a generation is refused as an argument."""
    with pytest.raises(SystemExit) as ended:
        run(nginx, "--generation", name)
    assert ended.value.code == 2
    assert "give current, previous, or an id" in capsys.readouterr().err
    assert nginx.verbs() == []


def test_lineage(nginx: ModelNginx, capsys: Said, tmp_path: Path) -> None:
    """What certbot says that it has renewed is looked for on the listeners."""
    lineage = tmp_path / "live"
    assert run(nginx, RENEWED_LINEAGE=str(lineage)) == 0
    assert f"cannot read {lineage}/cert.pem" in capsys.readouterr().err
    lineage.mkdir()
    renewed = authority("root").server("proxy.example")
    (lineage / "cert.pem").write_text(renewed.certificate)
    assert run(nginx, RENEWED_LINEAGE=str(lineage)) == 0
    assert f"no listener shows the certificate in {lineage}" in capsys.readouterr().err
    shown = [{"sha256": fingerprint(renewed.certificate)}]
    assert command.unshown(shown, {"RENEWED_LINEAGE": str(lineage)}) == []


def test_run_here() -> None:
    """A command's status and both its outputs come back, whatever bytes they are."""
    assert command.here(["sh", "-c", r"printf '\377'; echo x >&2; exit 3"]) == (3, "\ufffd", "x\n")
