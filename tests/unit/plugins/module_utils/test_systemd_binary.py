"""The binary of a unit: which one runs, which one a start would take, and what is in the way."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    from_options,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.systemd import SystemdInstance

from tests.unit.commands import Commands


@pytest.fixture
def commands() -> Commands:
    """Commands that all succeed."""
    return Commands()


@pytest.fixture
def instance(commands: Commands) -> SystemdInstance:
    """A unit."""
    made = from_options({"name": "oap-proxy", "binary": "/opt/nginx", "error_log": None}, commands)
    assert isinstance(made, SystemdInstance)
    return made


def test_the_binary_that_runs(instance: SystemdInstance, tmp_path: Path) -> None:
    """A process of the binary that a start would take is not outdated, by a link to it neither."""
    instance.binary = str(Path("/proc/self/exe").readlink())
    assert instance.outdated() is None
    link = tmp_path / "nginx"
    link.symlink_to(instance.binary)
    instance.binary = str(link)
    assert instance.outdated() is None


def test_the_binary_was_replaced(
    instance: SystemdInstance, commands: Commands, tmp_path: Path
) -> None:
    """A process whose binary is gone, or another one, is outdated: the way out is told."""
    binary = tmp_path / "nginx"
    shutil.copy("/bin/sleep", binary)
    instance.binary = str(binary)
    with subprocess.Popen([str(binary), "60"]) as child:
        try:
            commands.pid = child.pid
            commands.versions = {f"/proc/{child.pid}/exe": "1.22.1"}
            assert instance.outdated() is None
            binary.unlink()
            shutil.copy("/bin/sleep", binary)
            told = instance.outdated() or ""
            assert f"is nginx 1.22.1, of a binary that was replaced since ({binary} " in told
            assert told.endswith(f": {binary} is of no version that it tells now.")
        finally:
            child.kill()


def test_nothing_is_outdated_where_nothing_runs(
    instance: SystemdInstance, commands: Commands
) -> None:
    """No master, or one that has just ended, is of no binary."""
    commands.pid = 0
    assert instance.outdated() is None
    with subprocess.Popen(["/bin/true"]) as child:
        pass
    commands.pid = child.pid
    assert instance.outdated() is None


def test_a_script_in_the_place_of_the_binary(
    instance: SystemdInstance, commands: Commands, tmp_path: Path
) -> None:
    """What it starts is not known: a process is outdated only when its own file is gone."""
    binary, script = tmp_path / "nginx", tmp_path / "script"
    shutil.copy("/bin/sleep", binary)
    script.write_text("#!/bin/sh\n")
    with subprocess.Popen([str(binary), "60"]) as child:
        try:
            commands.pid = child.pid
            for path, outdated in ((script, False), (tmp_path / "none", True)):
                instance.binary = str(path)
                assert bool(instance.outdated()) is outdated
            instance.binary = str(script)
            binary.unlink()
            assert instance.outdated()
        finally:
            child.kill()


@pytest.mark.parametrize(
    ("kind", "pid_file"), [("simple", "/run/oap-proxy/nginx.pid"), ("forking", "/run/nginx.pid")]
)
def test_systemd_would_not_follow(
    instance: SystemdInstance, commands: Commands, kind: str, pid_file: str
) -> None:
    """Without the pid file it takes the end of the first master for the end of the unit."""
    commands.type, commands.pid_file = kind, pid_file
    told = instance.obstacle() or ""
    assert "the unit oap-proxy has no Type=forking with PIDFile=/run/oap-proxy/nginx.pid." in told


def test_the_masters_are_asked(instance: SystemdInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the way of another binary, they know; theirs is what is handed over."""
    told: list[object] = []

    class Masters:
        def obstacle(self, binary: str) -> str:
            return f"{binary} is another one."

        def begin(self) -> tuple[bool, str]:
            told.append("begin")
            return True, "words"

        def complete(self) -> None:
            told.append("complete")

        def take_back(self) -> None:
            told.append("take back")

    monkeypatch.setattr(instance, "_upgrade", Masters())
    assert instance.obstacle() == "/opt/nginx is another one."
    assert instance.hand_over() == (True, "words")
    instance.complete()
    instance.take_back()
    assert told == ["begin", "complete", "take back"]
