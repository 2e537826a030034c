"""Certificates that another program renews: the command for its hooks, and the module.

Two proxies show one certificate that is kept on the host: one on two listeners and under the name
of a service, one that demands certificates of its clients.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import VERIFY, Deployment
from tests.capabilities.handshakes import handshake
from tests.capabilities.test_tls import fingerprint, shown_by
from tests.hosts import lab, oap, pki
from tests.hosts.clients import Tls
from tests.hosts.pki import Authority, Identity, Validity
from tests.hosts.streams import held

PORT = 13900
MUTUAL_PORT = 13910
NAME, SERVICE_NAME = "proxy.example", "orders.example"
CHAIN, KEY = "/etc/ssl/renewal-test/chain.pem", "/etc/ssl/renewal-test/key.pem"
RELOAD = "tests/capabilities/reload.yml"
UNINSTALL = "playbooks/uninstall.yml"
MODULE = "skywalking.oap_proxy.nginx_reload"
# What tests.hosts.pki signs ends in 30 days, less the moment since.
DAYS_LEFT = 29

How = Literal["command", "module"]


@dataclass
class Told:
    """What the command, or the module, has said."""

    failed: bool
    result: dict[str, Any]
    message: str = ""


@dataclass
class Proxy:
    """One of the two."""

    proxy: Deployment
    settings: dict[str, Any]
    places: tuple[tuple[int, str], ...]
    """Port and name of all that shows the certificate."""
    client: Identity | None = None

    def shown(self) -> set[str]:
        """Return what is shown to clients, by fingerprint."""
        return {
            fingerprint(handshake(self.proxy.address, port, name).certificate)
            for port, name in self.places
        }

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run the command on the host; return its status and all that it says."""
        return lab.run(self.proxy.machine.container, [f"{self.proxy.name}-reload", *arguments])

    def reload(self, how: How) -> Told:
        """Have what is on disk read again."""
        if how == "module":
            run = self.proxy.play(self.settings, playbook=RELOAD)
            if run.code == 0:
                return Told(False, run.of_module(MODULE))
            failure = run.failure()
            return Told(True, failure.result, failure.message)
        machine = self.proxy.machine
        script = f"{self.proxy.name}-reload --json 2>/run/said"
        code, output = lab.run(machine.container, ["sh", "-c", script])
        return Told(code != 0, json.loads(output), machine.run("cat", "/run/said"))


@dataclass
class Renewing:
    """The host, and what it keeps."""

    plain: Proxy
    mutual: Proxy
    authority: Authority
    own: Identity

    def sign(self, validity: Validity = "now") -> Identity:
        """Sign a certificate for both proxies."""
        names = NAME, SERVICE_NAME, self.plain.proxy.address
        return self.authority.server(*names, validity=validity)

    def keep(self, chain: str, private_key: str) -> None:
        """Do what a program does that renews certificates."""
        machine = self.plain.proxy.machine
        machine.run("mkdir", "-p", CHAIN.rpartition("/")[0])
        machine.write(CHAIN, chain)
        machine.write(KEY, private_key, "0600")


@pytest.fixture(scope="module")
def host(proxies: Proxies) -> Renewing:
    """Both proxies, deployed."""
    plain, mutual = proxies("renewal", PORT), proxies("renewal-mutual", MUTUAL_PORT)
    clients = pki.authority("of the clients")
    tls = {"certificate_path": CHAIN, "private_key_path": KEY, "server_name": NAME}
    oap2 = {"address": plain.lab.host("oap2").address, "port": oap.GRPC_PORT}
    common = {"grpc_proxy_reload_command": True}
    first = Proxy(
        plain,
        {
            **common,
            "grpc_proxy_listen": [
                {"port": PORT},
                {"port": PORT + 1, "tls": True},
                {"port": PORT + 2, "tls": True, "address": plain.address},
            ],
            "grpc_proxy_tls": tls,
            "grpc_proxy_services": [
                {"name": "orders", "server_name": SERVICE_NAME, "servers": [oap2]}
            ],
        },
        tuple((port, name) for port in (PORT + 1, PORT + 2) for name in (NAME, SERVICE_NAME)),
    )
    second = Proxy(
        mutual,
        {
            **common,
            "grpc_proxy_listen": [{"port": MUTUAL_PORT, "tls": True}],
            "grpc_proxy_tls": {**tls, "client_ca": clients.certificate},
        },
        ((MUTUAL_PORT, NAME),),
        clients.client("agent"),
    )
    root = pki.authority("for agents")
    made = Renewing(first, second, root, root.server(NAME, SERVICE_NAME, plain.address))
    made.keep(made.own.chain, made.own.private_key)
    for one in (first, second):
        one.proxy.deploy(one.settings)
    return made


@pytest.fixture
def kept(host: Renewing) -> Iterator[Renewing]:
    """The host, with what it has kept before back and shown after the test."""
    for one in (host.plain, host.mutual):
        assert one.shown() == {shown_by(host.own)}
    yield host
    host.keep(host.own.chain, host.own.private_key)
    for one in (host.plain, host.mutual):
        assert not one.reload("command").failed
        assert one.shown() == {shown_by(host.own)}


@pytest.mark.parametrize("how", ["command", "module"])
def test_renewed(kept: Renewing, how: How) -> None:
    """What was renewed is shown by every listener, proven, and streams go on."""
    renewed = kept.sign()
    new, old = shown_by(renewed), shown_by(kept.own)
    trusting = Tls(kept.authority.certificate, server_name=NAME)
    with ExitStack() as stack:
        streams = [
            (one, stream)
            for one in (kept.plain, kept.mutual)
            for port in {port for port, _name in one.places}
            for stream in stack.enter_context(
                held(
                    f"{one.proxy.address}:{port}",
                    trusting if one.client is None else Tls(trusting.ca, one.client, NAME),
                )
            )
        ]
        kept.keep(renewed.chain, renewed.private_key)
        for one in (kept.plain, kept.mutual):
            assert one.shown() == {old}
            generations = one.proxy.generations()
            told = one.reload(how)
            assert not told.failed, told
            result = told.result
            assert (result["changed"], result["action"]) == (True, "reloaded")
            assert any(f"instead of {new} of {CHAIN}" in line for line in result["drift"])
            certificates = result["certificates"]
            assert {row["listener"] for row in result["proof"] if not row["fault"]} == {
                row["listener"] for row in result["proof"]
            }
            assert len(certificates) >= len(one.places)
            assert {(row["sha256"][:12], row["path"]) for row in certificates} == {(new, CHAIN)}
            assert {(row["days_left"], row["valid"]) for row in certificates} == {(DAYS_LEFT, True)}
            assert one.shown() == {new}
            assert one.proxy.generations() == generations
        for _one, stream in streams:
            stream.send()
        assert [stream.end() for _one, stream in streams] == ["OK"] * len(streams)
    for one, stream in streams:
        line = one.proxy.log_of(stream.request_id)
        # Longer than the reload: it was held all the time.
        assert (line["grpc_code"], line["seconds"] > 0.1) == ("0", True)


@pytest.mark.parametrize("how", ["command", "module"])
@pytest.mark.parametrize("what", ["another key", "not there"])
def test_refused(kept: Renewing, how: How, what: str) -> None:
    """What nginx cannot load is refused with its words, and what serves goes on."""
    renewed = kept.sign()
    kept.keep(renewed.chain, kept.own.private_key)
    if what == "not there":
        kept.plain.proxy.machine.run("rm", CHAIN)
    told = kept.plain.reload(how)
    assert told.failed
    assert (told.result["reason"], told.result["rolled_back"]) == ("rejected", False)
    assert "Nothing was changed" in told.message
    words = {"another key": "does not fit its certificate", "not there": "cannot load certificate"}
    assert words[what] in told.message
    assert any("[emerg]" in line for line in told.result["nginx_log"])
    assert kept.plain.shown() == {shown_by(kept.own)}


@pytest.mark.parametrize("how", ["command", "module"])
def test_expired(kept: Renewing, how: How) -> None:
    """One that no client takes is live, as nginx takes it, and warned of."""
    renewed = kept.sign("past")
    kept.keep(renewed.chain, renewed.private_key)
    told = kept.mutual.reload(how)
    assert not told.failed
    assert {(row["days_left"], row["valid"]) for row in told.result["certificates"]} == {
        (-3, False)
    }
    assert "clients refuse it" in str(told.result["warnings"])
    assert kept.mutual.shown() == {shown_by(renewed)}


def test_words(kept: Renewing) -> None:
    """What the command says to people: generation, listeners, certificates, and warnings."""
    code, output = kept.plain.command()
    assert code == 0
    generation = kept.plain.proxy.generations()[-1]
    told = output.splitlines()
    assert told[0] == f"generation {generation} is live and proven (reloaded)"
    clear = (
        f"0.0.0.0:{PORT} ({NAME}): generation {generation}, fallback UNAVAILABLE in every client"
    )
    assert clear in told
    mine = f"  certificate {shown_by(kept.own)} of CN={NAME}, valid until "
    rows = [line for line in told if line.startswith(mine)]
    assert len(rows) >= len(kept.plain.places)
    assert all(line.endswith(f"({DAYS_LEFT} days), as in {CHAIN}") for line in rows)
    assert "PRIVATE" not in output


def test_check(kept: Renewing) -> None:
    """With --check all is tested and told, and the old one goes on."""
    renewed = kept.sign()
    kept.keep(renewed.chain, renewed.private_key)
    for one in (kept.plain, kept.mutual):
        code, output = one.command("--check")
        assert code == 0
        assert f"instead of {shown_by(renewed)} of {CHAIN}" in output
        assert "nothing was changed" in output
        run = one.proxy.play(one.settings, "--check", playbook=RELOAD)
        assert run.changed() == 1
        assert run.of_module(MODULE)["action"] == "none"
        assert one.shown() == {shown_by(kept.own)}
    kept.keep(renewed.chain, kept.own.private_key)
    code, output = kept.plain.command("--check")
    assert (code, "does not fit its certificate" in output) == (1, True)


def test_wrong_generation(kept: Renewing) -> None:
    """A generation that is not there is refused, and what is there is named."""
    code, output = kept.plain.command("--generation", "0123456789ab")
    assert code == 1
    assert output.startswith("renewal-reload: there is no generation 0123456789ab below ")
    assert kept.plain.proxy.generations()[0] in output
    assert "Nothing was changed; " in output
    assert output.endswith("is still live. (reason: rejected)")
    code, output = kept.plain.command("--generation", "../current")
    assert code == 2
    assert "give current, previous, or an id" in output


def test_not_root(kept: Renewing) -> None:
    """Only root may, and is told so before anything else."""
    code, output = lab.run(
        kept.plain.proxy.machine.container,
        ["setpriv", "--reuid=nobody", "--clear-groups", "/usr/local/sbin/renewal-reload"],
    )
    assert code == 1
    assert output == (
        "renewal-reload: this must be run by root: 'sudo renewal-reload'. Nothing was changed. "
        "(reason: rejected)"
    )


def test_other_lineage(kept: Renewing) -> None:
    """A hook that was run for what no listener shows says so: the renewal did not arrive."""
    machine = kept.plain.proxy.machine
    other = kept.sign()
    machine.run("mkdir", "-p", "/etc/letsencrypt/live/other")
    machine.write("/etc/letsencrypt/live/other/cert.pem", other.certificate)
    lineage = "RENEWED_LINEAGE=/etc/letsencrypt/live/other"
    output = machine.run("env", lineage, "/usr/local/sbin/renewal-reload")
    assert "warning: no listener shows the certificate in /etc/letsencrypt/live/other" in output
    machine.write("/etc/letsencrypt/live/other/cert.pem", kept.own.certificate)
    assert "warning" not in machine.run("env", lineage, "/usr/local/sbin/renewal-reload")


def files_of(proxy: Deployment) -> dict[str, str]:
    """Return what the command is on the host."""
    listed = proxy.machine.listing(
        f"/usr/local/lib/{proxy.name}", f"/usr/local/sbin/{proxy.name}-reload"
    )
    return {path: entry for path, entry in listed.items() if entry != "absent"}


def test_installed(kept: Renewing) -> None:
    """The command costs an unchanged run nothing, is held by verify, mended, and removed."""
    one = kept.plain
    proxy, machine = one.proxy, one.proxy.machine
    before = files_of(proxy)
    assert proxy.play(one.settings).changed() == 0
    assert files_of(proxy) == before
    edited = next(path for path in before if path.endswith("/module_utils/proof.py"))
    machine.run("sh", "-c", f"echo '# edited' >> {edited}")
    message = proxy.play(one.settings, playbook=VERIFY).failure().message
    assert f"{edited} is not as site.yml writes it" in message
    assert proxy.play(one.settings, "--check").changed() == 1
    assert files_of(proxy) != before
    assert proxy.play(one.settings).changed() == 1
    assert files_of(proxy) == before
    without = {**one.settings, "grpc_proxy_reload_command": False}
    assert "is there, and" in proxy.play(without, playbook=VERIFY).failure().message
    assert proxy.play(without).changed() == 1
    assert files_of(proxy) == {}
    assert proxy.play(without).changed() == 0
    # What bears the name already is somebody else's.
    machine.write(f"/usr/local/sbin/{proxy.name}-reload", "#!/bin/sh\n", "0755")
    message = proxy.refused(one.settings)
    assert (
        f"grpc_proxy_reload_command would write to /usr/local/sbin/{proxy.name}-reload" in message
    )
    assert proxy.play(without).changed() == 0
    machine.run("rm", f"/usr/local/sbin/{proxy.name}-reload")
    assert proxy.play(one.settings).changed() > 0
    assert files_of(proxy) == before


def test_uninstalled(host: Renewing) -> None:
    """The command goes with the proxy; it is the last that is asked of this one."""
    proxy = host.mutual.proxy
    assert files_of(proxy)
    assert proxy.play(host.mutual.settings, playbook=UNINSTALL).changed() > 0
    assert files_of(proxy) == {}
    assert files_of(host.plain.proxy)
