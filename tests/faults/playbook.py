"""ansible-playbook on an inventory made for one test, and how it ended as data."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

SECONDS = 300
CONNECTION = {
    "ansible_connection": "lab",
    # The hosts have no sudo, and root needs none.
    "ansible_user": "root",
    "ansible_become": False,
    "ansible_python_interpreter": "/usr/bin/python3",
}

# For an ansible-playbook that a test runs as a person does, which does not know the tests' plugins.
OWN_CONNECTION = ("--extra-vars", "ansible_connection=community.docker.docker")

# Hundreds of runs would each import Ansible and pack the same modules.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["__main__", "tests.faults.imported"])

# What all runs of a session have printed, for who looks for secrets in it.
PRINTED: list[str] = []

Variables = Mapping[str, Any]
Hosts = Mapping[str, Variables]


@dataclass(frozen=True)
class Failure:
    """The task at which a host failed, and what it said."""

    task: str
    message: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Result:
    """What one task returned for one host, an item of a loop left out."""

    what: str
    task: str
    module: str
    host: str
    result: dict[str, Any]


@dataclass(frozen=True)
class Run:
    """How one run of a playbook ended."""

    code: int
    seconds: float
    recap: dict[str, dict[str, int]]
    results: tuple[Result, ...]
    output: str = field(repr=False)
    errors: str

    @property
    def failures(self) -> dict[str, Failure]:
        """Where each host that failed ended."""
        return {
            one.host: Failure(one.task, str(one.result.get("msg", "")), one.result)
            for one in self.results
            if one.what in {"failed", "unreachable"}
            and self.recap[one.host]["failures"] + self.recap[one.host]["unreachable"]
        }

    def attempts(self, module: str, host: str = "proxy1") -> list[Failure]:
        """Return each failure of a module on a host, those too after which the run went on."""
        return [
            Failure(one.task, str(one.result.get("msg", "")), one.result)
            for one in self.results
            if (one.what, one.host, one.module) == ("failed", host, module)
        ]

    def failure(self, host: str = "proxy1") -> Failure:
        """Return where a host failed, which it must have."""
        assert host in self.failures, f"{host} did not fail: {self.recap}\n{self.errors}"
        assert self.code != 0
        return self.failures[host]

    def changed(self, host: str = "proxy1") -> int:
        """Return the number of changes on a host, none of which may have failed."""
        said = {name: failure.message for name, failure in self.failures.items()}
        assert self.code == 0, f"exit code {self.code}: {said}\n{self.errors}"
        return self.recap[host]["changed"]

    def of_module(self, module: str, host: str = "proxy1") -> dict[str, Any]:
        """Return the result of the last task that ran a module on a host."""
        found = [one.result for one in self.results if (one.host, one.module) == (host, module)]
        assert found, f"no task ran {module} on {host}"
        return found[-1]


class Expression(str):
    """Text that Ansible must read as an expression."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):
    """Writes what may look like an expression so that it stays text."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    unsafe = "{{" in value or "{%" in value or "{#" in value
    tag = "!unsafe" if unsafe else "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, str(value), style='"')


def _expression(dumper: yaml.SafeDumper, value: Expression) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style='"')


_Dumper.add_representer(str, _text)
_Dumper.add_representer(Expression, _expression)


def inventory(
    path: Path, proxies: Hosts, groups: Mapping[str, Hosts], settings: Variables | None = None
) -> Path:
    """Write an inventory: the proxies, and OAPs in any number of groups."""
    data = {
        "oap_proxy": {
            "hosts": {name: dict(values) for name, values in proxies.items()},
            "vars": {**CONNECTION, **(settings or {})},
        },
        **{
            group: {"hosts": {name: dict(values) for name, values in hosts.items()}}
            for group, hosts in groups.items()
        },
    }
    path.write_text(yaml.dump(data, Dumper=_Dumper, sort_keys=False), encoding="utf-8")
    return path


def play(inventory_file: Path, playbook: str = "site.yml", *arguments: str) -> Run:
    """Run a playbook of this checkout and read its output as data."""
    begin = time.monotonic()
    with TemporaryDirectory() as kept:
        output, errors = Path(kept, "output"), Path(kept, "errors")
        process = _FORKS.Process(
            target=_ansible_playbook,
            args=(["-i", str(inventory_file), playbook, *arguments], str(output), str(errors)),
        )
        process.start()
        process.join(SECONDS)
        if process.exitcode is None:
            assert process.pid is not None
            os.killpg(process.pid, signal.SIGKILL)
            process.join()
        told = output.read_text(encoding="utf-8"), errors.read_text(encoding="utf-8")
    PRINTED.extend(told)
    code = process.exitcode
    assert code is not None
    assert code != -signal.SIGKILL, f"not done after {SECONDS} s: {told}"
    return _read(code, time.monotonic() - begin, *told)


def _ansible_playbook(arguments: list[str], output: str, errors: str) -> None:
    # Not for the tests' own process, whose environment it sets.
    from tests.faults import imported  # noqa: PLC0415

    imported.run(arguments, output, errors)


def _read(code: int, seconds: float, output: str, errors: str) -> Run:
    recap: dict[str, dict[str, int]] = {}
    results = []
    for line in output.splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue  # a warning, or a line of a program that was run
        if told["what"] == "recap":
            recap = told["recap"]
        else:
            results.append(Result(**told))
    assert recap, f"ansible-playbook ended with {code} and no recap:\n{output}{errors}"
    return Run(code, seconds, recap, tuple(results), output, errors)
