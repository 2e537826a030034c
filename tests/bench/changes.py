"""A hundred changes under load: by the collection's transaction, and by a template and its handler.

Both are made in the host, without Ansible around them, on a proxy of their own that site.yml has
deployed, in front of the same real OAP, one after the other under the same load. The template and
its handler are a stand-in for the roles of today: files written in place, ``nginx -t``, ``systemctl
reload``. Whether the new configuration is live, they do not ask; the bench does, beside them.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.changes.hosts import ChangesHost, deployed
from tests.changes.load import Clients
from tests.faults import table
from tests.hosts.progress import LabError, say

COUNT = 100
PAUSE_SECONDS = 0.25
# Short, so that streams are held for longer than it within a run.
DRAIN_SECONDS = 10
# By its proxy: what is measured, how the host is told of it, and what a change that went well is.
WAYS = {
    "transaction": ("the transaction", "proven", "reloaded"),
    "plain": ("template and handler (stand-in)", "plain", "green"),
}
PORTS = dict(zip(WAYS, (11821, 11822), strict=True))


@dataclass(frozen=True)
class Figures:
    """What one way came to.

    :ivar live_ms: milliseconds from the swap of the files until the change was live.
    :ivar took_ms: milliseconds of the whole change, as long as the way itself takes.
    """

    live_ms: Sequence[float]
    took_ms: Sequence[float]
    clients: Clients
    draining: tuple[int, int, int]
    rss_mb: tuple[int, int, int]


def measure() -> str:
    """Measure both ways, and return the table."""
    proxies = {
        name: {
            "grpc_proxy_listen": [{"port": port}],
            "grpc_proxy_drain_timeout": f"{DRAIN_SECONDS}s",
        }
        for name, port in PORTS.items()
    }
    with deployed(proxies) as host:
        found = {name: _changes(host, name) for name in WAYS}
    return _table(found)


def _changes(host: ChangesHost, name: str) -> Figures:
    title, how, well = WAYS[name]
    say(f"{COUNT} changes by {title}")
    command = host.command("changes", name, str(COUNT), str(PAUSE_SECONDS), how)
    with Clients(f"{host.host.address}:{PORTS[name]}") as clients:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise LabError(f"{COUNT} changes by {title} ended with: {done.stderr[-2000:]}")
    begin, *rows, end = [json.loads(line) for line in done.stdout.splitlines()]
    bad = [row for row in rows if row["ended"] != well or not row["proven"]]
    if bad:
        raise LabError(f"{len(bad)} of {COUNT} changes by {title} went wrong: {bad[:2]}")
    return Figures(
        [row["live_ms"] for row in rows],
        [row["took_ms"] for row in rows],
        clients,
        _over(begin, rows, end, "draining"),
        _over(begin, rows, end, "rss_kb", 1024),
    )


def _over(
    begin: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], end: Mapping[str, Any],
    key: str, unit: int = 1,
) -> tuple[int, int, int]:  # fmt: skip
    values = (begin[key], max(row[key] for row in rows), end[key])
    return values[0] // unit, values[1] // unit, values[2] // unit


def _table(found: Mapping[str, Figures]) -> str:
    ours, other = found["transaction"], found["plain"]
    lines = [
        f"{COUNT} changes each, {PAUSE_SECONDS} s apart, drain time {DRAIN_SECONDS} s.",
        "Whether a change is live the stand-in does not ask: the bench asked beside it.",
        _line("", [title for title, _how, _well in WAYS.values()], "ratio"),
    ]
    for what, mine, its in (
        ("swap to proven, or live: median ms", median(ours.live_ms), median(other.live_ms)),
        ("the same, worst ms", max(ours.live_ms), max(other.live_ms)),
        ("a change, whole: median ms", median(ours.took_ms), median(other.took_ms)),
        ("the same, worst ms", max(ours.took_ms), max(other.took_ms)),
    ):
        lines.append(_line(what, [f"{mine:.0f}", f"{its:.0f}"], f"{mine / its:.2f}"))
    for what, key in (("calls made", "made"), ("calls lost", "lost")):
        values = [getattr(one.clients, key) for one in found.values()]
        lines.append(_line(what, [str(len(one) if key == "lost" else one) for one in values]))
    for status in ("OK", "UNAVAILABLE"):
        counts = [sum(held.status == status for held in one.clients.held) for one in found.values()]
        lines.append(_line(f"held streams that ended {status}", list(map(str, counts))))
    for what, key in (("workers that drain", "draining"), ("resident MB, all processes", "rss_mb")):
        triples = [getattr(one, key) for one in found.values()]
        ratio = f"{triples[0][1] / triples[1][1]:.2f}" if triples[1][1] else "-"
        lines.append(_line(f"{what}: begin, highest, end", list(map(_triple, triples)), ratio))
    lost = [words for one in found.values() for words in one.clients.lost]
    rows = [row for row in table.kept() if row.plain is not None]
    told = table.count(rows) if rows else "no fault table in .build/: run make faults"
    return "\n".join([*lines, *lost, f"In the fault table: {told}"])


def _triple(values: tuple[int, int, int]) -> str:
    return ", ".join(map(str, values))


def _line(what: str, pair: Sequence[str], ratio: str = "") -> str:
    ours, other = pair
    return f"{what:46}  {ours:>16}  {other:>32}  {ratio:>6}".rstrip()
