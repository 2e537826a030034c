"""A name whose address changes: followed while nginx runs where it can, told where it cannot."""

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

import grpc
import pytest

from tests.faults.playbook import Hosts, Variables
from tests.faults.site import none_lost, steady
from tests.hosts.load import Load
from tests.hosts.oap import HEALTH
from tests.matrix.column import Column

NAME = "oap.names.example"
PROXY, PORT = "names", 11820
# A name server beside the proxy, whose answers are good for a second.
SERVER, SERVER_PORT, UNIT, NAMES = "127.0.0.1", 5353, "names-dns", "/etc/names"
SETTINGS: Variables = {
    "grpc_proxy_name": PROXY,
    "grpc_proxy_listen": [{"port": PORT}],
    "grpc_proxy_resolver": {"addresses": [f"{SERVER}:{SERVER_PORT}"], "valid": "1s"},
}
NAMED: Hosts = {"named": {"oap_address": NAME}}
SINCE = (1, 27)
FOLLOW_SECONDS = 5.0
Point = Callable[[str], None]


@pytest.fixture
def point(column: Column) -> Iterator[Point]:
    """Point the name at an address, for who asks the name server and for who reads /etc/hosts."""
    machine = column.machine
    machine.run(
        "env", "DEBIAN_FRONTEND=noninteractive",
        "apt-get", "install", "--yes", "--no-install-recommends", "dnsmasq-base",
    )  # fmt: skip
    hosts = machine.run("cat", "/etc/hosts")

    def to(address: str) -> None:
        machine.write(NAMES, f"{address} {NAME}\n")
        machine.write("/etc/hosts", f"{hosts}\n{address} {NAME}\n")
        if machine.state(UNIT) == "active":
            machine.run("systemctl", "kill", "--signal=HUP", UNIT)

    to(column.lab.host("oap1").address)
    machine.run(
        "systemd-run", "--quiet", f"--unit={UNIT}", "--property=CollectMode=inactive-or-failed",
        "dnsmasq", "--keep-in-foreground", "--user=root", "--conf-file=/dev/null", "--no-resolv",
        "--no-hosts", f"--addn-hosts={NAMES}", f"--local=/{NAME}/", "--local-ttl=1",
        f"--port={SERVER_PORT}", f"--listen-address={SERVER}", "--bind-interfaces",
    )  # fmt: skip
    yield to
    machine.run("systemctl", "stop", UNIT)
    machine.write("/etc/hosts", f"{hosts}\n")


def served_by(column: Column) -> str:
    """Make a call, and return the address of the OAP that answered it."""
    request_id = uuid4().hex
    with grpc.insecure_channel(
        column.target(PORT), options=(("grpc.enable_http_proxy", 0),)
    ) as channel:
        metadata = (("x-request-id", request_id),)
        channel.unary_unary(HEALTH, bytes, bytes)(b"", timeout=5, metadata=metadata)
    return column.served_by(PROXY, request_id)


def follows(column: Column) -> bool:
    """Tell whether this nginx asks for names while it runs."""
    return tuple(map(int, column.nginx.split("."))) >= SINCE


def test_a_name_that_changes(column: Column, point: Point) -> None:
    """Calls go to the new address without a reload, none lost; else it is told that they do not."""
    first, second = (column.lab.host(name).address for name in ("oap1", "oap2"))
    run = column.play(SETTINGS, oaps=NAMED)
    run.changed()
    told = (
        "resolves the names of named when it starts or reloads, and not while it runs; from nginx "
    )
    assert (told in run.output) != follows(column)
    assert served_by(column) == first
    workers = column.workers(PROXY)

    with Load(column.target(PORT), nginx=column.nginx) as load:
        steady(load)
        point(second)
        time.sleep(FOLLOW_SECONDS)
        steady(load)
        assert served_by(column) == (second if follows(column) else first)
        # It is no change of what was deployed.
        assert column.play(SETTINGS, oaps=NAMED).changed() == 0
        assert column.workers(PROXY) == workers
        # With a reload every nginx asks again.
        assert column.play({**SETTINGS, "grpc_proxy_answer_timeout": "6s"}, oaps=NAMED).changed()
        assert served_by(column) == second
    none_lost(load)


@pytest.mark.usefixtures("point")
def test_a_name_that_nobody_knows(column: Column) -> None:
    """It is refused with the name server's own words, and with the host's where nginx asks that."""
    unknown = {"named": {"oap_address": f"unknown.{NAME}"}}
    column.play(SETTINGS, oaps=NAMED).changed()
    live = column.machine.generation(PORT, column.host.address)

    message = column.play(SETTINGS, oaps=unknown).failure().message

    wanted = f"of unknown.{NAME}, {SERVER} says " if follows(column) else "proxy1 cannot resolve"
    assert wanted in message
    assert "The configuration was not touched." in message
    assert column.machine.generation(PORT, column.host.address) == live
