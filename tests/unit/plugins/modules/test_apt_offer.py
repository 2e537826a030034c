"""The module ``apt_offer``: arguments in, one result out; apt is a stand-in on the PATH."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.modules import apt_offer

from tests.unit.plugins.modules.documented import (
    ANSIBLES,
    options,
    returned,
    run,
    specification,
    without_no_log,
)

CACHE = """\
#!/bin/sh
case "$*" in
*madison*) echo "nginx | 1.30.4-1~bookworm | somewhere" ;;
*) echo "  Candidate: 1.30.4-1~bookworm" ;;
esac
"""
GET = '#!/bin/sh\n[ "$LC_ALL" = C ] || exit 3\n'
ASKED: dict[str, Any] = {
    "package": "nginx",
    "repository": {"url": "http://x", "suite": "bookworm", "component": "nginx", "key": "k"},
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of programs that comes first on the PATH."""
    for name, text in (("apt-get", GET), ("apt-cache", CACHE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_arguments_are_documented() -> None:
    """The specification is what the documentation says."""
    documented = yaml.safe_load(apt_offer.DOCUMENTATION)
    assert documented["module"] == "apt_offer"
    assert specification(options(apt_offer.DOCUMENTATION)) == without_no_log(apt_offer.ARGUMENTS)


@pytest.mark.parametrize("check_mode", [False, True])
def test_offer(capsys: pytest.CaptureFixture[str], programs: Path, check_mode: bool) -> None:
    """What apt offers is returned as documented, in check mode too."""
    assert programs.is_dir()
    result = run(apt_offer.main, capsys, ASKED, check_mode=check_mode)
    assert set(result) - ANSIBLES == returned(apt_offer.RETURN, {"success"})
    assert result["changed"] is False
    assert (result["versions"], result["candidate"], result["error"]) == (
        ["1.30.4-1~bookworm"], "1.30.4-1~bookworm", "",
    )  # fmt: skip


def test_host_without_apt(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no apt, that is told."""
    monkeypatch.setenv("PATH", str(tmp_path))
    result = run(apt_offer.main, capsys, ASKED)
    assert result["failed"]
    assert result["msg"].startswith("cannot ask apt: ")
