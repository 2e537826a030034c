"""A proxy host of the laboratory with everything that a test does to it."""

import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.faults.machine import Machine
from tests.faults.on_host import ask
from tests.faults.playbook import Failure, Hosts, Run, Variables, inventory, play
from tests.faults.secrets import TLS_LISTENER, planted
from tests.hosts import inside, lab
from tests.hosts.load import Load
from tests.hosts.spec import Host, Lab

# nginx 1.22 once more, as a container.
CONTAINER = "1.22 (container)"
# The proxy host for each nginx, by the version that its distribution ships.
HOSTS = {
    "1.18": "bullseye",
    "1.22": "proxy1",
    "1.26": "trixie",
    "1.30": "sid",
    CONTAINER: "docker",
}
USUAL = "1.22"
EVERY = tuple(version for version in HOSTS if version != CONTAINER)

PORT = 11800
UNIT = "oap-proxy"
SITE = "site.yml"
VERIFY = "playbooks/verify.yml"
ROLLBACK = "playbooks/rollback.yml"
UNINSTALL = "playbooks/uninstall.yml"
CONFIGURE = "tests/faults/configure.yml"
TWICE = "tests/faults/configure_twice.yml"
MODULE = "skywalking.oap_proxy.nginx_config"
ROOT = f"/etc/nginx/{UNIT}"
GENERATION = re.compile(r"[0-9a-f]{12}")
# The shortest that the role takes: nginx gives up a bind after 2.5 s. What a test has brought live
# stays on disk for others.
SETTINGS: Variables = {
    "grpc_proxy_proof_timeout": 4,
    "grpc_proxy_reload_command": True,
    "grpc_proxy_keep_generations": 50,
}
IN_CONTAINER: Variables = {
    "grpc_proxy_install": "container",
    "grpc_proxy_container_pull": "never",
    # Where a snippet of the tests has its files.
    "grpc_proxy_container_mounts": ["/etc/oap-users"],
    "grpc_proxy_reload_command": False,
}
RELOAD = f"/usr/local/sbin/{UNIT}-reload"
MIN_CALLS = 10


@dataclass
class Site:
    """A host with one version of nginx, in front of two real OAPs."""

    lab: Lab
    host: Host
    nginx: str
    machine: Machine
    directory: Path
    image: str = ""
    """The image of nginx, where it is a container."""
    thorough: bool = False
    """Whether all is asked for, however long it takes."""
    usual: str = ""
    """The generation that the inventory stands for without the variables of a test."""
    own_nginx: int = 0
    """The main process of the host's own nginx, which nobody may touch."""
    _holders: list[int] = field(default_factory=list)
    _had: dict[str, str] = field(default_factory=dict)
    """The generations that settings of tests stand for."""
    _runs: Iterator[int] = field(default_factory=count)
    """Runs may be started together."""

    @property
    def address(self) -> str:
        """The address of the host."""
        return self.host.address

    @property
    def version(self) -> str:
        """The version of nginx."""
        return self.nginx.partition(" ")[0]

    @property
    def master(self) -> int:
        """The process id of the master process, 0 when it does not run."""
        if not self.image:
            return self.machine.pid(UNIT)
        return int(self.machine.run("docker", "inspect", "--format={{.State.Pid}}", UNIT))

    @property
    def _settings(self) -> Variables:
        """What is asked for in every run."""
        settings = {**SETTINGS, **planted().settings}
        if not self.image:
            return settings
        return {**settings, **IN_CONTAINER, "grpc_proxy_container_image": self.image}

    def play(
        self,
        settings: Variables | None = None,
        *arguments: str,
        playbook: str = SITE,
        oaps: Hosts | None = None,
    ) -> Run:
        """Run a playbook on the host, named proxy1, the variables of the test given to it."""
        return self.play_on({"proxy1": settings or {}}, *arguments, playbook=playbook, oaps=oaps)

    def play_on(
        self,
        proxies: dict[str, Variables],
        *arguments: str,
        playbook: str = SITE,
        oaps: Hosts | None = None,
    ) -> Run:
        """Run a playbook on proxies by any names, all of them on this host.

        ``oaps`` are beside those of the laboratory, or in their place.
        """
        path = inventory(
            self.directory / f"{next(self._runs)}.yml",
            {
                name: {
                    **self._settings,
                    **settings,
                    "ansible_host": self.machine.name,
                }
                for name, settings in proxies.items()
            },
            {
                "skywalking_oap": {
                    **{
                        host.name: {"oap_address": host.address} for host in self.lab.of_kind("oap")
                    },
                    **(oaps or {}),
                }
            },
        )
        return play(path, playbook, "--diff", *arguments)

    def load(self) -> Load:
        """Return calls through the proxy, to be begun."""
        return Load(f"{self.address}:{PORT}", planted().metadata, self.version)

    def generation(self) -> str:
        """Return the id that is live, which there must be."""
        live = self.machine.generation(PORT, self.address)
        assert GENERATION.fullmatch(live), live
        return live

    def told_from_afar(self, address: str) -> str:
        """Return what the proof tells to another machine than the host, which must be nothing."""
        return ask(address, PORT).generation

    def workers(self) -> set[int]:
        """Return the worker processes, those that drain too."""
        found = self.machine.run("pgrep", "--parent", str(self.master))
        return set(map(int, found.split()))

    def expectation(self) -> dict[str, Any]:
        """Return what the generation on disk says that it must answer, and where."""
        told: dict[str, Any] = json.loads(self.machine.run("cat", f"{ROOT}/current/proof.json"))
        return told

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
        live = self.machine.generation(PORT, self.address)
        if not GENERATION.fullmatch(live) or live != self.current():
            self.play({"grpc_proxy_allow_restart": True}).changed()
            assert self.generation() == self.current() == self.usual

    def have(self, settings: Variables | None = None) -> str:
        """Have the generation of some settings live, by default the usual one; return its id."""
        known = self._had.get(str(settings), None) if settings else self.usual
        if known is None or (self.generation() != known and not self._bring(known)):
            wanted = {**(settings or {}), "grpc_proxy_allow_restart": True}
            self.play(wanted, playbook=CONFIGURE).changed()
        live = self._had[str(settings)] = self.generation()
        assert known in {None, live}
        return live

    def _bring(self, generation: str) -> bool:
        """Have a generation live that is on disk, and tell whether that went well."""
        if self.image:
            settings = {"grpc_proxy_generation": generation}
            return self.play(settings, playbook=ROLLBACK).code == 0
        return self.machine.status(RELOAD, "--generation", generation) == 0

    def have_usual(self) -> str:
        """Have the usual generation live, and return its id."""
        return self.have()

    def own_nginx_pid(self) -> int:
        """Return the main process of the host's own nginx; its default site must answer."""
        page = inside.from_there(self.machine.container, lambda: get("http://127.0.0.1:80/"))
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


def get(url: str) -> str:
    """Return a page, whatever proxy this machine has for others."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=5) as answer:
        return str(answer.read().decode())


def steady(load: Load, seconds: float = 0.5) -> None:
    """Let the calls of a load go on for a while."""
    time.sleep(seconds)
    assert load.made, "the load makes no calls"


def none_lost(load: Load) -> None:
    """Every call of a load that has ended was answered with OK, as far as nginx itself can."""
    assert load.made >= MIN_CALLS, f"a load of {load.made} calls proves nothing"
    lost = load.blamed
    assert not lost, f"{len(load.lost)} of {load.made} calls lost: {lost[:1]}"


def listen(*entries: Variables) -> dict[str, Any]:
    """Return the settings for some listeners beside the one that speaks TLS."""
    return {"grpc_proxy_listen": [*entries, TLS_LISTENER]}


def together(proxies: Sequence[Site], work: Callable[[Site], None]) -> None:
    """Do the same on several hosts at the same time; tell where it failed."""
    with ThreadPoolExecutor(len(proxies)) as pool:
        done = {proxy.nginx: pool.submit(work, proxy) for proxy in proxies}
    failed = []
    for nginx, future in done.items():
        error = future.exception()
        if isinstance(error, Exception):
            error.add_note(f"with nginx {nginx}")
            failed.append(error)
        elif error is not None:
            raise error
    if failed:
        raise ExceptionGroup(f"{len(failed)} of {len(proxies)} hosts", failed)


def snippet(lines: str, place: str = "server") -> dict[str, Any]:
    """Return the settings that put lines of the user's own into a place."""
    return {"grpc_proxy_snippets": {place: lines}}


def refused(failure: Failure, reason: str, *parts: str) -> dict[str, Any]:
    """Hold that the module failed for a reason, and that its message says some things."""
    assert failure.result.get("reason") == reason, failure.result
    for part in parts:
        assert part in failure.message, failure.message
    return failure.result
