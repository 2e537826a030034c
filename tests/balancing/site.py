"""Two proxies on one host in front of the stand-ins, and how calls through them fell."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.balancing.backends import PORTS, Backends
from tests.balancing.load import KEEP_ALIVE, Call, calls
from tests.hosts import engine, lab
from tests.hosts.paths import ROOT
from tests.hosts.plays import play
from tests.hosts.spec import Lab

LISTEN = {"first": 11800, "second": 11801}
EVEN = (1, 1, 1)
WEIGHTS = (5, 3, 2)
SLOW = "oap3"
SLOW_SECONDS = 0.05
# From the range for benchmarks, RFC 2544: on the laboratory's bridge, and gone with it.
NETWORKS = tuple(f"198.18.{number}.1" for number in range(20))
NEIGHBOURS = tuple(f"198.18.0.{number}" for number in range(1, 21))
POLL_SECONDS = 0.05
SECONDS = 10.0

Variables = Mapping[str, object]


@dataclass(frozen=True)
class Setup:
    """What the inventory says of one proxy: the method, and variables of each OAP."""

    balance: object
    oaps: tuple[Variables, Variables, Variables] = ({}, {}, {})

    @classmethod
    def weighted(cls, balance: object) -> Setup:
        """Return the method with weights."""
        first, second, third = ({"oap_weight": weight} for weight in WEIGHTS)
        return cls(balance, (first, second, third))


@dataclass(frozen=True)
class Row:
    """One line of the table at the end."""

    method: str
    case: str
    oap1: str
    oap2: str
    oap3: str
    refused: str
    most: str
    seconds: str


@dataclass(frozen=True)
class Fall:
    """How calls fell: each call, and the calls and the most at a time that each OAP counted."""

    calls: list[Call]
    counted: tuple[int, ...]
    most: tuple[int, ...]

    @property
    def codes(self) -> Counter[str]:
        """The statuses of all calls."""
        return Counter(call.code for call in self.calls)


@dataclass
class Site:
    """The laboratory with its proxies, its OAPs and its clients."""

    lab: Lab
    backends: Backends
    directory: Path
    rows: list[Row]
    _live: dict[str, Setup] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Give the clients their addresses, and install: apt takes one at a time."""
        (network,) = engine.connect().networks.list(names=[f"^{self.lab.network}$"])
        bridge = f"br-{str(network.id)[:12]}"
        subprocess.run(
            ["ip", "-batch", "-"],
            input="".join(
                f"address replace {address}/32 dev {bridge}\n"
                for address in sorted({*NETWORKS, *NEIGHBOURS})
            ),
            check=True, text=True,
        )  # fmt: skip
        self.have({"first": Setup("round_robin")})

    def have(self, setups: dict[str, Setup]) -> None:
        """Have the proxies as the inventory says, by a run of site.yml when they are not."""
        if setups == self._live:
            return
        children: dict[str, object] = {}
        proxies = {}
        for proxy, setup in setups.items():
            group = f"{proxy}_oaps"
            children[group] = {
                "hosts": {
                    f"{proxy}-{name}": {
                        "oap_address": self.backends.address, "oap_port": port, **variables,
                    }
                    for (name, port), variables in zip(PORTS.items(), setup.oaps, strict=True)
                }
            }  # fmt: skip
            proxies[proxy] = {
                "grpc_proxy_name": f"oap-{proxy}",
                # What is counted must be counted over all of them.
                "grpc_proxy_worker_processes": 2,
                "grpc_proxy_listen": [{"port": LISTEN[proxy]}],
                "grpc_proxy_oap_group": group,
                "grpc_proxy_balance": setup.balance,
            }
        connection = {
            "ansible_connection": "community.docker.docker",
            "ansible_host": self.lab.host("proxy1").container,
            "ansible_become": False,
        }
        children["oap_proxy"] = {"hosts": proxies, "vars": connection}
        path = self.directory / "inventory.json"
        path.write_text(json.dumps({"all": {"children": children}}), encoding="utf-8")
        self._live = {}
        assert play(str(path), str(ROOT / "site.yml")).code == 0
        self._live = setups

    def have_method(self, balance: object) -> None:
        """Have a method on the first proxy with even weights, on the second with others."""
        self.have({"first": Setup(balance), "second": Setup.weighted(balance)})

    def target(self, proxy: str) -> tuple[str, int]:
        """Return address and port of a proxy."""
        return self.lab.host("proxy1").address, LISTEN[proxy]

    def measure(
        self,
        proxy: str,
        method: str,
        case: str = "",
        *,
        slow: bool = False,
        clients: Sequence[str] = NETWORKS,
        methods: Sequence[str] = (KEEP_ALIVE,),
    ) -> Fall:
        """Make a thousand calls; what the clients were told is what the OAPs have counted."""
        self.backends.begin({SLOW: SLOW_SECONDS} if slow else None)
        begin = time.monotonic()
        made: list[Call] = []
        asyncio.run(calls(self.target(proxy), clients, made, methods))
        seconds = time.monotonic() - begin
        fall = self.fall(made)
        refused = fall.codes.total() - fall.codes["OK"]
        most = "/".join(map(str, fall.most))
        first, second, third = map(str, fall.counted)
        self.rows.append(
            Row(method, case, first, second, third, str(refused), most, f"{seconds:.1f}")
        )
        return fall

    def fall(self, made: list[Call]) -> Fall:
        """Put together what clients and OAPs saw, which must be the same."""
        counts = self.backends.counts()
        counted = tuple(counts[name].calls for name in PORTS)
        told = Counter(call.oap for call in made)
        assert tuple(told[name] for name in PORTS) == counted, f"told {told}, counted {counts}"
        return Fall(made, counted, tuple(counts[name].most for name in PORTS))

    def kill(self, *names: str) -> None:
        """Kill OAPs, and wait until the proxies hold no connection to them."""
        for name in names:
            self.backends.kill(name)
        ports = " or ".join(f"dport = :{PORTS[name]}" for name in names)
        proxy = lab.container_of(self.lab.host("proxy1"))
        end = time.monotonic() + SECONDS
        while True:
            code, listed = lab.run(proxy, ["ss", "-Htn", "state", "established", ports])
            assert code == 0, listed
            if not listed:
                return
            assert time.monotonic() < end, f"connections to a killed OAP stay: {listed}"
            time.sleep(POLL_SECONDS)
