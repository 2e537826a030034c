"""Check mode and the difference that it shows, on the model of nginx."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import Settings

from tests.unit.model_nginx import (
    ModelNginx,
    complete,
    configuration,
    id_of,
)
from tests.unit.transactions import (
    NEW,
    NEW_ID,
    OLD,
    OLD_ID,
    PLAIN,
    REFUSED,
    SINGLE,
    WRONG,
    everything,
)


@pytest.mark.parametrize("files", [OLD, NEW], ids=["same", "new"])
def test_check_changes_nothing(serving: ModelNginx, files: list[File]) -> None:
    """Nothing on disk changes, not even a time; the candidate is tested all the same."""
    (serving.tree.generations_dir / ".staging-0123456789ab").mkdir()
    before = everything(serving)
    outcome = serving.transaction().check(files, PLAIN)
    assert everything(serving) == before
    assert outcome.changed is (files is NEW)
    assert (outcome.generation, outcome.previous) == (id_of(files, PLAIN), OLD_ID)
    assert (outcome.action, outcome.tested) == ("none", True)
    assert serving.verbs() == (["test"] if files is NEW else [])
    assert serving.live_id == OLD_ID


def test_check_on_a_bare_host(nginx: ModelNginx) -> None:
    """Nothing is made where nothing was, not even the root."""
    outcome = nginx.transaction().check(NEW, PLAIN)
    assert (outcome.changed, outcome.generation, outcome.previous) == (True, NEW_ID, None)
    assert not nginx.tree.root.exists()


def test_check_tests_what_would_be_live(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nginx tests in check mode is the whole generation, in a place that is gone after."""
    places = []

    def test(configuration: Path) -> tuple[bool, str]:
        root = configuration.parent
        places.append(root)
        found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        assert found == {"generation.conf", PROOF_FILE, *(item.path for item in NEW)}
        assert NEW_ID in (root / "generation.conf").read_text()
        return True, ""

    monkeypatch.setattr(serving, "test", test)
    serving.transaction().check(NEW, PLAIN)
    assert not places[0].exists()
    assert serving.tree.root not in places[0].parents


@pytest.mark.parametrize("work", ["check", "preview", "run", "bring", "check_bring"])
def test_a_host_that_cannot_be_read(
    serving: ModelNginx, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    """Whatever the host forbids is a failure with its reason, in check mode too."""

    def denied(*_given: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/x")

    monkeypatch.setattr(serving.tree, "read", denied)
    given = ("current",) if "bring" in work else (NEW, PLAIN)
    with pytest.raises(TransactionError) as caught:
        getattr(serving.transaction(), work)(*given)
    assert (caught.value.reason, caught.value.generation) == ("rejected", OLD_ID)
    assert "Permission denied" in caught.value.message
    assert caught.value.message.endswith(
        f"What was live was not touched; generation {OLD_ID} is still live."
    )


def test_check_rejected(serving: ModelNginx) -> None:
    """Check mode fails as the run would, where nginx refuses the files."""
    before = everything(serving)
    with pytest.raises(TransactionError) as caught:
        serving.transaction().check(REFUSED, PLAIN)
    assert (caught.value.reason, caught.value.generation) == ("rejected", OLD_ID)
    assert everything(serving) == before


def test_check_restart_needed(serving: ModelNginx) -> None:
    """Check mode fails as the run would, where only a restart takes the change."""
    with pytest.raises(TransactionError) as caught:
        serving.transaction().check(OLD, SINGLE)
    assert caught.value.reason == "restart_needed"
    assert serving.transaction(Settings(allow_restart=True)).check(OLD, SINGLE).changed


def test_check_sees_what_is_live(serving: ModelNginx) -> None:
    """Check mode tells a change where disk is as wanted and live is not."""
    serving.tree.swap(serving.tree.stage(complete(NEW, PLAIN)))
    assert serving.transaction().check(NEW, PLAIN).changed is True
    serving.transaction().run(NEW, PLAIN)
    assert serving.transaction().check(NEW, PLAIN).changed is False
    serving.die()
    assert serving.transaction().check(NEW, PLAIN).changed is True


def test_check_of_a_proof_that_does_not_hold(nginx: ModelNginx) -> None:
    """Disk and live are as wanted and the answers are wrong: a change, with the rows that say."""
    with nginx.tree.lock():
        generation = nginx.tree.stage(complete(WRONG, PLAIN))
        nginx.tree.swap(generation)
    nginx.start()
    outcome = nginx.transaction().check(WRONG, PLAIN)
    assert (outcome.changed, outcome.generation, outcome.previous) == (True, generation, generation)
    assert outcome.diff == []
    (row,) = outcome.proof
    assert (row.generation, row.wrong_answer) == (generation, True)
    assert "HTTP status 204" in (row.fault or "")


def test_check_has_no_rows_where_another_is_live(serving: ModelNginx) -> None:
    """What is not live has nothing to prove."""
    assert serving.transaction().check(NEW, PLAIN).proof == []
    (row,) = serving.transaction().check(OLD, PLAIN).proof
    assert (row.generation, row.fault) == (OLD_ID, None)


def test_preview(serving: ModelNginx) -> None:
    """Without an nginx to test with, the comparison alone is told, and that it was not tested."""
    before = everything(serving)
    outcome = serving.transaction().preview(NEW, PLAIN)
    assert (outcome.changed, outcome.tested, outcome.generation) == (True, False, NEW_ID)
    assert {item["after_header"] for item in outcome.diff} == {f"nginx.conf ({NEW_ID})"}
    assert (serving.verbs(), everything(serving)) == ([], before)


def diffs(outcome: Outcome) -> dict[str, tuple[str, str]]:
    """Return before and after of each file of a diff."""
    names = {
        item["after_header" if item["after"] else "before_header"].split()[0]: item
        for item in outcome.diff
    }
    return {name: (item["before"], item["after"]) for name, item in names.items()}


def test_diff(serving: ModelNginx) -> None:
    """Every file that changes is shown with its mode, and no other."""
    files = [
        File("nginx.conf", b"# new\n", 0o640),
        File("http.d/20-more.conf", b"more\n"),
        OLD[2],
    ]
    outcome = serving.transaction().run(files, PLAIN)
    assert diffs(outcome) == {
        "nginx.conf": ("# mode 0644\n# old\n", "# mode 0640\n# new\n"),
        "http.d/10-upstreams.conf": ("# mode 0644\nupstream oaps {}\n", ""),
        "http.d/20-more.conf": ("", "# mode 0644\nmore\n"),
    }
    headers = {item["before_header"] for item in outcome.diff}
    assert headers == {
        f"nginx.conf ({OLD_ID})",
        f"http.d/10-upstreams.conf ({OLD_ID})",
        "(none)",
    }


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o640, 0o644])
@pytest.mark.parametrize("run", ["run", "check", "preview"])
def test_diff_hides_secrets(nginx: ModelNginx, mode: int, run: str) -> None:
    """No secret is shown, old or new, whatever its mode; that it changed is."""
    nginx.transaction().run(configuration("same", "OLDKEY", mode), PLAIN)
    outcome = getattr(nginx.transaction(), run)(configuration("same", "NEWKEY", mode), PLAIN)
    assert list(diffs(outcome)) == ["tls/key.pem"]
    assert "KEY" not in str(outcome)
    (before, after) = diffs(outcome)["tls/key.pem"]
    assert "not shown" in before
    assert "changed, not shown" in after


@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_diff_hides_secrets_that_go(nginx: ModelNginx, mode: int) -> None:
    """A secret that is taken away is not shown at its end either."""
    nginx.transaction().run(configuration("same", "OLDKEY", mode), PLAIN)
    outcome = nginx.transaction().run(configuration("same", "OLDKEY", mode)[:2], PLAIN)
    assert list(diffs(outcome)) == ["proof.json", "tls/key.pem"]
    assert "OLDKEY" not in str(outcome)


def test_a_private_file_that_is_no_secret_is_shown(nginx: ModelNginx) -> None:
    """What is a secret is told by whoever gives it, not by its mode."""
    files = [*OLD[:2], File("tls/key.pem", b"before", 0o600)]
    nginx.transaction().run(files, PLAIN)
    changed = [*OLD[:2], File("tls/key.pem", b"after", 0o600)]
    outcome = nginx.transaction().run(changed, PLAIN)
    assert diffs(outcome) == {"tls/key.pem": ("# mode 0600\nbefore", "# mode 0600\nafter")}


def test_diff_of_a_damaged_proof(serving: ModelNginx) -> None:
    """Where it is not known which files were secret, no old one is shown."""
    (serving.tree.path(OLD_ID) / PROOF_FILE).write_text("not json")
    outcome = serving.transaction().run(configuration("new", "NEWKEY"), PLAIN)
    shown = diffs(outcome)
    assert set(shown) == {"nginx.conf", PROOF_FILE, "tls/key.pem"}
    assert all("not shown" in before for before, _after in shown.values())
    assert "KEY" not in str(outcome)
