"""TLS on a listener: what clients and agents are shown, and what is demanded of them."""

import hashlib
import os
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.capabilities import reports
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import SITE, Deployment
from tests.capabilities.handshakes import ALL_CIPHERS, call_by_name, context_of, handshake
from tests.faults.machine import Machine
from tests.faults.playbook import OWN_CONNECTION
from tests.hosts import lab, oap, pki
from tests.hosts.clients import CLIENTS, Client, Outcome, Tls, call
from tests.hosts.paths import ROOT
from tests.hosts.pki import Authority, Identity

PORT = 13700
MUTUAL_PORT = 13710
KEYS_PORT = 13720
BAD_PORT = 13730
NAME = "proxy.example"
SERVICE_NAME = "orders.example"
# On the host, where a program that renews certificates would keep them.
CHAIN, KEY = "/etc/ssl/proxy-test/chain.pem", "/etc/ssl/proxy-test/key.pem"
REVOKED = "/etc/ssl/proxy-test/revoked.pem"
GENERATION = "/-/oap-proxy/generation"
SECONDS = 120


@dataclass
class Served:
    """A proxy, and what it was given."""

    proxy: Deployment
    port: int
    authority: Authority
    own: Identity
    service_authority: Authority
    of_service: Identity
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Where agents report to."""
        return f"{self.proxy.address}:{self.port}"

    @property
    def where(self) -> tuple[str, int]:
        """The address and port of its TLS listener."""
        return self.proxy.address, self.port

    @property
    def oaps(self) -> dict[str, str]:
        """The addresses of the OAPs behind it, by name."""
        return {name: self.proxy.lab.host(name).address for name in self.proxy.oaps}


def fingerprint(certificate: bytes) -> str:
    """Name a certificate in DER."""
    return hashlib.sha256(certificate).hexdigest()[:12]


def shown_by(identity: Identity) -> str:
    """Name the certificate of an identity."""
    return fingerprint(ssl.PEM_cert_to_DER_cert(identity.certificate))


def orders(proxy: Deployment, identity: Identity) -> dict[str, Any]:
    """Return a service that is known by its name, with a certificate of its own."""
    return {
        "name": "orders",
        "server_name": SERVICE_NAME,
        "servers": [{"address": proxy.lab.host("oap2").address, "port": oap.GRPC_PORT}],
        "certificate": identity.chain,
        "private_key": identity.private_key,
    }


@pytest.fixture(scope="module")
def served(proxies: Proxies) -> Served:
    """A clear listener and one with TLS, the certificates as text."""
    proxy = proxies("tls", PORT)
    root, of_services = pki.authority("for agents"), pki.authority("for services")
    addresses = proxy.address, proxy.lab.host("proxy1").address6
    made = Served(
        proxy=proxy,
        port=PORT + 1,
        authority=root,
        own=root.intermediate("below it").server(NAME, *addresses),
        service_authority=of_services,
        of_service=of_services.server(SERVICE_NAME, key="rsa"),
    )
    made.settings = {
        "grpc_proxy_listen": [{"port": PORT}, {"port": PORT + 1, "tls": True}],
        "grpc_proxy_tls": {
            "certificate": made.own.chain,
            "private_key": made.own.private_key,
            "server_name": NAME,
        },
        "grpc_proxy_services": [orders(proxy, made.of_service)],
    }
    proxy.deploy(made.settings)
    return made


@pytest.mark.parametrize("client", CLIENTS)
def test_clear_and_tls(served: Served, client: Client) -> None:
    """Every client is served side by side in clear text and over TLS, which it verifies."""
    clear, tls = served.proxy.target, served.target
    trusting = Tls(served.authority.certificate)
    assert call(client, clear, oap.HEALTH).code == "OK"
    assert call(client, tls, oap.HEALTH, tls=trusting).code == "OK"
    assert call(client, tls, oap.HEALTH).code != "OK"
    other = Tls(served.service_authority.certificate)
    assert call(client, tls, oap.HEALTH, tls=other).code == "UNAVAILABLE"


@pytest.mark.parametrize("client", CLIENTS)
def test_service_by_name(served: Served, client: Client) -> None:
    """A name chooses the service and its certificate, which another authority has signed."""
    told = {}
    for name, authority in (
        (SERVICE_NAME, served.service_authority),
        (NAME, served.authority),
        ("", served.authority),
    ):
        request_id = uuid4().hex
        outcome = call(
            client, served.target, oap.HEALTH, {"x-request-id": request_id},
            Tls(authority.certificate, server_name=name),
        )  # fmt: skip
        assert outcome.code == "OK", (name, outcome)
        line = served.proxy.log_of(request_id)
        told[name] = line["tag"], line["upstream"]
        assert line["tls"] in {"TLSv1.2", "TLSv1.3"}
    oap1, oap2 = (f"{served.proxy.lab.host(name).address}:11800" for name in ("oap1", "oap2"))
    ours = ("skywalking", oap1)
    assert told == {SERVICE_NAME: ("orders", oap2), NAME: ours, "": ours}


def test_certificate_by_name(served: Served) -> None:
    """The certificate is the service's for its name, and the listener's for all others."""
    asked = {
        name: handshake(*served.where, name) for name in (SERVICE_NAME, NAME, "else.example", "")
    }
    shown = {name: fingerprint(one.certificate) for name, one in asked.items()}
    own = shown_by(served.own)
    assert shown == {
        SERVICE_NAME: shown_by(served.of_service), NAME: own, "else.example": own, "": own,
    }  # fmt: skip
    over6 = handshake(served.proxy.lab.host("proxy1").address6, served.port)
    assert fingerprint(over6.certificate) == own


@dataclass
class Mutual(Served):
    """A proxy that demands certificates of its clients, and clients for it."""

    of_clients: Authority = field(default_factory=lambda: pki.authority("of the clients"))
    below: Authority = field(init=False)
    """Another authority of clients, which the first has signed."""
    clients: dict[str, Identity] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the other authority."""
        self.below = self.of_clients.intermediate("of some clients")

    def keep(self, chain: str, private_key: str) -> None:
        """Do what a program on the host does that renews its certificate."""
        self.proxy.machine.run("mkdir", "-p", str(Path(CHAIN).parent))
        self.proxy.machine.write(CHAIN, chain)
        self.proxy.machine.write(KEY, private_key, "0600")

    def revoke(self, *names: str) -> None:
        """Do what a program on the host does that fetches the lists of revoked certificates."""
        revoked = [self.clients[name] for name in names]
        lists = self.of_clients.revocation_list(*revoked) + self.below.revocation_list(*revoked)
        self.proxy.machine.write(REVOKED, lists)


@pytest.fixture(scope="module")
def mutual(proxies: Proxies) -> Mutual:
    """Demands certificates, shows one that is kept on the host, and speaks TLS 1.3 alone."""
    proxy = proxies("mtls", MUTUAL_PORT)
    root, of_services = pki.authority("for agents"), pki.authority("for services")
    made = Mutual(
        proxy=proxy,
        port=MUTUAL_PORT,
        authority=root,
        own=root.server(NAME, proxy.address),
        service_authority=of_services,
        of_service=of_services.server(SERVICE_NAME),
    )
    trusted, below = made.of_clients, made.below
    made.clients = {
        "known": trusted.client("agent1"),
        "known below": below.client("agent2"),
        "revoked": trusted.client("agent1"),
        "revoked below": below.client("agent1"),
        "expired": trusted.client("agent1", validity="past"),
        "not on the list": trusted.client("agent3"),
        # Of the same name as the true authority, so that clients do show it.
        "a stranger": pki.authority("of the clients").client("agent1"),
        "a trick": trusted.client("agent3", organization="x,CN=agent1"),
        "a longer trick": trusted.client("agent3", organization="x\\,CN=agent1,O=x"),
        "a longer name": trusted.client("agent11"),
        "another name with it": trusted.client("x.agent1"),
        "another case": trusted.client("AGENT1"),
    }
    made.settings = {
        "grpc_proxy_listen": [{"port": MUTUAL_PORT, "tls": True}],
        "grpc_proxy_tls": {
            "certificate_path": CHAIN,
            "private_key_path": KEY,
            "client_ca": trusted.certificate + below.certificate,
            "client_crl_path": REVOKED,
            "client_names": ["agent1", "agent2"],
            "profile": "modern",
            "server_name": NAME,
        },
        "grpc_proxy_services": [orders(proxy, made.of_service)],
    }
    made.keep(made.own.chain, made.own.private_key)
    made.revoke("revoked", "revoked below")
    proxy.deploy(made.settings)
    return made


def call_as(mutual: Mutual, client: Client, who: str, method: str = oap.HEALTH) -> Outcome:
    """Call as one of the clients, or as one that shows nothing."""
    identity = mutual.clients[who] if who else None
    return call(client, mutual.target, method, tls=Tls(mutual.authority.certificate, identity))


REFUSED = ("", "a stranger", "revoked", "revoked below", "expired", "not on the list", "a trick")


@pytest.mark.parametrize("client", CLIENTS)
def test_client_certificates(mutual: Mutual, client: Client) -> None:
    """Who shows no certificate, or not one that will do, is told UNAUTHENTICATED."""
    asked = ("known", "known below", *REFUSED)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda who: call_as(mutual, client, who), asked))
    codes = {who: outcome.code for who, outcome in zip(asked, found, strict=True)}
    assert codes == {
        "known": "OK", "known below": "OK", **dict.fromkeys(REFUSED, "UNAUTHENTICATED")
    }, found  # fmt: skip


@pytest.mark.parametrize(
    "who", ["a longer trick", "a longer name", "another name with it", "another case"]
)
def test_client_names(mutual: Mutual, who: str) -> None:
    """A name is the whole of the common name, wherever else it stands."""
    assert call_as(mutual, "grpcio", who).code == "UNAUTHENTICATED"


def test_client_is_logged(mutual: Mutual) -> None:
    """The access log names the client by its certificate."""
    request_id = uuid4().hex
    known = Tls(mutual.authority.certificate, mutual.clients["known"])
    call("grpcio", mutual.target, oap.HEALTH, {"x-request-id": request_id}, known)
    line = mutual.proxy.log_of(request_id)
    assert (line["client_certificate"], line["tls"]) == ("CN=agent1", "TLSv1.3")


@pytest.mark.parametrize(
    ("asked", "authority"),
    [(NAME, SERVICE_NAME), (SERVICE_NAME, NAME), (SERVICE_NAME, "else.example")],
)
def test_another_authority(mutual: Mutual, asked: str, authority: str) -> None:
    """A call for another name than that of the handshake is refused by a status of gRPC."""
    known = mutual.clients["known"]
    reply = call_by_name(
        mutual.where, oap.HEALTH, {}, asked=asked, authority=authority, client=known
    )
    assert (reply.http_status, reply.trailers_only) == (200, True)
    assert reply.status_name == "INTERNAL", reply
    same = call_by_name(mutual.where, oap.HEALTH, {}, asked=asked, authority=asked, client=known)
    assert same.status_name == "OK", same


@pytest.mark.parametrize("asked", ["", NAME, SERVICE_NAME])
@pytest.mark.parametrize("authority", [NAME, SERVICE_NAME])
def test_no_way_around(mutual: Mutual, asked: str, authority: str) -> None:
    """Without a certificate no pair of names leads to a service."""
    reply = call_by_name(mutual.where, oap.HEALTH, {}, asked=asked, authority=authority)
    wanted = "UNAUTHENTICATED" if asked in {"", authority} else "INTERNAL"
    assert (reply.status_name, reply.trailers_only) == (wanted, True)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"x-oap-proxy-probe": "unavailable"},
        {"x-forwarded-for": "127.0.0.1", "x-real-ip": "127.0.0.1", "forwarded": "for=127.0.0.1"},
    ],
    ids=["plain", "probe", "forwarded"],
)
@pytest.mark.parametrize("authority", ["127.0.0.1", NAME])
def test_the_proofs_way_in(mutual: Mutual, metadata: dict[str, str], authority: str) -> None:
    """What the host itself may ask without a certificate, nobody else may, nor with one."""
    health = "/-/oap-proxy/oap/oap1/grpc.health.v1.Health/Check"
    for method in (GENERATION, health, f"/x/..{GENERATION}", oap.HEALTH):
        reply = call_by_name(mutual.where, method, metadata, authority=authority)
        assert reply.status_name == "UNAUTHENTICATED", (method, reply)
        assert "oap-proxy-generation" not in reply.headers
    known = mutual.clients["known"]
    for method in (GENERATION, health):
        reply = call_by_name(mutual.where, method, metadata, authority=authority, client=known)
        assert reply.status_name == "UNIMPLEMENTED", (method, reply)
        assert "oap-proxy-generation" not in reply.headers


VERSIONS = {
    "TLSv1.1": ssl.TLSVersion.TLSv1_1, "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip


def spoken(where: tuple[str, int], ciphers: str = ALL_CIPHERS) -> list[str]:
    """Return the versions of TLS that a listener speaks."""
    found = []
    for name, version in VERSIONS.items():
        try:
            shown = handshake(*where, NAME, context_of(version, ciphers))
        except (ssl.SSLError, ConnectionError):
            continue
        assert shown.version == name
        found.append(name)
    return found


def test_versions(served: Served, mutual: Mutual) -> None:
    """Intermediate is TLS 1.2 and 1.3 with forward secrecy, modern is TLS 1.3."""
    assert spoken(served.where) == ["TLSv1.2", "TLSv1.3"]
    assert spoken(mutual.where) == ["TLSv1.3"]
    # The ciphers of TLS 1.3 are chosen by themselves.
    for weak in ("ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384", "AES128-GCM-SHA256"):
        assert spoken(served.where, f"{weak}:@SECLEVEL=0") == ["TLSv1.3"], weak
    assert "TLSv1.2" in spoken(served.where, "ECDHE-ECDSA-AES128-GCM-SHA256")


@pytest.mark.parametrize("name", [NAME, SERVICE_NAME])
def test_no_resumption(served: Served, mutual: Mutual, name: str) -> None:
    """No session is taken up again: not on the same site, nor on the other."""
    for where, version in (
        (served.where, ssl.TLSVersion.TLSv1_2),
        (served.where, ssl.TLSVersion.TLSv1_3),
        (mutual.where, ssl.TLSVersion.TLSv1_3),
    ):
        context = context_of(version)
        first = handshake(*where, NAME, context)
        again = handshake(*where, name, context, first.session)
        assert not again.resumed


def test_agents(served: Served, mutual: Mutual) -> None:
    """Every agent reports over TLS, and the Java agent where a certificate is demanded.

    The others have none to show, and not a segment of theirs comes in there.
    """
    trusting, trusting_too = Tls(served.authority.certificate), Tls(mutual.authority.certificate)
    showing = Tls(mutual.authority.certificate, mutual.clients["known"])
    oaps = served.oaps
    with ThreadPoolExecutor(6) as pool:
        python = pool.submit(reports.python_segments, served.target, oaps, trusting)
        node = pool.submit(reports.node_segments, served.target, oaps, trusting)
        java = pool.submit(reports.java_registered, served.target, oaps, trusting)
        java_mutual = pool.submit(reports.java_registered, mutual.target, oaps, showing)
        shut_out = [
            pool.submit(run, mutual.target, oaps, trusting_too, 0)
            for run in (reports.python_segments, reports.node_segments)
        ]
    assert not python.result().missing
    assert not node.result().missing
    assert java.result() == ["oap1"]
    assert java_mutual.result() == ["oap1"]
    for one in shut_out:
        assert one.result().missing == one.result().created


def test_path_stays_on_host(mutual: Mutual) -> None:
    """A key that is given by its path is in no generation; the service's was given as text."""
    shown = handshake(*mutual.where, NAME)
    assert fingerprint(shown.certificate) == shown_by(mutual.own)
    held = mutual.proxy.machine.run("grep", "-rlF", "PRIVATE KEY", f"{mutual.proxy.root}/current/")
    assert held == f"{mutual.proxy.root}/current/tls/service-orders-private_key.pem"


def test_renewed_on_host(mutual: Mutual) -> None:
    """A certificate that was renewed on the host is noticed, loaded and proven by the next run."""
    renewed = mutual.authority.server(NAME, mutual.proxy.address)
    mutual.keep(renewed.chain, renewed.private_key)
    before = mutual.proxy.generations()
    first = mutual.proxy.play(mutual.settings)
    assert first.changed() == 1
    assert first.of_module("skywalking.oap_proxy.nginx_config")["action"] == "reloaded"
    shown = handshake(*mutual.where, NAME)
    assert fingerprint(shown.certificate) == shown_by(renewed)
    assert mutual.proxy.generations() == before
    assert mutual.proxy.play(mutual.settings).changed() == 0
    mutual.own = renewed


def test_revoked_on_host(mutual: Mutual) -> None:
    """So is a list of revoked certificates, which the proof cannot see."""
    assert call_as(mutual, "grpcio", "known below").code == "OK"
    mutual.revoke("revoked", "known below")
    assert mutual.proxy.play(mutual.settings).changed() == 1
    assert call_as(mutual, "grpcio", "known below").code == "UNAUTHENTICATED"
    assert call_as(mutual, "grpcio", "known").code == "OK"


BAD_KEYS = {"another": "does not fit its certificate", "encrypted": "without a passphrase"}


@pytest.mark.parametrize("what", BAD_KEYS)
def test_bad_key_on_host(mutual: Mutual, what: str) -> None:
    """A key on the host that nginx cannot use is refused in words, and what serves goes on."""
    names = NAME, mutual.proxy.address
    renewed = mutual.authority.server(*names, password="x" if what == "encrypted" else "")
    key = mutual.authority.server(*names).private_key if what == "another" else renewed.private_key
    mutual.keep(renewed.chain, key)
    before = mutual.proxy.generations()
    failure = mutual.proxy.play(mutual.settings).failure()
    assert KEY in failure.message
    assert BAD_KEYS[what] in failure.message
    assert "Nothing was changed" in failure.message
    assert (failure.result["reason"], failure.result["rolled_back"]) == ("rejected", False)
    assert mutual.proxy.generations() == before
    assert fingerprint(handshake(*mutual.where, NAME).certificate) == shown_by(mutual.own)


@pytest.mark.parametrize("what", ["expired", "not there", "in the wrong order"])
def test_bad_certificate_on_host(mutual: Mutual, what: str) -> None:
    """A certificate on the host is judged like one that is given as text."""
    below = mutual.authority.intermediate("below it")
    bad = below.server(NAME, validity="past" if what == "expired" else "now")
    chain = bad.intermediates + bad.certificate if what == "in the wrong order" else bad.chain
    mutual.keep(chain, bad.private_key)
    if what == "not there":
        mutual.proxy.machine.run("rm", CHAIN)
    message = mutual.proxy.refused(mutual.settings)
    words = {
        "expired": f"proxy1: grpc_proxy_tls.certificate_path ({CHAIN}) has expired on",
        "not there": f"proxy1: cannot read {CHAIN}",
        "in the wrong order": f"certificate_path ({CHAIN}) is a chain in the wrong order",
    }
    assert words[what] in message
    assert "Nothing was changed." in message


def secret_lines(identity: Identity) -> list[str]:
    """Return what of a key must be seen nowhere."""
    return [line for line in identity.private_key.splitlines() if not line.startswith("-----")]


def places_of(machine: Machine, identity: Identity) -> set[str]:
    """Return the files of the host in which a part of a key is."""
    patterns = [part for line in secret_lines(identity) for part in ("-e", line)]
    places = ("/etc", "/var", "/run", "/root", "/tmp", "/usr/local")  # noqa: S108
    code, found = lab.run(machine.container, ["grep", "-rlFsa", *patterns, *places])
    assert code in {0, 1, 2}, found  # 2: a socket, or a file that went
    return set(found.split())


def shown_output(proxy: Deployment, settings: dict[str, Any]) -> str:
    """Run site.yml as a person would who wants to see everything, and return all of it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"), "-i",
            str(proxy.inventory(settings)), SITE, "--diff", "-vvv",
            *OWN_CONNECTION,
        ],
        cwd=ROOT, env={**kept, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_keys(proxies: Proxies) -> None:
    """A private key is root's, is shown nowhere, and goes with its generation."""
    proxy = proxies("keys", KEYS_PORT)
    machine = proxy.machine
    root = pki.authority("for agents")
    first, second, third = (root.server(NAME, validity=one) for one in ("past", "now", "now"))

    def settings(identity: Identity) -> dict[str, Any]:
        return {
            "grpc_proxy_listen": [{"port": KEYS_PORT, "tls": True}],
            "grpc_proxy_tls": {
                "certificate": identity.chain, "private_key": identity.private_key,
            },
            "grpc_proxy_keep_generations": 2,
            "grpc_proxy_certificate_dates": "warn",
        }  # fmt: skip

    def key_of(generation: str) -> str:
        return f"{proxy.root}/generations/{generation}/tls/listener-private_key.pem"

    def generation() -> str:
        return machine.run("readlink", f"{proxy.root}/current").rpartition("/")[2]

    # Expired, which is told, and not refused where that was asked for.
    run = proxy.deploy(settings(first))
    told = [one.result["msg"] for one in run.results if one.module == "ansible.builtin.debug"]
    assert "proxy1: grpc_proxy_tls.certificate has expired on" in str(told)
    assert fingerprint(handshake(proxy.address, KEYS_PORT).certificate) == shown_by(first)
    generations = [generation()]
    assert machine.run("stat", "-c", "%a %U %G", key_of(generations[0])) == "600 root root"
    assert places_of(machine, first) == {key_of(generations[0])}

    shown = shown_output(proxy, settings(second))
    assert "tls/listener-private_key.pem" in shown
    assert "(secret, changed, not shown)" in shown
    assert second.certificate.splitlines()[1] in shown
    for identity in (first, second):
        for line in secret_lines(identity):
            assert line not in shown
            assert line not in str(run)
    generations.append(generation())
    assert places_of(machine, second) == {key_of(generations[1])}
    assert places_of(machine, first) == {key_of(generations[0])}

    proxy.deploy(settings(third))
    generations.append(generation())
    assert proxy.generations() == sorted(generations[1:])
    assert places_of(machine, first) == set()
    assert places_of(machine, third) == {key_of(generations[2])}
    journal = machine.run("journalctl", "--no-pager")
    assert "nginx_config" in journal
    for identity in (first, second, third):
        assert not [line for line in secret_lines(identity) if line in journal]


def test_refused(proxies: Proxies) -> None:
    """What cannot work is refused by host and variable, all of it at once, and not quoted."""
    proxy = proxies("badtls", BAD_PORT)
    root = pki.authority("for agents")
    below = root.intermediate("below it")
    good, other = root.server(NAME), root.server(NAME)
    encrypted = root.client("proxy", password="x")  # noqa: S106
    turned = below.server(SERVICE_NAME)
    expired = root.server("old.example", validity="past")
    settings = {
        "grpc_proxy_listen": [{"port": BAD_PORT, "tls": True}],
        "grpc_proxy_tls": {
            "certificate": good.chain,
            "private_key": other.private_key,
            "client_ca": root.certificate,
            "client_ca_path": CHAIN,
        },
        "grpc_proxy_upstream_tls": {
            "enabled": True,
            "ca": root.certificate,
            "name": NAME,
            "certificate": encrypted.chain,
            "private_key": encrypted.private_key,
        },
        "grpc_proxy_services": [
            {
                **orders(proxy, turned),
                "certificate": turned.certificate + root.certificate + turned.intermediates,
            },
            {**orders(proxy, expired), "name": "old", "server_name": "old.example"},
        ],
    }
    message = proxy.refused(settings)
    for sentence in (
        "proxy1: grpc_proxy_tls.private_key does not fit the certificate",
        "proxy1: grpc_proxy_tls.client_ca and client_ca_path are both given",
        "proxy1: grpc_proxy_upstream_tls.private_key is encrypted",
        "proxy1: grpc_proxy_services[0].certificate is a chain in the wrong order",
        "proxy1: grpc_proxy_services[1].certificate has expired on",
        "Nothing was changed.",
    ):
        assert sentence in message
    for identity in (good, other, encrypted, turned, expired):
        assert not [line for line in secret_lines(identity) if line in message]
    assert proxy.machine.status("test", "-e", proxy.root) == 1


def test_misspelt(proxies: Proxies) -> None:
    """A slip of the finger does not leave the demand for certificates off."""
    proxy = proxies("badtls", BAD_PORT)
    root = pki.authority("for agents")
    own = root.server(NAME)
    message = proxy.refused(
        {
            "grpc_proxy_listen": [{"port": BAD_PORT, "tls": True}],
            "grpc_proxy_tls": {
                "certificate": own.chain,
                "private_key": own.private_key,
                "client_caa": root.certificate,
            },
        }
    )
    assert "grpc_proxy_tls.client_caa is not known; did you mean client_ca?" in message
    assert proxy.machine.status("test", "-e", proxy.root) == 1
