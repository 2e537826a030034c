"""What a call costs in the proxy: nginx as site.yml configures it beside HAProxy and Envoy.

All proxies stand on one host of one core, in front of the same stand-in OAP, which shares the other
core with the load. One at a time is loaded, in rounds, so that what else the machine does meets all
of them alike; a ratio is taken within a round. Every load is bounded and goes to the laboratory.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import time

from tests.bench import peers
from tests.bench.deployment import inventory, site
from tests.bench.machines import Machine
from tests.bench.variants import CELLS, VARIANTS, Cell, Shape, Variant
from tests.hosts import clients, lab
from tests.hosts.clients.tls import Tls, options
from tests.hosts.progress import LabError, say
from tests.hosts.spec import lab_named

LAB = "bench"
ROUNDS = 5
# Of one measurement: time for the clients to connect and warm up, and the time measured.
SETTLE_SECONDS = 0.7
SECONDS = 1.2
TRIES = 3
# The load ends by itself long before.
MOST_SECONDS = 90
STANDIN_PORTS = (11901, 11902)
PEER_PORT = 11801
VARIANT_PORT = 11811
ON_HOST = Path(__file__).with_name("on_host.py")
LOADS = {
    Shape.PACE: ("-streams", "500", "-unary", "500"),
    Shape.STREAMS: ("-full", "streams"),
    Shape.UNARY: ("-full", "unary"),
}


@dataclass(frozen=True)
class Row:
    """Something that is loaded: where, and the process whose CPU time counts."""

    name: str
    target: str
    pid: int = 0
    tls: Tls | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    cells: tuple[Cell, ...] = CELLS


@dataclass(frozen=True)
class Figures:
    """One measurement.

    What it cost is CPU milliseconds of the proxy in 1,000 calls. Own and busy are shares of its
    core: what the proxy had of it, and what it and all others had.
    """

    cost: float
    p99: float
    rate: float
    own: float
    busy: float
    made: int
    failed: Mapping[str, int]
    lost: int

    @property
    def whole(self) -> bool:
        """Whether every call was answered with OK, and has arrived."""
        return not self.failed and not self.lost


Results = dict[Cell, dict[str, list[Figures]]]


def measure() -> str:
    """Measure all rows under all loads, and return the table."""
    if (os.cpu_count() or 1) < 2:
        raise LabError("a proxy and its load need a core each, and this machine has one")
    load = clients.go_program(Path(__file__).with_name("load"))
    one = lab_named(LAB)
    try:
        lab.down(one)
        lab.up(one)
        oap, proxy = Machine(one.host("standin1")), Machine(one.host("proxy1"))
        listen = [f":{port}" for port in STANDIN_PORTS]
        oap.start("standin", STANDIN_PORTS, oap.install(load), "standin", *listen)
        direct = f"{oap.host.address}:{STANDIN_PORTS[0]}"
        rows = [*_peers(proxy, oap), *_variants(proxy, oap)]
        straight = tuple(cell for cell in CELLS if cell.shape != Shape.PACE)
        rows.append(Row("no proxy", direct, cells=straight))
        results = _rounds(rows, lambda row, cell: _figures(load, direct, oap, proxy, row, cell))
    finally:
        lab.down(one)
    return _table(rows, results)


def _peers(proxy: Machine, oap: Machine) -> Iterator[Row]:
    for port, template in enumerate(peers.PEERS, PEER_PORT):
        version = peers.start(proxy, template, port, oap.host.address, STANDIN_PORTS)
        yield Row(version, f"{proxy.host.address}:{port}", proxy.pid(f"bench-{port}"))


def _variants(proxy: Machine, oap: Machine) -> Iterator[Row]:
    oaps = {
        f"oap{port}": {"oap_address": oap.host.address, "oap_port": port} for port in STANDIN_PORTS
    }
    placed = list(enumerate(VARIANTS, VARIANT_PORT))
    proxies = {f"bench-{port}": _settings(variant, port) for port, variant in placed}
    first = dict(list(proxies.items())[:1])
    with tempfile.TemporaryDirectory() as folder:
        # They share one host, where apt takes one at a time: the first one installs.
        for some in (first, proxies) if len(proxies) > 1 else (first,):
            site(inventory(Path(folder) / "hosts.json", proxy.host, oaps, some))
    for port, variant in placed:
        yield Row(
            variant.name.replace("nginx", f"nginx {proxy.version('nginx', '-v')}", 1),
            f"{proxy.host.address}:{port}",
            proxy.pid(f"bench-{port}"),
            variant.tls,
            variant.metadata,
            variant.cells,
        )


def _settings(variant: Variant, port: int) -> dict[str, object]:
    listen = [{"port": port, **variant.listen}]
    return {
        **variant.settings,
        "grpc_proxy_name": f"bench-{port}",
        "grpc_proxy_listen": listen,
    }


def _rounds(rows: list[Row], figures: Callable[[Row, Cell], Figures]) -> Results:
    results: Results = {cell: {} for cell in CELLS}
    for number in range(ROUNDS):
        say(f"round {number + 1} of {ROUNDS}")
        for cell in CELLS:
            # Nobody is always the first, or always after the same one.
            for row in rows[number % len(rows) :] + rows[: number % len(rows)]:
                if cell in row.cells:
                    results[cell].setdefault(row.name, []).append(figures(row, cell))
    return results


def _figures(
    load: Path, direct: str, oap: Machine, proxy: Machine, row: Row, cell: Cell
) -> Figures:
    """Load one proxy once; where its clients were not connected in time, once more."""
    watch = ["python3", "-c", ON_HOST.read_text(encoding="utf-8"), str(row.pid)]
    calls = [
        "taskset", "--cpu-list", str(oap.host.core), str(load), "run",
        "-clients", str(cell.clients), "-standin", direct, *LOADS[cell.shape],
    ]  # fmt: skip
    metadata = [f"{name}={value}" for name, value in row.metadata.items()]
    for attempt in range(1, TRIES + 1):
        begin = time() + SETTLE_SECONDS * attempt
        end = begin + SECONDS
        with options(row.tls) as over, ThreadPoolExecutor(max_workers=1) as pool:
            watched = pool.submit(proxy.run, *watch, str(begin), str(end))
            between = ["-begin", str(begin), "-end", str(end)]
            done = subprocess.run(
                [*calls, *between, *over, row.target, *metadata],
                capture_output=True, text=True, timeout=MOST_SECONDS, check=False,
            )  # fmt: skip
            used = json.loads(watched.result())
        if done.returncode == 0:
            break
    else:
        raise LabError(f"{row.name}, {cell}: {done.stderr[-2000:]}")
    told = json.loads(done.stdout)
    share = used["cpu"] / used["seconds"]
    return Figures(
        cost=share * told["seconds"] / max(1, told["calls"]) * 1e6,
        p99=told["p99_ms"],
        rate=told["calls"] / told["seconds"],
        own=share,
        busy=used["busy"],
        made=told["made"],
        failed=told["failed"],
        lost=told["lost"],
    )


def _table(rows: list[Row], results: Results) -> str:
    peer, plain = rows[0].name, rows[len(peers.PEERS)].name
    width = max(len(row.name) for row in rows)
    lines = [
        "Medians of the rounds (and their spread). CPU: milliseconds of the proxy in 1,000 calls;",
        "own, all: shares of its core, what the proxy had of it and what it and all others had.",
        f"Ratios are taken within a round: of CPU to {peer} and to {plain}, of p99 to {plain}.",
    ]
    for cell, by_row in results.items():
        head = ["CPU", "to peer", "to plain", "p99 ms", "to plain", "calls/s", "own", "all"]
        lines += ["", f"{cell.shape}, {cell.clients} clients", _line("", width, head)]
        lines += [
            _line(name, width, _cells(some, by_row[peer], by_row[plain]))
            for name, some in by_row.items()
        ]
    every = [
        (f"{name}, {cell.shape}, {cell.clients} clients", one)
        for cell, by_row in results.items()
        for name, figures in by_row.items()
        for one in figures
    ]
    others = median(one.busy - one.own for _where, one in every)
    bad = [f"{where}: {one.failed}, {one.lost} lost" for where, one in every if not one.whole]
    lines += [
        "",
        f"{sum(one.made for _where, one in every)} calls, "
        f"{sum(sum(one.failed.values()) for _where, one in every)} failed, "
        f"{sum(one.lost for _where, one in every)} lost; "
        f"other programs had {others:.0%} of the proxies' core",
        *bad,
    ]
    table = "\n".join(lines)
    if bad:
        raise LabError(f"what fails costs nothing: there are calls that failed\n{table}")
    return table


def _cells(figures: list[Figures], peer: list[Figures], plain: list[Figures]) -> list[str]:
    costs = [one.cost for one in figures]
    tails = [one.p99 for one in figures]
    by_cost = [
        _spread(costs, 1),
        _ratios(costs, [one.cost for one in peer]),
        _ratios(costs, [one.cost for one in plain]),
    ]
    return [
        *(by_cost if any(costs) else ["-"] * 3),
        f"{median(tails):.1f}",
        _ratios(tails, [one.p99 for one in plain]),
        f"{median(one.rate for one in figures):.0f}",
        f"{median(one.own for one in figures):.0%}",
        f"{median(one.busy for one in figures):.0%}",
    ]


def _line(name: str, width: int, cells: list[str]) -> str:
    cost, to_peer, to_plain, p99, tail, rate, own, busy = cells
    return (
        f"{name:{width}}  {cost:20}  {to_peer:16}  {to_plain:16}{p99:>6}  {tail:16}{rate:>7}"
        f"  {own:>4}  {busy:>4}"
    )


def _ratios(values: list[float], reference: list[float]) -> str:
    return _spread([one / other for one, other in zip(values, reference, strict=True)], 2)


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
