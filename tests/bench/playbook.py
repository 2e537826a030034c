"""How long site.yml takes."""

import statistics
import tempfile
from pathlib import Path

from tests.bench.deployment import inventory, site
from tests.hosts import lab
from tests.hosts.spec import lab_named

SECOND_RUNS = 3


def measure() -> str:
    """Measure on one host, and return the table."""
    one = lab_named("resilience")
    oaps = {host.name: {"oap_address": host.address} for host in one.of_kind("oap")}
    try:
        lab.down(one)
        lab.up(one)
        with tempfile.TemporaryDirectory() as folder:
            hosts = inventory(Path(folder) / "hosts.json", one.host("proxy1"), oaps, {"proxy1": {}})
            first = site(hosts).seconds
            again = [site(hosts).seconds for _run in range(SECOND_RUNS)]
    finally:
        lab.down(one)
    second = statistics.median(again)
    return "\n".join([
        f"site.yml, first run on a bare host  {first:8.1f} s",
        f"site.yml, second run, median of {len(again)}   {second:8.1f} s   {second / first:.2f}",
    ])  # fmt: skip
