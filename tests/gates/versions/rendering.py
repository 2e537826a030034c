"""Renders the roles' own templates for many versions of nginx in one run of ansible-playbook."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.gates import tree
from tests.gates.versions.deployments import GROUPS

HERE = Path(__file__).parent
CALLBACK = tree.ROOT / "tests/faults/callback"
COLLECTION = Path("ansible_collections/skywalking/oap_proxy")
PARTS = {"galaxy.yml", "meta", "plugins", "roles"}
# What Debian's packages are built with, of what the templates ask for.
MODULES = ("http_realip_module", "http_ssl_module", "http_v2_module")
Variables = Mapping[str, Any]


def build_of(version: str, modules: Sequence[str] = MODULES) -> str:
    """Return what ``nginx -V`` prints for a version with these modules."""
    chosen = " ".join(f"--with-{module}" for module in modules)
    return f"nginx version: nginx/{version}\nconfigure arguments: {chosen}\n"


@dataclass
class Rendered:
    """What one run has written, and what it told of each nginx."""

    place: Path
    trees: dict[tuple[str, str], Path] = field(default_factory=dict)
    warned: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    refused: dict[str, list[str]] = field(default_factory=dict)
    changed: bool = False

    def read(self, results: Sequence[dict[str, Any]]) -> None:
        """Take the results of a run: what is told before a configuration is told of its nginx."""
        pending: dict[str, list[str]] = {}
        for one in results:
            host, result = one["host"], one["result"]
            self.changed |= bool(result.get("changed"))
            if one["task"].endswith("Warn of what this nginx cannot do"):
                pending.setdefault(host, []).extend(result["msg"])
            elif one["task"] == "Note what was refused":
                self.refused.setdefault(host, []).append(str(result["msg"]))
                pending.pop(host, None)
            elif one["module"] == "skywalking.oap_proxy.nginx_config":
                nginx = (host, str(result["version"]))
                self.trees[nginx] = self.place.joinpath(*nginx)
                self.warned[nginx] = pending.pop(host, [])


def copy_collection(target: Path, edit: Callable[[Path], None] | None = None) -> None:
    """Copy the collection, with actions that play the modules which ask and change a host.

    :param edit: changes the copy before it is used.
    """
    collection = target / COLLECTION
    for path in tree.files():
        if path.parts[0] in PARTS:
            (collection / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree.ROOT / path, collection / path)
    shutil.copytree(
        HERE / "action", collection / "plugins/action", ignore=shutil.ignore_patterns("__*")
    )
    if edit:
        edit(collection)


def render(
    place: Path,
    hosts: Mapping[str, Variables],
    builds: Mapping[str, Sequence[str]],
    edit: Callable[[Path], None] | None = None,
    arguments: Sequence[str] = (),
) -> Rendered:
    """Render each deployment for each nginx.

    :param place: an empty directory.
    :param hosts: variables of each deployment.
    :param builds: what ``nginx -V`` prints, one after the other, by deployment.
    :param edit: changes the copy of the collection before it is used.
    :param arguments: of ansible-playbook, beside inventory and playbook.
    """
    copy_collection(place / "collections", edit)
    inventory = place / "inventory.yml"
    proxies = {
        name: {
            "ansible_connection": "local", "host_has_ipv6": True, "host_has_nginx": True,
            "builds": list(builds[name]), "rendered": str(place / "rendered"), **variables,
        }
        for name, variables in hosts.items()
    }  # fmt: skip
    groups = {name: {"hosts": servers} for name, servers in GROUPS.items()}
    inventory.write_text(yaml.safe_dump({**groups, "oap_proxy": {"hosts": proxies}}))
    found = Rendered(place / "rendered")
    found.read(_play(place, inventory, arguments))
    return found


def _play(place: Path, inventory: Path, arguments: Sequence[str]) -> list[dict[str, Any]]:
    """Run the playbook on the copy of the collection alone, and return its results."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    ended = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            "-i", str(inventory), str(HERE / "render.yml"), *arguments,
        ],
        cwd=place,
        env={
            **kept,
            "ANSIBLE_CALLBACK_PLUGINS": str(CALLBACK),
            "ANSIBLE_COLLECTIONS_PATH": str(place / "collections"),
            "ANSIBLE_FORKS": str(os.cpu_count() or 1),
            "ANSIBLE_HOME": str(place / "home"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_STDOUT_CALLBACK": "results",
            # Where molecule keeps certificates; the inventory says where they are here.
            "MOLECULE_EPHEMERAL_DIRECTORY": str(place),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    lines = [line for line in ended.stdout.splitlines() if line.startswith("{")]
    told = [one for one in map(json.loads, lines) if one["what"] != "recap"]
    failures = [f"{one['task']}: {one['result'].get('msg')}" for one in told if one["what"] != "ok"]
    assert ended.returncode == 0, "\n".join([*failures, ended.stderr])
    return told
