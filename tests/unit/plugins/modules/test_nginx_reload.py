"""The module ``nginx_reload``: arguments in, one result out, over the model of nginx.

``ModelNginx`` stands in for the instance and for the listeners; tree and certificates are real.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import bringing
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import Listener
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree
from ansible_collections.skywalking.oap_proxy.plugins.modules import nginx_config, nginx_reload

from tests.unit.inventories import server
from tests.unit.model_nginx import ModelNginx, complete, configuration, expecting, id_of
from tests.unit.plugins.modules.documented import (
    ANSIBLES,
    options,
    returned,
    run,
    specification,
    without_no_log,
)

SUCCESS, FAILURE = {"always", "success"}, {"always", "failure"}
PLAIN = expecting()
A, B = configuration("a", "PRIVATE-KEY-A"), configuration("b", "PRIVATE-KEY-B")
A_ID, B_ID = id_of(A, PLAIN), id_of(B, PLAIN)


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelNginx:
    """A model of nginx that the module takes for its instance, with A and then B proven."""
    model = ModelNginx(tmp_path / "oap-proxy")
    monkeypatch.setattr(bringing, "from_options", lambda *_options, **_of: model)
    monkeypatch.setattr(bringing, "Prover", lambda: Prover(dial=model.dial))

    def on_its_clock(
        tree: Tree, instance: Instance, prover: Prover, settings: Settings
    ) -> Transaction:
        return Transaction(tree, instance, prover, settings, model.clock, model.sleep)

    monkeypatch.setattr(bringing, "Transaction", on_its_clock)
    for files in (A, B):
        model.transaction().run(files, PLAIN)
    model.verbs()
    return model


def arguments(nginx: ModelNginx, **changed: Any) -> dict[str, Any]:
    """Return the arguments for the tree of the model."""
    instance = {"name": "oap-proxy", "binary": "/bin/sh", "runtime": "/"}
    return {"root": str(nginx.tree.root), "instance": instance, **changed}


def test_arguments_are_documented() -> None:
    """The specification is what the documentation says, and shared options are the same."""
    documented = yaml.safe_load(nginx_reload.DOCUMENTATION)
    assert documented["module"] == "nginx_reload"
    described = specification(options(nginx_reload.DOCUMENTATION))
    assert described == without_no_log(nginx_reload.ARGUMENTS)
    shared = nginx_reload.ARGUMENTS.keys() & nginx_config.ARGUMENTS.keys() - {"root"}
    assert shared == {"instance", "allow_restart", "keep", "proof_timeout"}
    assert all(nginx_reload.ARGUMENTS[one] == nginx_config.ARGUMENTS[one] for one in shared)


def test_results_are_those_of_nginx_config() -> None:
    """What both return is described for both, but for what only one of them does."""
    config, reload = (
        {name: value["returned"] for name, value in yaml.safe_load(module.RETURN).items()}
        for module in (nginx_config, nginx_reload)
    )
    assert config.keys() - reload.keys() == {"tested"}
    assert reload.keys() - config.keys() == {"certificates"}
    assert all(config[name] == reload[name] for name in config.keys() & reload.keys())


def test_current_is_read_again(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """Every run reloads what is on disk, proves it, and is a change."""
    for _time in range(2):
        result = run(nginx_reload.main, capsys, arguments(nginx))
        assert (result["changed"], result["action"]) == (True, "reloaded")
        assert result["generation"] == result["previous"] == result["live"] == B_ID
        assert (result["certificates"], result["drift"], result["diff"]) == ([], [], [])
        assert set(result) - ANSIBLES == returned(nginx_reload.RETURN, SUCCESS)
        assert result["proven_ms"] > 0
        assert nginx.verbs() == ["test", "reload"]
    assert (nginx.tree.proven(), nginx.tree.previous()) == (B_ID, A_ID)


@pytest.mark.parametrize("asked", ["previous", A_ID])
def test_back(nginx: ModelNginx, capsys: pytest.CaptureFixture[str], asked: str) -> None:
    """A generation of before is swapped in and proven; again, it is none by its id."""
    result = run(nginx_reload.main, capsys, arguments(nginx, generation=asked), diff=True)
    assert (result["changed"], result["action"]) == (True, "reloaded")
    assert (result["generation"], result["previous"], result["live"]) == (A_ID, B_ID, B_ID)
    assert [item["after"] for item in result["diff"] if "nginx.conf" in item["after_header"]] == [
        "# mode 0644\n# a\n"
    ]
    assert "PRIVATE-KEY" not in str(result)
    assert nginx.live_id == nginx.tree.current() == nginx.tree.proven() == A_ID
    assert nginx.tree.previous() == B_ID
    nginx.verbs()
    again = run(nginx_reload.main, capsys, arguments(nginx, generation=A_ID))
    assert (again["changed"], again["action"], again["proven_ms"]) == (False, "none", None)
    assert set(again) - ANSIBLES == returned(nginx_reload.RETURN, SUCCESS)
    assert nginx.verbs() == []
    there = run(nginx_reload.main, capsys, arguments(nginx, generation="previous"))
    assert (there["changed"], nginx.live_id) == (True, B_ID)


def over_tls(nginx: ModelNginx, path: Path) -> str:
    """Bring a configuration live whose listener shows a certificate outside of the tree."""
    shown = replace(Listener("0.0.0.0", 11800), tls=True, certificate=str(path))
    return nginx.transaction().run(configuration("tls"), expecting(shown)).generation


def test_a_renewed_certificate(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What another program has renewed is shown after the reload, and told with its end."""
    path = tmp_path / "renewed.pem"
    path.write_text(server().chain)
    generation = over_tls(nginx, path)
    renewed = server("renewed.example")
    path.write_text(renewed.chain)
    result = run(nginx_reload.main, capsys, arguments(nginx))
    assert (result["changed"], result["generation"]) == (True, generation)
    (told,) = result["certificates"]
    described = yaml.safe_load(nginx_reload.RETURN)["certificates"]["contains"]
    assert set(told) == set(described)
    assert (told["listener"], told["path"]) == ("0.0.0.0:11800", str(path))
    assert (told["days_left"] > 0, told["valid"]) == (True, True)
    der = ssl.PEM_cert_to_DER_cert(renewed.certificate)
    assert told["sha256"] == hashlib.sha256(der).hexdigest()
    assert len(result["drift"]) == 1
    assert f"of {path}" in result["drift"][0]
    assert "found on the host: " in str(result["warnings"])
    assert run(nginx_reload.main, capsys, arguments(nginx))["drift"] == []


def test_a_certificate_that_has_expired(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Nginx shows it, and no client takes it: a warning says so."""
    path = tmp_path / "expired.pem"
    path.write_text(server(validity="past").chain)
    over_tls(nginx, path)
    result = run(nginx_reload.main, capsys, arguments(nginx))
    (told,) = result["certificates"]
    assert (told["valid"], told["days_left"] < 0) == (False, True)
    assert "clients refuse it" in str(result["warnings"])


def test_check_mode(nginx: ModelNginx, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Nothing is changed, and what would be is told, with the certificates shown now."""
    path = tmp_path / "renewed.pem"
    path.write_text(server().chain)
    generation = over_tls(nginx, path)
    nginx.verbs()
    path.write_text(server("renewed.example").chain)
    result = run(nginx_reload.main, capsys, arguments(nginx), check_mode=True)
    assert (result["changed"], result["action"], nginx.verbs()) == (True, "none", ["test"])
    assert set(result) - ANSIBLES == returned(nginx_reload.RETURN, SUCCESS)
    assert (len(result["drift"]), len(result["certificates"])) == (1, 1)
    back = run(nginx_reload.main, capsys, arguments(nginx, generation="previous"), check_mode=True)
    assert (back["changed"], back["generation"], back["previous"]) == (True, B_ID, generation)
    assert nginx.live_id == nginx.tree.current() == generation


# Failures


def failed(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], reason: str, **changed: Any
) -> dict[str, Any]:
    """Run, and hold that it fails for this reason, with all that is documented for a failure."""
    result = run(nginx_reload.main, capsys, arguments(nginx, **changed))
    assert (result["failed"], result["reason"]) == (True, reason)
    assert set(result) - ANSIBLES == returned(nginx_reload.RETURN, FAILURE)
    assert result["generation"] == nginx.live_id
    assert result["msg"].endswith(".")
    return result


def untouched(nginx: ModelNginx, result: dict[str, Any], live: str | None = B_ID) -> None:
    """Hold that nothing was changed, and that the message says so."""
    serving = f"generation {live} is still live" if live else "nothing is known to be live"
    assert result["msg"].endswith(f" Nothing was changed; {serving}.")
    assert result["rolled_back"] is False
    assert set(nginx.verbs()) <= {"test"}


@pytest.mark.parametrize("name", ["0123456789ab", "latest", "", "../../etc", "."])
def test_no_such_generation(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A name that is none is refused, with those that there are."""
    result = failed(nginx, capsys, "rejected", generation=name)
    untouched(nginx, result)
    assert f"there is no generation {name} below {nginx.tree.root}" in result["msg"]
    assert all(one in result["msg"] for one in (A_ID, B_ID))


def test_no_previous_one(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nothing was proven before, there is no step back."""
    nginx.tree.previous_link.unlink()
    untouched(nginx, failed(nginx, capsys, "rejected", generation="previous"))


@pytest.mark.parametrize("asked", ["current", B_ID])
def test_an_edited_one(nginx: ModelNginx, capsys: pytest.CaptureFixture[str], asked: str) -> None:
    """What was edited by hand is not brought live: nobody knows what it would do."""
    (nginx.tree.path(B_ID) / "nginx.conf").write_text("# by hand\n")
    result = failed(nginx, capsys, "rejected", generation=asked)
    untouched(nginx, result)
    assert f"generation {B_ID} was edited since it was sealed" in result["msg"]


def test_what_nginx_refuses(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A certificate that another program took away: nginx's words, and nothing is touched."""
    path = tmp_path / "gone.pem"
    path.write_text(server().chain)
    generation = over_tls(nginx, path)
    nginx.verbs()
    path.unlink()
    result = failed(nginx, capsys, "rejected")
    untouched(nginx, result, generation)
    assert result["nginx_log"] == [f'nginx: [emerg] cannot load certificate "{path}"']


def test_a_stopped_master(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """A master that acts on nothing is told nothing."""
    nginx.faults.stopped_master = True
    untouched(nginx, failed(nginx, capsys, "not_live"))


def test_busy(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """A second run at the same time is refused."""
    with nginx.tree.lock():
        untouched(nginx, failed(nginx, capsys, "busy"))


def test_a_way_back_that_leads_nowhere(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str]
) -> None:
    """A generation that answers wrongly is rolled back, as a new configuration is."""
    with nginx.tree.lock():
        wrong = nginx.tree.stage(complete(configuration("wrong-fallback"), PLAIN))
    result = failed(nginx, capsys, "fallback", generation=wrong)
    assert (result["rolled_back"], result["generation"]) == (True, B_ID)
    assert wrong in nginx.tree.generations()


def test_the_log_holds_what_nginx_said_since(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines since the command, and none of before."""
    nginx.log.append("[emerg] 7#7: of before")
    with nginx.tree.lock():
        dying = nginx.tree.stage(complete(configuration("dying"), PLAIN))
    result = failed(nginx, capsys, "not_live", generation=dying)
    assert (result["rolled_back"], nginx.live_id) == (True, B_ID)
    assert result["nginx_log"]
    assert all("exited with fatal code 2" in line for line in result["nginx_log"])
    assert "exited with fatal code 2 and cannot be respawned." in result["msg"]


def test_a_restart_is_needed(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """What only a restart takes is refused, and taken where it is allowed."""
    single = expecting(Listener("10.0.0.1", 11800))
    with nginx.tree.lock():
        other = nginx.tree.stage(complete(configuration("a"), single))
    untouched(nginx, failed(nginx, capsys, "restart_needed", generation=other))
    result = run(nginx_reload.main, capsys, arguments(nginx, generation=other, allow_restart=True))
    assert (result["action"], nginx.live_id) == ("restarted", other)


@pytest.mark.parametrize("lacking", ["h2", "cryptography", "binary", "runtime"])
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_bare_host(
    nginx: ModelNginx,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
    check_mode: bool,
) -> None:
    """What is missing is named, in check mode too: there is nothing to compare with."""
    given = arguments(nginx)
    name = f"python3-{lacking}"
    if lacking in ("binary", "runtime"):
        name = given["instance"][lacking] = str(nginx.tree.root / "none")
    else:
        monkeypatch.setattr(bringing, f"{lacking.upper()}_IMPORT_ERROR", "none")
    result = run(nginx_reload.main, capsys, given, check_mode=check_mode)
    assert (result["failed"], result["reason"]) == (True, "rejected")
    assert result["msg"].startswith(f"{name} is missing on the host: install it")
    untouched(nginx, result)


def test_the_root_goes_by_the_name(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left out, it is the tree of the instance's name."""
    asked: list[str] = []

    def tree(root: str) -> Tree:
        asked.append(root)
        return nginx.tree

    monkeypatch.setattr(bringing, "Tree", tree)
    given = arguments(nginx)
    del given["root"]
    assert run(nginx_reload.main, capsys, given)["changed"] is True
    assert asked == ["/etc/nginx/oap-proxy"]


def test_reasons_are_those_of_nginx_config() -> None:
    """One list of reasons, in one place."""
    described = yaml.safe_load(nginx_reload.RETURN)["reason"]["description"]
    assert re.findall(r"V\((\w+)\)", described) == []
    assert "M(skywalking.oap_proxy.nginx_config)" in described
