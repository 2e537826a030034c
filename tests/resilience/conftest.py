"""One host with a proxy for each balancing method, one for a real OAP and one that fails."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from tests.hosts import lab
from tests.hosts.paths import ROOT
from tests.hosts.plays import play
from tests.hosts.spec import Lab, lab_named
from tests.resilience import fallback
from tests.resilience.load import hold

BALANCES: dict[str, object] = {
    "round-robin": "round_robin",
    "least-conn": "least_conn",
    "random-two": "random_two_least_conn",
    "ip-hash": "ip_hash",
    "hash": {"hash": "client_address"},
}
FIRST_PORT = 11810
STANDIN_PORTS = (11901, 11902)
START_SECONDS = 10.0
# Longer than nginx's timeouts of 60 s and 75 s.
SILENT_SECONDS = 80.0
SILENT_STREAMS = 5


class StandIns:
    """The two stand-in OAPs, processes on this machine."""

    def __init__(self, address: str) -> None:
        """Start both on the laboratory's gateway address."""
        self.address = address
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        for port in STANDIN_PORTS:
            self.start(port)

    def start(self, port: int) -> None:
        """Start one and return when it answers."""
        script = str(Path(__file__).with_name("standin.py"))
        self._processes[port] = subprocess.Popen([sys.executable, script, str(port)])
        with grpc.insecure_channel(f"{self.address}:{port}") as channel:
            grpc.channel_ready_future(channel).result(timeout=START_SECONDS)

    def kill(self, port: int) -> None:
        """Kill one as the kernel kills a process: its connections are reset."""
        process = self._processes.pop(port)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all that run."""
        for port in list(self._processes):
            self.kill(port)


class Vanishing:
    """A stand-in whose machine is gone: nothing that the proxy sends to it is answered."""

    def __init__(self, proxy_pid: int, port: int) -> None:
        """Name the network namespace by a process in it."""
        self._port = port
        self._rule = ["OUTPUT", "-p", "tcp", "--dport", str(port), "-j", "DROP"]
        self._enter = ["nsenter", "--target", str(proxy_pid), "--net"]

    def connections(self) -> int:
        """Count the connections that the proxies hold to it."""
        command = ["ss", "-Htn", "state", "established", "dport", f"= :{self._port}"]
        listed = subprocess.run(
            [*self._enter, *command], check=True, capture_output=True, text=True
        )
        return len(listed.stdout.splitlines())

    def __enter__(self) -> None:
        """Drop what goes there."""
        subprocess.run([*self._enter, "iptables", "-A", *self._rule], check=True)

    def __exit__(self, *_error: object) -> None:
        """Let it through again."""
        subprocess.run([*self._enter, "iptables", "-D", *self._rule], check=True)


@pytest.fixture(scope="session")
def resilience() -> Iterator[Lab]:
    """The laboratory, up."""
    one = lab_named("resilience")
    lab.up(one)
    yield one
    lab.down(one)


@pytest.fixture(scope="session")
def standins(resilience: Lab) -> Iterator[StandIns]:
    """The stand-in OAPs, running."""
    both = StandIns(str(resilience.subnet[1]))
    yield both
    both.stop()


@pytest.fixture(scope="session")
def targets(
    resilience: Lab, standins: StandIns, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The proxies by balancing method, and one in front of the real OAP: address and port each."""
    proxy = resilience.host("proxy1")
    connection = {
        "ansible_connection": "community.docker.docker",
        "ansible_host": proxy.container,
        "ansible_become": False,
    }
    proxies: dict[str, dict[str, object]] = {
        name: {"grpc_proxy_balance": balance} for name, balance in BALANCES.items()
    }
    proxies["real"] = {"grpc_proxy_oap_group": "real_oap"}
    proxies["fallback"] = fallback.SETTINGS
    targets = {}
    for port, (name, settings) in enumerate(proxies.items(), FIRST_PORT):
        own = {"grpc_proxy_name": f"oap-{name}", "grpc_proxy_listen": [{"port": port}]}
        proxies[name] = {**settings, **own}
        targets[name] = f"{proxy.address}:{port}"
    oaps = {
        f"standin{port}": {"oap_address": standins.address, "oap_port": port}
        for port in STANDIN_PORTS
    }
    real = {"oap1": {"oap_address": resilience.host("oap1").address}}
    folder = tmp_path_factory.mktemp("inventory")
    first = next(iter(proxies))
    # The proxies share one host, where apt takes one at a time: the first one installs.
    for name, some in (("first", {first: proxies[first]}), ("all", proxies)):
        children = {
            "skywalking_oap": {"hosts": oaps},
            "real_oap": {"hosts": real},
            "oap_proxy": {"hosts": some, "vars": connection},
        }
        path = folder / f"{name}.json"
        path.write_text(json.dumps({"all": {"children": children}}), encoding="utf-8")
        assert play(str(path), str(ROOT / "site.yml")).code == 0
    return targets


@pytest.fixture(scope="session", autouse=True)
def silent_streams(targets: dict[str, str]) -> Iterator[Future[Counter[str]]]:
    """Streams to the real OAP that are silent while the other tests run."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool.submit(
            lambda: asyncio.run(hold(targets["real"], SILENT_STREAMS, SILENT_SECONDS))
        )


@pytest.fixture
def vanishing(resilience: Lab) -> Vanishing:
    """The second stand-in's machine, to be made to vanish."""
    pid = int(lab.container_of(resilience.host("proxy1")).attrs["State"]["Pid"])
    return Vanishing(pid, STANDIN_PORTS[1])
