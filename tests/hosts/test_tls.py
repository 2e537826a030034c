"""The laboratory of TLS without a proxy: what fails here is not the collection's fault."""

import time
from collections.abc import Iterator

import pytest

from tests.hosts import arrivals, certificates, clients, lab, pki
from tests.hosts.agents import run_java, run_node, run_python
from tests.hosts.clients import Client, Tls
from tests.hosts.oap import GRPC_PORT, HEALTH
from tests.hosts.spec import Host, Lab, lab_named

KEEP_ALIVE = "/skywalking.v3.ManagementService/keepAlive"
REMOTE = "/RemoteService/call"
SEGMENTS = 20
SECONDS = 2.0
JAVA_SECONDS = 40


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    """The laboratory, its OAPs as they are after a start."""
    known = lab_named("tls")
    lab.up(known)
    yield known
    lab.down(known)


def target(host: Host) -> str:
    """Where agents report to."""
    return f"{host.address}:{GRPC_PORT}"


@pytest.mark.parametrize("client", clients.CLIENTS)
def test_clients(hosts: Lab, client: Client) -> None:
    """Every client speaks TLS, shows its certificate, and refuses what it does not know."""
    oaptls, oapmtls = hosts.host("oaptls"), hosts.host("oapmtls")
    ca = certificates.authority(hosts.name)
    foreign = pki.authority("foreign")

    def code(host: Host, tls: Tls | None) -> str:
        return clients.call(client, target(host), HEALTH, tls=tls).code

    assert code(oaptls, Tls(ca.certificate)) == "OK"
    assert code(oaptls, Tls(ca.certificate, server_name=certificates.OAP_NAME)) == "OK"
    assert code(oapmtls, Tls(ca.certificate, ca.client("a client"))) == "OK"
    refused = {
        "plain text": (oaptls, None),
        "another authority": (oaptls, Tls(foreign.certificate)),
        "another name": (oaptls, Tls(ca.certificate, server_name="other.example")),
        "no certificate": (oapmtls, Tls(ca.certificate)),
        "a foreign certificate": (oapmtls, Tls(ca.certificate, foreign.client("a client"))),
    }
    found = {what: code(*arguments) for what, arguments in refused.items()}
    assert found == dict.fromkeys(refused, "UNAVAILABLE")


@pytest.mark.parametrize("client", clients.CLIENTS)
def test_token(hosts: Lab, client: Client) -> None:
    """The token is demanded of agents, not of the health check."""
    host = hosts.host("oaptoken")
    metadata = certificates.metadata_to(host)

    def code(method: str, sent: dict[str, str]) -> str:
        return clients.call(client, target(host), method, sent).code

    assert code(KEEP_ALIVE, metadata) == "OK"
    assert code(KEEP_ALIVE, {}) == "PERMISSION_DENIED"
    assert code(KEEP_ALIVE, {"authentication": "another"}) == "PERMISSION_DENIED"
    assert code(HEALTH, {}) == "OK"


def test_ports(hosts: Lab) -> None:
    """An OAP that asks for certificates serves agents on one port, and OAPs on another."""
    host = hosts.host("oapmtls")
    tls = certificates.tls_to(host)
    core = f"{host.address}:{certificates.CORE_PORT}"
    assert clients.call("grpcio", target(host), KEEP_ALIVE, tls=tls).code == "OK"
    assert clients.call("grpcio", target(host), REMOTE, tls=tls, stream=True).code == (
        "UNIMPLEMENTED"
    )
    assert clients.call("grpcio", core, KEEP_ALIVE).code == "UNIMPLEMENTED"
    assert clients.call("grpcio", core, REMOTE, stream=True).code == "OK"


def test_new_certificates(hosts: Lab) -> None:
    """Files that are put into a running OAP are served, and shown for what they are."""
    host = hosts.host("oaptls")
    container = lab.container_of(host)
    past = certificates.authority(hosts.name).server(host.address, validity="past")

    def becomes(code: str) -> bool:
        end = time.monotonic() + 15
        while time.monotonic() < end:
            outcome = clients.call("grpcio", target(host), HEALTH, tls=certificates.tls_to(host))
            if outcome.code == code:
                return True
            time.sleep(0.1)
        return False

    lab.put(container, certificates.files(host, past))
    assert becomes("UNAVAILABLE")
    lab.put(container, certificates.files(host, certificates.of_oap(host)))
    assert becomes("OK")


@pytest.mark.parametrize("name", ["oaptls", "oaptoken"])
@pytest.mark.parametrize("agent", ["python", "node"])
def test_segments(hosts: Lab, name: str, agent: str) -> None:
    """An agent reaches an OAP with what it wants, and none of its segments arrives without."""
    host = hosts.host(name)
    run = run_python if agent == "python" else run_node
    oaps = {name: host.address}
    service = f"{agent}-{name}-{time.time_ns()}"
    made = run(
        target(host), service, SEGMENTS, SECONDS, tls=certificates.tls_to(host), token=host.token
    )
    assert not arrivals.segments(oaps, service, made.created).missing, made.log
    refused = run(
        target(host), f"{service}-refused", SEGMENTS, SECONDS,
        tls=Tls(pki.authority("foreign").certificate) if name == "oaptls" else None,
    )  # fmt: skip
    found = arrivals.segments(oaps, refused.service, refused.created, seconds=0)
    assert found.missing == refused.created


@pytest.mark.parametrize("name", ["oaptls", "oapmtls", "oaptoken"])
def test_java_agent(hosts: Lab, name: str) -> None:
    """The Java agent registers with what an OAP wants, client certificates included."""
    host = hosts.host(name)
    oaps = {name: host.address}
    service = f"java-{name}-{time.time_ns()}"
    lived = run_java(
        target(host),
        service,
        JAVA_SECONDS,
        tls=certificates.tls_to(host),
        token=host.token,
        until=lambda: bool(arrivals.registered(oaps, service, f"{service}-1", seconds=0)),
    )
    assert arrivals.registered(oaps, service, lived.instance, seconds=0) == [name], lived.log


def test_java_agent_refused(hosts: Lab) -> None:
    """The Java agent does not register without its certificate."""
    host = hosts.host("oapmtls")
    tls = Tls(certificates.authority(hosts.name).certificate)
    service = f"java-refused-{time.time_ns()}"
    lived = run_java(target(host), service, 12, tls=tls)
    assert arrivals.registered({"oapmtls": host.address}, service, lived.instance, 0) == []
    assert "UNAVAILABLE" in lived.log
