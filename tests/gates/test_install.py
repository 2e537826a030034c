"""The collection as people get it: built, installed elsewhere, and used from there.

OAP_PROXY_INVENTORY names an inventory of running hosts, if there are any: then the installed
playbook is run against them, and not only read.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.gates import tree

NAME = "skywalking.oap_proxy"
RUNNING = os.environ.get("OAP_PROXY_INVENTORY", "")
# What an installation has at its top; everything else in a checkout is for work on it.
TOP = {
    "CHANGELOG.rst",
    "FILES.json",
    "LICENSE",
    "MANIFEST.json",
    "README.md",
    "changelogs",
    "docs",
    "meta",
    "playbooks",
    "plugins",
    "roles",
}
NEEDED = {
    "CHANGELOG.rst",
    "LICENSE",
    "README.md",
    "meta/runtime.yml",
    "playbooks/site.yml",
    "playbooks/verify.yml",
    "plugins/module_utils/transaction.py",
    "plugins/modules/grpc_probe.py",
    "plugins/modules/nginx_config.py",
    "plugins/modules/nginx_facts.py",
    "roles/grpc_proxy/defaults/main.yml",
    "roles/grpc_proxy/meta/argument_specs.yml",
    "roles/grpc_proxy/tasks/main.yml",
    "roles/nginx_package/tasks/main.yml",
}
INVENTORY = """\
[skywalking_oap]
oap1 oap_address=192.0.2.11
oap2 oap_address=192.0.2.12 oap_weight=2

[oap_proxy]
proxy1
"""


@dataclass(frozen=True)
class Installed:
    """A collection in a path of its own, and a directory that is no checkout."""

    collections: Path
    elsewhere: Path

    @property
    def root(self) -> Path:
        """Where the installed files are."""
        return self.collections / "ansible_collections" / NAME.replace(".", "/")

    def run(self, *command: str) -> str:
        """Run a program of this environment that knows only the installed collection."""
        return run(*command, cwd=self.elsewhere, ANSIBLE_COLLECTIONS_PATH=str(self.collections))

    def reads(self, playbook: str) -> bool:
        """Check the syntax of a playbook by its full name, and whether it is the installed one."""
        inventory = self.elsewhere / "inventory"
        inventory.write_text(INVENTORY, encoding="utf-8")
        output = self.run(
            "ansible-playbook", "-i", str(inventory), f"{NAME}.{playbook}", "--syntax-check"
        )
        return f"playbook: {self.root}/playbooks/{playbook}.yml" in output


def run(*command: str, cwd: Path, **environment: str) -> str:
    """Run a command as on a machine without a network or settings, and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    home = cwd / ".home"
    home.mkdir(exist_ok=True)
    result = subprocess.run(
        command,
        cwd=cwd,
        env={
            **kept,
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            **environment,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of this checkout, with the rubbish that work on it leaves."""
    path = tmp_path_factory.mktemp("checkout")
    tree.copy(path)
    link = tree.LIVE_LINK / "collections/ansible_collections" / NAME.replace(".", "/")
    (path / link).parent.mkdir(parents=True)
    shutil.copy2(tree.ROOT / link, path / link, follow_symlinks=False)
    for rubbish in (
        ".build/hosts/root.tar",
        ".hypothesis/example",
        ".mypy_cache/cache.json",
        ".venv/bin/python",
        "plugins/modules/__pycache__/nginx_config.cpython-313.pyc",
        "tests/output/junit.xml",
    ):
        (path / rubbish).parent.mkdir(parents=True, exist_ok=True)
        (path / rubbish).write_text("rubbish", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def tarball(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection, built."""
    output = tmp_path_factory.mktemp("built")
    run("ansible-galaxy", "collection", "build", "--output-path", str(output), cwd=checkout)
    (built,) = output.glob("*.tar.gz")
    return built


@pytest.fixture(scope="module")
def installed(tarball: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The built collection, installed into an empty path."""
    return install(str(tarball), tmp_path_factory.mktemp("installed"))


def install(source: str, directory: Path) -> Installed:
    """Install from a source without asking any server."""
    (directory / "elsewhere").mkdir()
    there = Installed(directory / "collections", directory / "elsewhere")
    there.run(
        "ansible-galaxy", "collection", "install", source, "-p", str(there.collections), "--offline"
    )
    return there


def names(tarball: Path) -> set[str]:
    """The files and folders in a tarball."""
    with tarfile.open(tarball) as archive:
        return set(archive.getnames())


def test_tarball_has_what_an_installation_needs(tarball: Path) -> None:
    """Roles, modules, playbooks and the papers are in."""
    missing = NEEDED - names(tarball)
    assert missing == set()


def test_tarball_has_nothing_else(tarball: Path) -> None:
    """Tests, environments, caches and settings for work on the checkout are out."""
    unwanted = {
        name for name in names(tarball) if Path(name).parts[0] not in TOP or "__pycache__" in name
    }
    assert unwanted == set()


def test_tarball_has_every_file_of_its_folders(tarball: Path) -> None:
    """Nothing that belongs to the collection is left out by a pattern."""
    kept = {str(path) for path in tree.files() if path.parts[0] in TOP}
    missing = kept - names(tarball)
    assert missing == set()


def test_tarball_tells_of_no_machine(tarball: Path) -> None:
    """No file names the checkout that it was built from."""
    with tarfile.open(tarball) as archive:
        telling = {
            member.name
            for member in archive.getmembers()
            if (content := archive.extractfile(member))
            and str(tree.ROOT).encode() in content.read()
        }
    assert telling == set()


@pytest.mark.parametrize(
    "playbook", ["site", "verify", "generations", "rollback", "move", "uninstall"]
)
def test_installed_playbook_is_read_from_elsewhere(installed: Installed, playbook: str) -> None:
    """A playbook is found by its full name, and so is all that it includes."""
    assert installed.reads(playbook)


if RUNNING:

    @pytest.mark.parametrize("playbook", ["site", "verify"])
    def test_installed_playbook_runs(installed: Installed, playbook: str) -> None:
        """The installed playbook does its work on running hosts."""
        inventory = str(Path(RUNNING).resolve())
        output = installed.run("ansible-playbook", "-i", inventory, f"{NAME}.{playbook}")
        assert "failed=0" in output
        assert "unreachable=0" in output


def test_installed_files_are_whole(installed: Installed) -> None:
    """Every installed file is the one that was built."""
    output = installed.run("ansible-galaxy", "collection", "verify", NAME, "--offline")
    assert "Successfully verified" in output


@pytest.mark.parametrize("module", ["nginx_config", "nginx_facts", "grpc_probe"])
def test_module_documents_itself(installed: Installed, module: str) -> None:
    """ansible-doc shows what each option of a module is for, and an example."""
    output = installed.run("ansible-doc", "--json", "-t", "module", f"{NAME}.{module}")
    told = json.loads(output)[f"{NAME}.{module}"]
    assert told["examples"].strip()
    assert told["return"]
    assert told["doc"]["options"]
    silent = [name for name, option in told["doc"]["options"].items() if not option["description"]]
    assert silent == []


@pytest.mark.parametrize("role", ["grpc_proxy"])
def test_role_documents_itself(installed: Installed, role: str) -> None:
    """ansible-doc shows the variables of a role."""
    output = installed.run("ansible-doc", "--json", "-t", "role", f"{NAME}.{role}")
    told = json.loads(output)[f"{NAME}.{role}"]["entry_points"]["main"]
    assert told["short_description"]
    assert f"{role}_name" in told["options"]


def test_install_from_a_repository(checkout: Path, tmp_path: Path) -> None:
    """ansible-galaxy installs a clone, the live link in it or not."""
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@example.invalid")
    for arguments in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "A state")):
        run(*git, *arguments, cwd=checkout)

    there = install(f"git+file://{checkout}", tmp_path)

    assert there.reads("site")
    assert {path.name for path in there.root.iterdir()} <= TOP
