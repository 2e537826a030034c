"""nginx does not take what it is told to reload, and its exit status does not tell."""

from dataclasses import replace
from typing import Any

import pytest

from tests.faults.fault import GREEN, Fault, undergo
from tests.faults.secrets import NAME, planted
from tests.faults.site import (
    CONFIGURE,
    EVERY,
    GENERATION,
    MODULE,
    PORT,
    USUAL,
    Site,
    listen,
    snippet,
    together,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(*EVERY, container=True)
TAKEN, FREE = 11801, 11802
# Of nobody: reserved for documentation.
ELSEWHERE = "203.0.113.9"
NOWHERE = "/nonexistent"
CHANGE = {"grpc_proxy_balance": "least_conn"}
A_RESTART = (f":{PORT}", "wildcard or a single address", "Set grpc_proxy_allow_restart")
RESTART_SECONDS = 10.0
# A wildcard and a single address may be open together, where both share the port.
NO_CLASH = {"reason": GREEN, "says": ()}


def single(proxy: Site) -> dict[str, Any]:
    """Return the settings for one address instead of all."""
    return listen({"address": proxy.address, "port": PORT})


def zone(key: str, size: str = "1m") -> dict[str, Any]:
    """Return the settings for a limit of the user's own."""
    return snippet(f"limit_req_zone {key} zone=faults:{size} rate=1000r/s;", "http")


def without_key() -> dict[str, Any]:
    """Return the settings for a key that is not there."""
    paths = {"private_key_path": f"{NOWHERE}/key.pem"}
    certificate = planted().identity.chain
    return {"grpc_proxy_tls": {"certificate": certificate, **paths, "server_name": NAME}}


TAKEN_PORT = Fault(
    "port of another program",
    listen({"port": PORT}, {"port": TAKEN}),
    "not_live",
    (f"another program holds 0.0.0.0:{TAKEN}", "ss -ltnp", "change grpc_proxy_listen"),
    log="98: Address already in use",
    rolled_back=True,
    holds=(TAKEN,),
)
FAULTS = [
    TAKEN_PORT,
    replace(
        TAKEN_PORT,
        name="port of another program, one of several listeners",
        settings=listen({"port": PORT}, {"port": FREE}, {"port": TAKEN}),
    ),
    Fault(
        "address that is not the host's",
        listen({"port": PORT}, {"port": FREE, "address": ELSEWHERE}),
        "rejected",
        (f"{ELSEWHERE}:{FREE}", "Cannot assign requested address"),
        log="99: Cannot assign requested address",
    ),
    Fault("from all addresses to one", single, "restart_needed", A_RESTART, contained=NO_CLASH),
    Fault(
        "from one address to all",
        listen({"port": PORT}),
        "restart_needed",
        A_RESTART,
        first=single,
        contained=NO_CLASH,
    ),
    Fault(
        "limit_req_zone with another key under its name",
        zone("$server_name"),
        "restart_needed",
        ('"faults" uses the "$server_name" key', "grpc_proxy_allow_restart"),
        log='"$binary_remote_addr" key',
        rolled_back=True,
        first=zone("$binary_remote_addr"),
    ),
    Fault(
        "limit_req_zone of another size",
        zone("$binary_remote_addr", "2m"),
        GREEN,
        first=zone("$binary_remote_addr"),
    ),
    Fault(
        "too few descriptors",
        CHANGE,
        "not_live",
        ("Too many open files", "too few descriptors: raise LimitNOFILE"),
        log="24: Too many open files",
        rolled_back=True,
        to_master="prlimit --pid $MASTER --nofile=8:",
        from_master="prlimit --pid $MASTER --nofile=1024:",
    ),
    Fault(
        "workers that end at their start",
        snippet(f"working_directory {NOWHERE};", "main"),
        "not_live",
        ("In a rehearsal", "worker processes", NOWHERE),
        log=f'chdir("{NOWHERE}") failed',
    ),
    Fault(
        "key missing, SIGHUP alone",
        without_key(),
        "rejected",
        (f'"{NOWHERE}/key.pem"', "No such file"),
        log="No such file",
        hangup=True,
    ),
    Fault(
        "name does not resolve, SIGHUP alone",
        snippet("upstream users { server oap.invalid:11800; }", "http"),
        "rejected",
        ('host not found in upstream "oap.invalid:11800"',),
        log="host not found",
        hangup=True,
    ),
    Fault(
        "master process stopped",
        CHANGE,
        "not_live",
        ("SIGSTOP", "kill -CONT"),
        to_master="kill -STOP $MASTER",
        from_master="kill -CONT $MASTER",
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_row(proxies: tuple[Site, ...], story: Story, fault: Fault) -> None:
    """One row of the table."""
    together(proxies, lambda proxy: undergo(proxy, story, fault))


@pytest.mark.nginx(USUAL)
def test_restart_that_is_allowed(proxy: Site, story: Story) -> None:
    """From all addresses to one, where grpc_proxy_allow_restart is set."""
    live = proxy.have_usual()
    allowed = {"grpc_proxy_allow_restart": True}
    with proxy.load() as load:
        run = proxy.play({**single(proxy), **allowed}, playbook=CONFIGURE)
        assert run.changed() == 1
    assert run.of_module(MODULE)["action"] == "restarted"
    assert GENERATION.fullmatch(proxy.generation())
    assert "Connection refused" in proxy.machine.generation()
    assert load.gap < RESTART_SECONDS
    story.tell("from all addresses to one, restart allowed", "none: restarted", "the new one", load)
    assert proxy.play(allowed, playbook=CONFIGURE).changed() == 1
    assert proxy.generation() == live
