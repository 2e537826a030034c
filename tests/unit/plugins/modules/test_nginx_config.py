"""The module ``nginx_config``: arguments in, one result out, over the model of nginx.

``ModelNginx`` stands in for the instance and for the listeners; the tree is real.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    Listener,
    Refusal,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree
from ansible_collections.skywalking.oap_proxy.plugins.modules import nginx_config

from tests.unit.inventories import server
from tests.unit.model_nginx import (
    BUS,
    METHODS,
    ModelNginx,
    complete,
    configuration,
    expecting,
    id_of,
)
from tests.unit.plugins.modules.documented import (
    ANSIBLES,
    options,
    returned,
    run,
    specification,
    without_no_log,
)

SUCCESS, FAILURE = {"always", "success"}, {"always", "failure"}
KEY = "PRIVATE"
UNTOUCHED = "Nothing was changed; nothing is known to be live."


@pytest.fixture
def nginx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelNginx:
    """A model of nginx that the module takes for its instance and its listeners."""
    model = ModelNginx(tmp_path / "oap-proxy")
    monkeypatch.setattr(nginx_config, "from_options", lambda _options, _run: model)
    monkeypatch.setattr(nginx_config, "Prover", lambda: Prover(dial=model.dial))

    def on_its_clock(
        tree: Tree, instance: Instance, prover: Prover, settings: Settings
    ) -> Transaction:
        return Transaction(tree, instance, prover, settings, model.clock, model.sleep)

    monkeypatch.setattr(nginx_config, "Transaction", on_its_clock)
    return model


def listening(address: str = "0.0.0.0", port: int = 11800, **changed: Any) -> dict[str, Any]:
    """Return one listener as an argument, with what it must refuse."""
    refusals = [{"method": BUS, "statuses": ["UNIMPLEMENTED"]}]
    return {"address": address, "port": port, "refusals": refusals, **changed}


def arguments(nginx: ModelNginx, words: str = "a", **changed: Any) -> dict[str, Any]:
    """Return the arguments of a small configuration."""
    nginx_conf, upstreams, key = configuration(words, KEY)
    return {
        "root": str(nginx.tree.root),
        "files": [
            {"path": item.path, "content": item.content.decode()}
            for item in (nginx_conf, upstreams)
        ],
        "secrets": [{"path": key.path, "content": key.content.decode()}],
        "instance": {
            "name": "oap-proxy",
            "binary": "/bin/sh",
            "error_log": str(nginx.tree.root / "error.log"),
            "runtime": "/",
        },
        "listeners": [listening()],
        "methods": list(METHODS),
        **changed,
    }


ID = id_of(configuration("a", KEY), expecting())


def test_arguments_are_documented() -> None:
    """The specification is what the documentation says."""
    documented = yaml.safe_load(nginx_config.DOCUMENTATION)
    assert documented["module"] == "nginx_config"
    assert specification(options(nginx_config.DOCUMENTATION)) == without_no_log(
        nginx_config.ARGUMENTS
    )


def test_reasons_are_documented() -> None:
    """Every reason that the transaction knows is documented, and no other."""
    described = yaml.safe_load(nginx_config.RETURN)["reason"]["description"][0]
    assert set(re.findall(r"V\((\w+)\)", described)) == {
        "rejected",
        "not_live",
        "fallback",
        "restart_needed",
        "not_started",
        "busy",
        "unproven",
    }


def test_success(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """The files as given, with their modes, are live, and the result says so."""
    given = arguments(nginx)
    given["files"][1]["mode"] = "0640"
    result = run(nginx_config.main, capsys, given)
    assert "failed" not in result
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, SUCCESS)
    assert (result["changed"], result["action"], result["previous"]) == (True, "started", None)
    assert result["generation"] == nginx.live_id
    assert (result["tested"], result["repaired"]) == (True, [])
    assert result["duration_ms"] > 0
    (row,) = result["proof"]
    assert set(row) == set(yaml.safe_load(nginx_config.RETURN)["proof"]["contains"])
    assert (row["generation"], row["grpc_status"], row["fault"]) == (nginx.live_id, 14, None)
    modes = {item.path: item.mode for item in nginx.tree.read(nginx.live_id or "", ())}
    assert result["proven_ms"] is not None
    assert (modes["nginx.conf"], modes["http.d/10-upstreams.conf"]) == (0o644, 0o640)
    assert modes["tls/key.pem"] == 0o600


def test_alerts_are_warnings(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nginx logs as an alert on a run that goes well is a warning."""
    monkeypatch.setattr(nginx, "alerts_since", lambda _mark: ["[alert] 7#7: not enough"])
    result = run(nginx_config.main, capsys, arguments(nginx))
    assert "failed" not in result
    assert "[alert] 7#7: not enough" in str(result["warnings"])


def test_unchanged(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """The same arguments again change nothing."""
    run(nginx_config.main, capsys, arguments(nginx))
    nginx.verbs()
    result = run(nginx_config.main, capsys, arguments(nginx))
    assert (result["changed"], result["action"], result["proven_ms"]) == (False, "none", None)
    assert (result["generation"], result["previous"]) == (ID, ID)
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, SUCCESS)
    assert nginx.verbs() == []


@pytest.mark.parametrize(
    ("words", "listeners", "reason"),
    [
        ("refused", [("0.0.0.0", 11800)], "rejected"),
        ("wrong-fallback", [("0.0.0.0", 11800)], "fallback"),
        ("open-bus", [("0.0.0.0", 11800)], "fallback"),
        ("a", [("10.0.0.1", 11800)], "restart_needed"),
        ("a", [("0.0.0.0", 11800), ("0.0.0.0", 1)], "not_live"),
    ],
)
def test_failure(
    nginx: ModelNginx,
    capsys: pytest.CaptureFixture[str],
    words: str,
    listeners: list[tuple[str, int]],
    reason: str,
) -> None:
    """A failure holds what is documented for one: the reason, what nginx said, what is live."""
    run(nginx_config.main, capsys, arguments(nginx))
    nginx.faults.taken = {1}
    asked = [listening(address, port) for address, port in listeners]
    result = run(nginx_config.main, capsys, arguments(nginx, words, listeners=asked))
    assert result["failed"] is True
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, FAILURE)
    assert result["reason"] == reason
    assert result["generation"] == nginx.live_id == ID
    assert result["rolled_back"] is (reason in {"fallback", "not_live"})
    assert result["msg"].endswith(".")
    assert bool(result["nginx_log"]) is (reason in {"rejected", "not_live"})


def test_busy(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """A second module at the same time fails as busy."""
    with nginx.tree.lock():
        result = run(nginx_config.main, capsys, arguments(nginx))
    assert (result["failed"], result["reason"]) == (True, "busy")
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, FAILURE)


def test_settings_are_handed_on(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """Leave to restart and the number to keep reach the transaction."""
    for words in "abcd":
        run(nginx_config.main, capsys, arguments(nginx, words, keep=3))
    assert len(nginx.tree.generations()) == 3
    single = [listening("10.0.0.1")]
    given = arguments(nginx, listeners=single, allow_restart=True)
    assert run(nginx_config.main, capsys, given)["action"] == "restarted"
    assert nginx.live_id == id_of(configuration("a", KEY), expecting(Listener("10.0.0.1", 11800)))


# Check mode and diff


def test_check_mode(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """Check mode tests, tells what would change, and changes nothing."""
    run(nginx_config.main, capsys, arguments(nginx))
    nginx.verbs()
    result = run(nginx_config.main, capsys, arguments(nginx, "b"), check_mode=True, diff=True)
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, SUCCESS)
    assert (result["changed"], result["action"], result["tested"]) == (True, "none", True)
    assert result["generation"] == id_of(configuration("b", KEY), expecting())
    assert result["previous"] == nginx.live_id == nginx.tree.current() == ID
    assert nginx.verbs() == ["test"]
    assert [item["after"] for item in result["diff"]] == ["# mode 0644\n# b\n"]


@pytest.mark.parametrize("lacking", ["nginx", "runtime", "its own runtime", "h2"])
def test_check_mode_on_a_bare_host(
    nginx: ModelNginx,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
) -> None:
    """Where something is still to be installed, check mode compares, and says what it missed."""
    given = arguments(nginx)
    name = lack(nginx, given, monkeypatch, lacking)
    result = run(nginx_config.main, capsys, given, check_mode=True)
    assert (result["changed"], result["tested"]) == (True, False)
    told = f"{name} is still to come: the configuration was compared, not tested."
    assert told in str(result["warnings"])
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, SUCCESS)
    assert not nginx.tree.root.exists()


def lack(
    nginx: ModelNginx, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch, lacking: str
) -> str:
    """Let something be missing on the host, and return its name."""
    none = str(nginx.tree.root / "none")
    if lacking == "h2":
        monkeypatch.setattr(nginx_config, "H2_IMPORT_ERROR", "no h2")
        return "python3-h2"
    if lacking == "its own runtime":
        del given["instance"]["runtime"]
        given["instance"]["name"] = "proxy-that-is-not-there"
        return "/run/proxy-that-is-not-there"
    given["instance"]["binary" if lacking == "nginx" else lacking] = none
    return none


@pytest.mark.parametrize("lacking", ["nginx", "runtime", "its own runtime"])
def test_a_bare_host_is_refused(
    nginx: ModelNginx,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lacking: str,
) -> None:
    """Where a run would miss something it names it, and touches nothing."""
    given = arguments(nginx)
    name = lack(nginx, given, monkeypatch, lacking)
    result = run(nginx_config.main, capsys, given)
    assert (result["failed"], result["reason"]) == (True, "rejected")
    assert result["msg"] == (
        f"{name} is missing on the host: install it, or give the right path in instance. "
        f"{UNTOUCHED}"
    )
    assert set(result) - ANSIBLES == returned(nginx_config.RETURN, FAILURE)
    assert (nginx.verbs(), nginx.tree.root.exists()) == ([], False)


def test_check_mode_tells_what_does_not_hold(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where disk and live are wanted and answer wrongly, the rows with the faults are told."""
    with nginx.tree.lock():
        wrong = configuration("wrong-fallback", KEY)
        nginx.tree.swap(nginx.tree.stage(complete(wrong, expecting())))
    nginx.start()
    result = run(nginx_config.main, capsys, arguments(nginx, "wrong-fallback"), check_mode=True)
    assert (result["changed"], result["tested"]) == (True, True)
    (row,) = result["proof"]
    assert "HTTP status 204" in row["fault"]


def test_check_mode_failure(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """Check mode fails where nginx refuses the files."""
    result = run(nginx_config.main, capsys, arguments(nginx, "refused"), check_mode=True)
    assert (result["failed"], result["reason"]) == (True, "rejected")
    assert not nginx.tree.root.exists()


@pytest.mark.parametrize("mode", ["0600", "0640"])
def test_secrets_are_never_shown(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], mode: str
) -> None:
    """No secret stands anywhere in a result, the old one as little as the new."""
    given = arguments(nginx)
    given["secrets"][0].update(content="OLD-PRIVATE-KEY", mode=mode)
    first = run(nginx_config.main, capsys, given, diff=True)
    given["secrets"][0].update(content="NEW-PRIVATE-KEY", mode=mode)
    second = run(nginx_config.main, capsys, given, diff=True)
    assert second["changed"] is True
    assert "PRIVATE-KEY" not in str(first) + str(second)


def test_only_secrets_are_hidden(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """A secret's path and mode are no secrets: whoever reads a diff must know which file it is."""
    given = arguments(nginx)
    given["secrets"][0]["mode"] = "0600"
    given["files"][1]["mode"] = "0600"
    result = run(nginx_config.main, capsys, given, diff=True)
    headers = [item["after_header"] for item in result["diff"]]
    assert any("tls/key.pem" in header for header in headers), headers
    shown = {item["after_header"].split()[0]: item["after"] for item in result["diff"]}
    assert shown["http.d/10-upstreams.conf"] == "# mode 0600\nupstream oaps {}\n"
    assert KEY not in str(result)


# Arguments that do not do


def refused(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], given: dict[str, Any]
) -> dict[str, Any]:
    """Run and check, and hold that both refuse the arguments and touch nothing."""
    checked = run(nginx_config.main, capsys, given, check_mode=True)
    result = run(nginx_config.main, capsys, given)
    for found in (checked, result):
        assert (found["failed"], found["reason"]) == (True, "rejected")
        assert set(found) - ANSIBLES == returned(nginx_config.RETURN, FAILURE)
        assert found["msg"].endswith(f". {UNTOUCHED}")
    assert checked["msg"] == result["msg"]
    assert (nginx.verbs(), nginx.tree.root.exists()) == ([], False)
    return result


@pytest.mark.parametrize("option", ["files", "secrets"])
@pytest.mark.parametrize(
    "mode",
    ["u=rw", "", "644 ", "0o644", "-644", "0888", "44", "1777", "00644", "\u0666\u0664\u0664"],
)
def test_mode_that_is_not_octal(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], option: str, mode: str
) -> None:
    """A mode that is no octal number of permission bits is told, with its file."""
    given = arguments(nginx)
    given[option][0]["mode"] = mode
    result = refused(nginx, capsys, given)
    path = given[option][0]["path"]
    assert result["msg"] == f"files: mode {mode!r} of {path} is not one like '0644'. {UNTOUCHED}"


@pytest.mark.parametrize("option", ["listeners", "methods"])
def test_nothing_to_prove(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    """A proof of no listener or of no method would prove nothing."""
    given = arguments(nginx)
    given[option] = []
    result = refused(nginx, capsys, given)
    assert result["msg"].startswith("listeners and methods: give at least one of each")


def test_address_that_is_none(nginx: ModelNginx, capsys: pytest.CaptureFixture[str]) -> None:
    """A listener's address that is none is told as that, and as nothing else."""
    listeners = [listening("localhost")]
    result = refused(nginx, capsys, arguments(nginx, listeners=listeners))
    assert result["msg"].startswith("listeners: address: 'localhost' ")


@pytest.mark.parametrize("port", [-1, 0, 65536])
def test_port_that_is_none(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], port: int
) -> None:
    """A port that nobody can ask is refused before it would end a run half-way."""
    result = refused(nginx, capsys, arguments(nginx, listeners=[listening(port=port)]))
    assert result["msg"].startswith(f"listeners: port: {port} is none; give 1 to 65535.")


def test_what_is_live_is_told_whatever_is_wrong(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run that cannot even begin tells what serves on."""
    run(nginx_config.main, capsys, arguments(nginx))
    given = arguments(nginx, methods=[])
    result = run(nginx_config.main, capsys, given)
    assert (result["reason"], result["generation"]) == ("rejected", ID)
    assert result["msg"].endswith(f"Nothing was changed; generation {ID} is still live.")


@pytest.mark.parametrize(
    ("place", "content"),
    [
        ("tls/none.pem", None),
        ("tls/a.pem", ""),
        ("tls/a.pem", "no certificate"),
        ("tls/a.pem", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"),
    ],
)
def test_certificate_that_is_none(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], place: str, content: str | None
) -> None:
    """A listener cannot show what is not there: the path is told."""
    given = arguments(nginx, listeners=[listening(tls=True, certificate=place)])
    if content is not None:
        given["files"].append({"path": place, "content": content})
    result = refused(nginx, capsys, given)
    assert result["msg"].startswith(f"listeners: certificate: {place!r} of the files: ")


@pytest.mark.parametrize("statuses", [[], ["REFUSED"], ["UNAVAILABLE", "14"], ["unavailable"]])
def test_statuses_that_are_none(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], statuses: list[str]
) -> None:
    """A refusal has at least one status, by its name."""
    refusals = [{"method": BUS, "statuses": statuses}]
    given = arguments(nginx, listeners=[listening(refusals=refusals)])
    result = refused(nginx, capsys, given)
    assert result["msg"].startswith("listeners: refusals: statuses: ")
    assert result["msg"].endswith(f"is no list of names of gRPC statuses. {UNTOUCHED}")


def test_what_is_proven() -> None:
    """Options become what the proof compares: a digest for a file, a path as it is."""
    shown = server()
    files = [File("tls/a.pem", shown.chain.encode())]
    option = {
        "address": "0.0.0.0",
        "port": 1,
        "tls": True,
        "server_name": "proxy.example",
        "certificate": "tls/a.pem",
        "refusals": [{"method": BUS, "statuses": ["UNIMPLEMENTED", "UNAVAILABLE"]}],
    }
    listener = nginx_config.listener_from(option, files)
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown.certificate)).hexdigest()
    assert listener == Listener(
        "0.0.0.0", 1, True, "proxy.example", digest, (Refusal(BUS, (12, 14)),)
    )
    on_host = {**option, "certificate": "/etc/ssl/a.pem"}
    assert nginx_config.listener_from(on_host, files).certificate == "/etc/ssl/a.pem"
    none = {**option, "certificate": ""}
    assert nginx_config.listener_from(none, files).certificate == ""


@pytest.mark.parametrize("path", ["../x", "/etc/x", "generation.conf", "nginx.conf", ""])
def test_bad_paths(nginx: ModelNginx, capsys: pytest.CaptureFixture[str], path: str) -> None:
    """A path that does not do fails as rejected, by its name."""
    given = arguments(nginx)
    given["files"].append({"path": path, "content": ""})
    result = run(nginx_config.main, capsys, given)
    assert (result["failed"], result["reason"]) == (True, "rejected")
    assert path in result["msg"]
    assert not nginx.tree.root.exists()


@pytest.mark.parametrize("missing", ["root", "files", "instance", "listeners", "methods"])
def test_required(nginx: ModelNginx, capsys: pytest.CaptureFixture[str], missing: str) -> None:
    """What is required is asked for by its name."""
    given = arguments(nginx)
    del given[missing]
    result = run(nginx_config.main, capsys, given)
    assert result["failed"] is True
    assert missing in result["msg"]
    assert not nginx.tree.root.exists()


def test_h2_is_missing(
    nginx: ModelNginx, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without h2 the package to install is named, and nothing is touched."""
    monkeypatch.setattr(nginx_config, "H2_IMPORT_ERROR", "Traceback: no h2")
    result = run(nginx_config.main, capsys, arguments(nginx))
    assert result["failed"] is True
    assert "python3-h2" in result["msg"]
    assert not nginx.tree.root.exists()
