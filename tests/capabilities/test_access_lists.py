"""Access lists: who is let in, what the others are told, and who may ask for the proof."""

from __future__ import annotations

import json

import pytest

from tests.capabilities import wire
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import VERIFY, Deployment
from tests.hosts import oap
from tests.hosts.clients import CLIENTS, Client, call

NAME = "lists"
PORT = 13100
OPEN, DENIED, ELSEWHERE, NARROW, ONLY_4, ONLY_6, FORGED = range(PORT, PORT + 7)
CODES = {True: "OK", False: "PERMISSION_DENIED"}
# Every location that is for the host alone.
PROOFS = (
    "/-/oap-proxy/generation",
    "/-/oap-proxy/oap/oap1/grpc.health.v1.Health/Check",
    "/-/oap-proxy/service/by_name-0/grpc.health.v1.Health/Check",
    "/-/oap-proxy/",
)
NO_PATH = "the whole address"
SPELLINGS = {
    "as it is": "{path}",
    "twice the slash": "/{path}",
    "slashes within": "/-//oap-proxy/{rest}",
    "a dot": "/./-/./oap-proxy/{rest}",
    "two dots": "/skywalking.v3.EventService/../-/oap-proxy/{rest}",
    "two dots, encoded": "/x/%2e%2E/-/oap-proxy/{rest}",
    "the dash encoded": "/%2d/oap%2Dproxy/{rest}",
    "slashes encoded": "/-%2foap-proxy%2F{rest}",
    "letters encoded": "/-/%6fap-proxy/{rest}",
    "a query": "{path}?x=/grpc.health.v1.Health/Check",
    "a fragment": "{path}#/grpc.health.v1.Health/Check",
    "in capitals": "/-/OAP-PROXY/{rest}",
    NO_PATH: "http://127.0.0.1{path}",
}
TWO_HOSTS = "another name beside the authority"
DISGUISES: dict[str, dict[str, str]] = {
    "none": {},
    "the probe's metadata": {"x-oap-proxy-probe": "unavailable"},
    "the proxy's address": {
        "x-forwarded-for": "{address}, 127.0.0.1",
        "x-real-ip": "{address}",
        "forwarded": "for={address}",
        "x-original-url": "/-/oap-proxy/generation",
    },
    # Over IPv6 this counts as the client's address here, and it is the one that was called.
    "the proxy's address in IPv6": {"x-real-ip": "{address6}"},
    TWO_HOSTS: {"host": "127.0.0.1"},
}


@pytest.fixture(scope="module")
def settings(proxies: Proxies) -> dict[str, object]:
    """Lists for all and for each listener; every one of them shuts the host itself out.

    What comes over IPv6 from the gateway may name another address, as behind a further proxy:
    so ranges can be tested that no client here is in.
    """
    lab = proxies(NAME, PORT).lab
    v4, v6 = str(lab.subnet[1]), str(lab.subnet6[1])
    lists: dict[int, dict[str, list[str]]] = {
        OPEN: {},
        DENIED: {"deny": [v4, v6]},
        ELSEWHERE: {"allow": ["203.0.113.0/24", "2001:db8:1::/48"]},
        # What is denied stays out, even if the other list holds it.
        NARROW: {"allow": [str(lab.subnet), str(lab.subnet6)], "deny": [v4]},
        ONLY_4: {"allow": [str(lab.subnet)]},
        ONLY_6: {"allow": [v6]},
        FORGED: {"allow": ["198.51.100.0/25", "2001:db8:2::7", v4]},
    }
    return {
        "grpc_proxy_listen": [{"port": port, **given} for port, given in lists.items()],
        "grpc_proxy_deny": [
            "127.0.0.0/8",
            "::1",
            str(lab.host("proxy1").address),
            "198.51.100.64/26",
            "2001:db8:3::/48",
        ],
        "grpc_proxy_services": [
            {
                "name": "by_name",
                "server_name": "by.name",
                "servers": [{"address": lab.host("oap2").address, "port": oap.GRPC_PORT}],
            }
        ],
        "grpc_proxy_snippets": {"http": f"set_real_ip_from {v6};\nreal_ip_header X-Real-IP;\n"},
    }


@pytest.fixture(scope="module")
def proxy(proxies: Proxies, settings: dict[str, object]) -> Deployment:
    """The proxy, live and proven though its lists shut its own host out."""
    made = proxies(NAME, PORT)
    made.deploy(settings)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_every_client_is_told(proxy: Deployment, client: Client) -> None:
    """A client of any kind that may not call reads PERMISSION_DENIED."""
    outcome = call(client, f"{proxy.address}:{DENIED}", oap.HEALTH)
    assert outcome.code == "PERMISSION_DENIED"
    assert outcome.message == f"{NAME}: this client is not allowed (403)"


@pytest.mark.parametrize(
    ("port", "over_4", "over_6"),
    [
        (OPEN, True, True),
        (DENIED, False, False),
        (ELSEWHERE, False, False),
        (NARROW, False, True),
        (ONLY_4, True, False),
        (ONLY_6, False, True),
    ],
)
def test_lists_of_listeners(proxy: Deployment, port: int, over_4: bool, over_6: bool) -> None:
    """Each listener lets in whom its own list says, over IPv4 and IPv6, by any method."""
    address6 = proxy.lab.host("proxy1").address6
    for target, allowed in ((proxy.address, over_4), (f"[{address6}]", over_6)):
        with wire.Caller(f"{target}:{port}") as caller:
            assert caller.call(oap.HEALTH).code == CODES[allowed]
            segments = "/skywalking.v3.TraceSegmentReportService/collect"
            assert caller.call(segments).code == CODES[allowed]
            unknown = caller.call("/some.Service/Method")
            assert unknown.code == ("UNIMPLEMENTED" if allowed else "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("named", "allowed"),
    [
        ("198.51.100.1", True),
        ("198.51.100.63", True),
        ("198.51.100.64", False),  # denied for all
        ("198.51.100.128", False),  # one above what the listener allows
        ("2001:db8:2::7", True),
        ("2001:db8:2::8", False),
        ("2001:db8:3::7", False),
        ("::ffff:198.51.100.1", True),  # IPv4 in the notation of IPv6
        ("::ffff:198.51.100.64", False),
        ("127.0.0.1", False),
    ],
)
def test_ranges(proxy: Deployment, named: str, allowed: bool) -> None:
    """A list holds its first and last address and none beside them."""
    target = f"[{proxy.lab.host('proxy1').address6}]:{FORGED}"
    assert wire.call(target, oap.HEALTH, {"x-real-ip": named}).code == CODES[allowed]


def test_an_address_in_a_header_counts_for_nothing(proxy: Deployment) -> None:
    """Whoever is not the further proxy that was named cannot name another address."""
    for named in ("203.0.113.7", "2001:db8:1::7", "127.0.0.1"):
        metadata = {"x-real-ip": named, "x-forwarded-for": named, "forwarded": f"for={named}"}
        answer = wire.call(f"{proxy.address}:{ELSEWHERE}", oap.HEALTH, metadata)
        assert answer.code == "PERMISSION_DENIED"


@pytest.mark.parametrize("authority", ["", "127.0.0.1", "localhost", "[::1]:13100", "by.name"])
@pytest.mark.parametrize("disguise", DISGUISES)
def test_proof_is_for_the_host_alone(proxy: Deployment, disguise: str, authority: str) -> None:
    """Nobody outside reaches proof or probes, by any spelling of path, header or authority."""
    address6 = proxy.lab.host("proxy1").address6
    metadata = {
        name: value.format(address=proxy.address, address6=address6)
        for name, value in DISGUISES[disguise].items()
    }
    for target in (f"{proxy.address}:{OPEN}", f"[{address6}]:{OPEN}", f"[{address6}]:{FORGED}"):
        with wire.Caller(target, authority) as caller:
            for place in PROOFS:
                rest = place.removeprefix("/-/oap-proxy/")
                for how, spelling in SPELLINGS.items():
                    path = spelling.format(path=place, rest=rest)
                    answer = caller.call(path, metadata)
                    told = f"{target} {how} {path}: {answer}"
                    refused = {"UNIMPLEMENTED", "PERMISSION_DENIED"}
                    if how == NO_PATH or disguise == TWO_HOSTS:
                        # No gRPC client sends that; nginx finds no location for it.
                        refused |= {"INTERNAL", "UNKNOWN"}
                    assert answer.code in refused, told
                    assert "oap-proxy-generation" not in answer.headers, told
                    assert not answer.body, told


def test_probe_forces_nothing_from_outside(proxy: Deployment) -> None:
    """The metadata by which the host forces a call to a dead upstream does nothing elsewhere."""
    probe = {"x-oap-proxy-probe": "unavailable"}
    for authority in ("", "127.0.0.1", "by.name"):
        with wire.Caller(f"{proxy.address}:{OPEN}", authority) as caller:
            assert caller.call(oap.HEALTH, probe).body == oap.SERVING
    assert wire.call(f"{proxy.address}:{DENIED}", oap.HEALTH, probe).code == "PERMISSION_DENIED"


def test_proof_holds(proxy: Deployment, settings: dict[str, object]) -> None:
    """With lists that shut the host out, a second run changes nothing and verify is green."""
    assert proxy.play(settings).changed() == 0
    run = proxy.play(settings, playbook=VERIFY)
    assert run.changed() == 0
    rows = run.of_module("skywalking.oap_proxy.nginx_config")["proof"]
    assert len(rows) == 2 * 2 * 7, "IPv4 and IPv6, by two names, on each listener"
    assert not [row for row in rows if row["fault"]]


def test_difference_is_shown(proxy: Deployment, settings: dict[str, object]) -> None:
    """`--check --diff` tells which network comes, and changes nothing."""
    before = proxy.generations()
    run = proxy.play({**settings, "grpc_proxy_allow": ["192.0.2.128/25"]}, "--check", "--diff")
    assert run.changed() == 1
    shown = json.dumps(run.of_module("skywalking.oap_proxy.nginx_config")["diff"])
    assert "192.0.2.128/25 1;" in shown
    assert proxy.generations() == before
