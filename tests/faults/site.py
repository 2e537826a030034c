"""The proxy host of the laboratory with everything that a test does to it."""

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.load import Load
from tests.faults.machine import Machine
from tests.faults.playbook import Run, Variables, inventory, play
from tests.hosts import lab
from tests.hosts.spec import Lab

PORT = 11800
UNIT = "oap-proxy"
SITE = "site.yml"
VERIFY = "playbooks/verify.yml"
UNINSTALL = "playbooks/uninstall.yml"
CONFIGURE = "tests/faults/configure.yml"
ROOT = f"/etc/nginx/{UNIT}"
GENERATION = re.compile(r"[0-9a-f]{12}")
# The shortest that the role takes: nginx gives up a bind after 2.5 s.
SETTINGS: Variables = {"grpc_proxy_proof_timeout": 4}
MIN_CALLS = 10


@dataclass(frozen=True)
class Row:
    """One line of the table at the end."""

    fault: str
    reason: str
    live: str
    calls: str
    lost: str


@dataclass
class Story:
    """What the tests have seen, for the table at the end."""

    rows: list[Row] = field(default_factory=list)

    def tell(self, fault: str, reason: str, live: str, load: Load | None = None) -> None:
        """Note one fault."""
        calls, lost = ("-", "-") if load is None else (str(load.made), str(len(load.lost)))
        if load is not None and load.lost:
            lost += f" in {load.gap:.2f} s"
        self.rows.append(Row(fault, reason, live, calls, lost))


@dataclass
class Site:
    """proxy1 in front of two real OAPs."""

    lab: Lab
    machine: Machine
    directory: Path
    usual: str = ""
    """The generation that the inventory stands for without the variables of a test."""
    own_nginx: int = 0
    """The main process of the host's own nginx, which nobody may touch."""
    _holders: list[int] = field(default_factory=list)
    _runs: int = 0

    def play(self, settings: Variables | None = None, *arguments: str, playbook: str = SITE) -> Run:
        """Run a playbook on proxy1, the variables of the test given to it."""
        return self.play_on({"proxy1": settings or {}}, *arguments, playbook=playbook)

    def play_on(self, proxies: dict[str, Variables], *arguments: str, playbook: str = SITE) -> Run:
        """Run a playbook on proxies by any names, all of them on this host."""
        self._runs += 1
        path = inventory(
            self.directory / f"{self._runs}.yml",
            {
                name: {**SETTINGS, **settings, "ansible_host": self.machine.name}
                for name, settings in proxies.items()
            },
            {
                "skywalking_oap": {
                    host.name: {"oap_address": host.address} for host in self.lab.of_kind("oap")
                }
            },
        )
        return play(path, playbook, *arguments)

    def load(self) -> Load:
        """Return calls through the proxy, to be begun."""
        return Load(f"{self.lab.host('proxy1').address}:{PORT}")

    def generation(self) -> str:
        """Return the id that is live, which there must be."""
        live = self.machine.generation()
        assert GENERATION.fullmatch(live), live
        return live

    def current(self) -> str:
        """Return the id that is on disk."""
        return self.machine.run("readlink", f"{ROOT}/current").rpartition("/")[2]

    def hold(self, port: int) -> int:
        """Have another program hold a port."""
        pid = self.machine.hold(port)
        self._holders.append(pid)
        return pid

    def release(self, pid: int) -> None:
        """End the program that holds a port."""
        self.machine.end(pid)
        self._holders.remove(pid)

    def settle(self) -> None:
        """Have a generation live that is on disk too, whatever the test before has left."""
        for pid in list(self._holders):
            self.release(pid)
        live = self.machine.generation()
        if not GENERATION.fullmatch(live) or live != self.current():
            self.play({"grpc_proxy_allow_restart": True}).changed()
            assert self.generation() == self.current() == self.usual

    def have_usual(self) -> str:
        """Have the usual generation live, and return its id."""
        if self.generation() != self.usual:
            self.play({"grpc_proxy_allow_restart": True}).changed()
        assert self.generation() == self.usual
        return self.usual

    def own_nginx_pid(self) -> int:
        """Return the main process of the host's own nginx; its default site must answer."""
        page = self.machine.run("python3", "-c", _GET)
        assert "Welcome to nginx" in page
        return self.machine.pid("nginx")

    def stop_oap(self, name: str) -> None:
        """Stop an OAP."""
        lab.container_of(self.lab.host(name)).stop(timeout=5)

    def start_oap(self, name: str) -> None:
        """Start an OAP and wait until it serves."""
        host = self.lab.host(name)
        lab.container_of(host).start()
        lab.wait(lab.container_of(host), host)


_GET = """\
import urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
print(opener.open("http://127.0.0.1:80/", timeout=5).read().decode())
"""


def steady(load: Load, seconds: float = 0.5) -> None:
    """Let the calls of a load go on for a while."""
    time.sleep(seconds)
    assert load.made, "the load makes no calls"


def none_lost(load: Load) -> None:
    """Every call of a load that has ended was answered with OK."""
    assert load.made >= MIN_CALLS, f"a load of {load.made} calls proves nothing"
    assert not load.lost, f"{len(load.lost)} of {load.made} calls lost, first {load.lost[0]}"
