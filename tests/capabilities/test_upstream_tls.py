"""TLS to the OAPs and to other servers: who is reached, and who is not."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.capabilities import reports
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import VERIFY, Deployment
from tests.capabilities.tls_standin import TlsStandIn
from tests.hosts import certificates, oap, pki
from tests.hosts.clients import CLIENTS, Client, call
from tests.hosts.pki import Authority, Identity

PORT = 13800
MUTUAL_PORT = 13810
BAD_PORT = 13820
STANDIN_PORT = 13850
CA = "/etc/ssl/proxy-test/oaps.pem"
# What is wrong with a server, and nginx's words for it as an expression.
WRONG = {
    "wrong_name": 'upstream SSL certificate does not match "oap.example"',
    "wrong_ca": "unable to verify the first certificate",
    "expired": "certificate has expired",
    "without": "certificate required",
    # By whether the server's first frame is there before the handshake has begun.
    "clear": "wrong version number|prematurely sent response",
}
RIGHT = ("right", "with")


@dataclass(frozen=True)
class Site:
    """A proxy in front of a real OAP with TLS, and of stand-ins as services beside it."""

    proxy: Deployment
    authority: Authority
    settings: dict[str, Any]
    standins: dict[str, TlsStandIn]

    def log_of(self, name: str) -> list[str]:
        """Return the lines of the error log about the calls of a service."""
        path = f"/var/log/{self.proxy.name}/error.log"
        log = self.proxy.machine.run("tail", "-n", "300", path)
        return [line for line in log.splitlines() if f" {method_of(name)} " in line]


def method_of(name: str) -> str:
    """Return the method that leads to a service."""
    return f"/tls.{name}/Call"


def service(name: str, address: str, port: int, tls: dict[str, Any]) -> dict[str, Any]:
    """Return a service of one server."""
    return {
        "name": name,
        "prefix": f"/tls.{name}/",
        "servers": [{"address": address, "port": port}],
        "tls": {"enabled": True, "name": certificates.OAP_NAME, **tls},
    }


@pytest.fixture(scope="module")
def site(proxies: Proxies) -> Iterator[Site]:
    """The proxy is verified by none while it is deployed: some of its servers are wrong."""
    proxy = proxies("uptls", PORT, "oaptls")
    address = str(proxy.lab.subnet[1])
    root, clients = pki.authority("of the servers"), pki.authority("of the clients")
    own = clients.client("a proxy")
    showing = {"certificate": own.chain, "private_key": own.private_key}
    name = certificates.OAP_NAME
    right = root.server(name)
    shown: dict[str, Identity] = {
        "right": right,
        "wrong_name": root.server("other.example", address),
        "wrong_ca": pki.authority("of the servers").server(name),
        "expired": root.server(name, validity="past"),
    }
    with ExitStack() as stack:
        standins = {
            one: stack.enter_context(TlsStandIn(address, STANDIN_PORT + number, identity))
            for number, (one, identity) in enumerate(shown.items())
        }
        demanding = STANDIN_PORT + len(shown)
        standins["with"] = stack.enter_context(
            TlsStandIn(address, demanding, right, clients.certificate)
        )
        ca = {"ca": root.certificate}
        settings = {
            "grpc_proxy_upstream_tls": {
                "enabled": True,
                "ca": certificates.authority(proxy.lab.name).certificate,
                "name": name,
            },
            "grpc_proxy_services": [
                *(
                    service(one, address, STANDIN_PORT + number, ca)
                    for number, one in enumerate(shown)
                ),
                service("with", address, demanding, {**ca, **showing}),
                service("without", address, demanding, ca),
                service("clear", proxy.lab.host("oap1").address, oap.GRPC_PORT, ca),
            ],
        }
        proxy.play(settings, "--skip-tags", "verify").changed()
        yield Site(proxy, root, settings, standins)


@pytest.mark.parametrize("client", CLIENTS)
def test_verified(site: Site, client: Client) -> None:
    """Who is not what the inventory says is not called, and every client is told UNAVAILABLE.

    A certificate is shown where it is for, and another service does not ride on that.
    """
    asked = (*RIGHT, *WRONG, *RIGHT, *WRONG)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: call(client, site.proxy.target, method_of(one)), asked))
    codes = {one: outcome.code for one, outcome in zip(asked, found, strict=True)}
    assert codes == {**dict.fromkeys(RIGHT, "OK"), **dict.fromkeys(WRONG, "UNAVAILABLE")}, found
    assert call(client, site.proxy.target, oap.HEALTH).code == "OK"


def test_told_in_the_log(site: Site) -> None:
    """The error log says of each what is wrong."""
    for name, words in WRONG.items():
        call("grpcio", site.proxy.target, method_of(name))
        lines = site.log_of(name)
        assert any(re.search(words, line) for line in lines), (name, lines)


def test_told_by_verify(site: Site) -> None:
    """So does the playbook that verifies, by the names of the servers."""
    message = site.proxy.play(site.settings, playbook=VERIFY).failure().message
    told = message.partition("nginx says: ")[2].split("; ")
    for (name, words), reason in zip(WRONG.items(), told, strict=True):
        assert reason.startswith(f"{name}-0: ")
        assert re.search(words, reason)
    for name in ("right-0", "with-0", "oaptls"):
        assert name not in message


def test_each_connection_is_verified(site: Site) -> None:
    """No session is resumed: a server whose certificate has expired meanwhile is not called."""
    standin = site.standins["right"]
    method = method_of("right")
    begun = len(standin.handshakes)
    while len(standin.handshakes) < begun + 4:
        call("grpcio", site.proxy.target, method)
        standin.drop()
    assert not any(standin.handshakes)
    standin.show(site.authority.server(certificates.OAP_NAME, validity="past"))
    codes = []
    for _one in range(4):
        codes.append(call("grpcio", site.proxy.target, method).code)
        standin.drop()
    assert codes[1:] == ["UNAVAILABLE"] * 3
    assert any("certificate has expired" in line for line in site.log_of("right"))


def test_agents(site: Site, proxies: Proxies) -> None:
    """What agents report arrives in an OAP with TLS, and in one that demands a certificate."""
    proxy = proxies("upmtls", MUTUAL_PORT, "oapmtls")
    authority = certificates.authority(proxy.lab.name)
    own = authority.client("a proxy")
    proxy.machine.run("mkdir", "-p", CA.rpartition("/")[0])
    proxy.machine.write(CA, authority.certificate)
    proxy.deploy(
        {
            "grpc_proxy_upstream_tls": {
                "enabled": True,
                "ca_path": CA,
                "name": certificates.OAP_NAME,
                "certificate": own.chain,
                "private_key": own.private_key,
            }
        }
    )
    key = f"{proxy.root}/current/tls/upstream-private_key.pem"
    assert proxy.machine.run("stat", "-c", "%a %U", key) == "600 root"
    oaps = {name: proxy.lab.host(name).address for name in ("oaptls", "oapmtls")}
    with ThreadPoolExecutor(4) as pool:
        python, node = (
            pool.submit(run, site.proxy.target, oaps, None)
            for run in (reports.python_segments, reports.node_segments)
        )
        python_mutual = pool.submit(reports.python_segments, proxy.target, oaps, None)
        java = pool.submit(reports.java_registered, proxy.target, oaps, None)
    for one, name in ((python, "oaptls"), (node, "oaptls"), (python_mutual, "oapmtls")):
        assert one.result().found[name] == one.result().created
    assert java.result() == ["oapmtls"]


def test_never_unverified(proxies: Proxies) -> None:
    """TLS without an authority or a name is refused, and nothing is written."""
    proxy = proxies("badup", BAD_PORT)
    servers = [{"address": "192.0.2.1", "port": 1}]
    message = proxy.refused(
        {
            "grpc_proxy_upstream_tls": {"enabled": True},
            "grpc_proxy_services": [
                {"name": "one", "prefix": "/one.S/", "servers": servers, "tls": {"enabled": True}}
            ],
        }
    )
    for variable in ("grpc_proxy_upstream_tls", "grpc_proxy_services[0].tls"):
        assert f"proxy1: {variable}.ca is missing" in message
        assert f"proxy1: {variable}.name is missing" in message
    assert proxy.machine.status("test", "-e", proxy.root) == 1
