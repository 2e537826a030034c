"""site.yml on hosts of a laboratory."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.hosts.paths import ROOT
from tests.hosts.plays import Play, play
from tests.hosts.progress import LabError
from tests.hosts.spec import Host

Variables = Mapping[str, object]


def inventory(
    path: Path, host: Host, oaps: Mapping[str, Variables], proxies: Mapping[str, Variables]
) -> str:
    """Write an inventory in which all proxies are on one host, and return its path."""
    connection = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": host.container,
        "ansible_become": False,
    }
    children = {
        "skywalking_oap": {"hosts": oaps},
        "oap_proxy": {"hosts": proxies, "vars": connection},
    }
    path.write_text(json.dumps({"all": {"children": children}}), encoding="utf-8")
    return str(path)


def site(hosts: str) -> Play:
    """Run site.yml, which must end well."""
    run = play(hosts, str(ROOT / "site.yml"))
    if run.code:
        raise LabError("a playbook failed: nothing is measured on a host that is not whole")
    return run
