"""Measure site.yml and the way from swap to proof on one host: ``python -m tests.bench``.

Everything is measured in one run and printed with ratios; nothing here passes or fails on time.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.hosts import lab
from tests.hosts.paths import ROOT
from tests.hosts.plays import Play, play
from tests.hosts.progress import LabError
from tests.hosts.spec import Lab, lab_named

SECOND_RUNS = 3


def inventory(one: Lab, folder: Path) -> str:
    """Write the inventory of a laboratory and return its path."""
    proxy = one.host("proxy1")
    connection = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": proxy.container,
        "ansible_become": False,
    }
    oaps = {host.name: {"oap_address": host.address} for host in one.of_kind("oap")}
    children = {
        "skywalking_oap": {"hosts": oaps},
        "oap_proxy": {"hosts": {"proxy1": connection}},
    }
    path = folder / "hosts.json"
    path.write_text(json.dumps({"all": {"children": children}}), encoding="utf-8")
    return str(path)


def good(run: Play) -> Play:
    """Return a run that ended well."""
    if run.code:
        raise LabError("a playbook failed: nothing is measured on a host that is not whole")
    return run


def changes(hosts: str, folder: Path) -> list[float]:
    """Return the milliseconds from swap to proof of many changes."""
    results = folder / "results.json"
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        *("-i", hosts, "-e", f"bench_results={results}"),
        str(ROOT / "tests/bench/changes.yml"),
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    rows = json.loads(results.read_text(encoding="utf-8"))
    return [float(row["proven_ms"]) for row in rows if row["action"] == "reloaded"]


def main() -> int:
    """Measure, and print a table."""
    one = lab_named("resilience")
    try:
        lab.down(one)
        lab.up(one)
        with tempfile.TemporaryDirectory() as name:
            hosts = inventory(one, Path(name))
            first = good(play(hosts, str(ROOT / "site.yml"))).seconds
            again = [
                good(play(hosts, str(ROOT / "site.yml"))).seconds for _run in range(SECOND_RUNS)
            ]
            proven = changes(hosts, Path(name))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    finally:
        lab.down(one)
    second = statistics.median(again)
    print(f"\nsite.yml, first run on a bare host  {first:8.1f} s")
    print(f"site.yml, second run, median of {len(again)}   {second:8.1f} s   {second / first:.2f}")
    print(f"swap to proven, median of {len(proven)}        {statistics.median(proven):8.1f} ms")
    print(f"swap to proven, worst               {max(proven):8.1f} ms", end="   ")
    print(f"{max(proven) / statistics.median(proven):.2f} of the median")
    return 0


if __name__ == "__main__":
    sys.exit(main())
