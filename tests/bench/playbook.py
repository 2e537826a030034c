"""How long site.yml takes, and how long a change takes from swap to proof."""

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.deployment import inventory, site
from tests.hosts import lab
from tests.hosts.paths import ROOT
from tests.hosts.spec import lab_named

SECOND_RUNS = 3


def measure() -> str:
    """Measure on one host, and return the table."""
    one = lab_named("resilience")
    oaps = {host.name: {"oap_address": host.address} for host in one.of_kind("oap")}
    try:
        lab.down(one)
        lab.up(one)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            hosts = inventory(folder / "hosts.json", one.host("proxy1"), oaps, {"proxy1": {}})
            first = site(hosts).seconds
            again = [site(hosts).seconds for _run in range(SECOND_RUNS)]
            proven = _changes(hosts, folder)
    finally:
        lab.down(one)
    second, middle = statistics.median(again), statistics.median(proven)
    return "\n".join([
        f"site.yml, first run on a bare host  {first:8.1f} s",
        f"site.yml, second run, median of {len(again)}   {second:8.1f} s   {second / first:.2f}",
        f"swap to proven, median of {len(proven)}        {middle:8.1f} ms",
        f"swap to proven, worst               {max(proven):8.1f} ms   "
        f"{max(proven) / middle:.2f} of the median",
    ])  # fmt: skip


def _changes(hosts: str, folder: Path) -> list[float]:
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
