"""The lookup ``specification`` as Ansible runs it, on variables as an inventory has them.

It runs in a process of its own: whoever imports what a lookup is made of is a controller, whose
modules do not tell their warnings.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[4]
OPTIONS = {
    "grpc_proxy_name": {"type": "str", "default": "oap-proxy"},
    "grpc_proxy_oap_group": {"type": "str", "default": "oaps"},
    "grpc_proxy_keep": {"type": "int", "default": 5},
    "grpc_proxy_restart": {"type": "bool", "default": False},
    "grpc_proxy_token": {"type": "str", "no_log": True},
    "grpc_proxy_listen": {
        "type": "list",
        "elements": "dict",
        "options": {"port": {"type": "int", "required": True}},
    },
}
PROXIES: dict[str, dict[str, Any]] = {
    "right": {
        "grpc_proxy_keep": "{{ mine }}",
        "grpc_proxy_restart": "yes",
        "grpc_proxy_listen": "{{ [{'port': 5}] }}",
        "grpc_proxy_token": "{{ 'a' ~ mine }}",
        "__grpc_proxy_inside": 1,
        "mine": "7",
        "grpc_proxy_oap_group": "absent",
    },
    "wrong": {
        "grpc_proxy_keep": "{{ mine }}",
        "grpc_proxy_listen": "{{ [{'port': 'abc', 'prot': 5}] }}",
        "grpc_proxy_nmae": "{{ nope }}",
        "mine": "many",
        "grpc_proxy_oap_group": "oaps",
    },
    "unreadable": {
        "grpc_proxy_keep": "{{ nope }}",
        "grpc_proxy_listen": [{"port": 5}, {"port": "{{ nope.port }}"}, {"port": "x"}],
        "grpc_proxy_token": "{{ 'hush-hush' | no_such_filter }}",
        "grpc_proxy_oap_group": ["oaps"],
    },
}
OAPS = {"oap1": {"oap_adress": "10.0.0.1"}, "oap2": {"oap_port": "{{ nope }}", "oap_own": 2}}


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What is said of each proxy."""
    directory = tmp_path_factory.mktemp("lookup")
    inventory = directory / "inventory.json"
    inventory.write_text(
        json.dumps({"proxies": {"hosts": PROXIES}, "oaps": {"hosts": OAPS}}), encoding="utf-8"
    )
    config = directory / "ansible.cfg"
    config.touch()
    options = directory / "options.json"
    options.write_text(json.dumps({"the_options": OPTIONS}), encoding="utf-8")
    said = (
        "query('skywalking.oap_proxy.specification', the_options, "
        "prefix='grpc_proxy_', group='grpc_proxy_oap_group')"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    ended = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible"), "proxies", "--inventory", str(inventory),
            "--extra-vars", f"@{options}", "--module-name", "ansible.builtin.debug",
            "--args", json.dumps({"msg": f"{{{{ {said} }}}}"}), "--one-line",
        ],
        env={
            **kept,
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".ansible/collections"),
            "ANSIBLE_NOCOLOR": "1",
        },
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = {}
    for line in ended.stdout.splitlines():
        host, _between, told = line.partition(" | SUCCESS => ")
        if told:
            found[host] = json.loads(told)["msg"]
    assert found.keys() == PROXIES.keys(), ended.stdout + ended.stderr
    return found


def test_nothing_to_say(sentences: dict[str, list[str]]) -> None:
    """Values are judged as they are once evaluated, and other variables are not judged."""
    assert sentences["right"] == []


def test_sentences_of_proxy_and_oaps(sentences: dict[str, list[str]]) -> None:
    """Those of the proxy, then those of the OAPs of its group."""
    assert sentences["wrong"] == [
        "wrong: grpc_proxy_keep is 'many'; give a whole number.",
        "wrong: grpc_proxy_listen[0].port is 'abc'; give a whole number.",
        "wrong: grpc_proxy_listen[0].prot is not known; did you mean port? (known: port)",
        "wrong: grpc_proxy_nmae is not known; did you mean grpc_proxy_name?",
        "oap1: oap_adress is not known; did you mean oap_address?",
    ]


def test_expressions_that_fail(sentences: dict[str, list[str]]) -> None:
    """Each is told by its place, what stands beside it is judged, and no secret is shown."""
    undefined = "is not readable: 'nope' is undefined; define it, or give a value."
    assert sentences["unreadable"] == [
        "unreadable: grpc_proxy_oap_group is ['oaps']; give text.",
        f"unreadable: grpc_proxy_keep {undefined}",
        "unreadable: grpc_proxy_token is not readable: "
        "its expression fails, and is not shown; give what can be read.",
        f"unreadable: grpc_proxy_listen[1].port {undefined}",
        "unreadable: grpc_proxy_listen[2].port is 'x'; give a whole number.",
    ]
