"""The command as certbot's deploy hook: the real certbot, a real ACME server, a real listener."""

import ssl
from collections.abc import Iterator

import pytest

from tests.capabilities.acme import Acme
from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import Deployment
from tests.capabilities.handshakes import handshake
from tests.capabilities.test_tls import fingerprint
from tests.faults.machine import Machine
from tests.hosts.streams import held

PORT = 13920
NAME = "renewed.example"
COMMAND = "/usr/local/sbin/renewed-reload"
OPTION = ("--deploy-hook", "renewed-reload")
HOOKS = "/etc/letsencrypt/renewal-hooks/deploy"
LIVE = f"/etc/letsencrypt/live/{NAME}"
SETTINGS = {
    "grpc_proxy_listen": [{"port": PORT}, {"port": PORT + 1, "tls": True}],
    "grpc_proxy_tls": {
        "certificate_path": f"{LIVE}/fullchain.pem",
        "private_key_path": f"{LIVE}/privkey.pem",
        "server_name": NAME,
    },
    "grpc_proxy_reload_command": True,
}


@pytest.fixture(scope="module")
def acme(machine: Machine) -> Iterator[Acme]:
    """The ACME server."""
    server = Acme(machine)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(proxies: Proxies, acme: Acme) -> Deployment:
    """A proxy that shows its first certificate."""
    acme.certify(NAME)
    made = proxies("renewed", PORT)
    made.deploy(SETTINGS)
    return made


def on_disk(proxy: Deployment) -> str:
    """Name the certificate that certbot keeps."""
    return fingerprint(ssl.PEM_cert_to_DER_cert(proxy.machine.run("cat", f"{LIVE}/cert.pem")))


def shown(proxy: Deployment) -> str:
    """Name the certificate that clients are shown."""
    return fingerprint(handshake(proxy.address, PORT + 1, NAME).certificate)


@pytest.mark.parametrize("how", ["option", "directory"])
def test_deploy_hook(proxy: Deployment, acme: Acme, how: str) -> None:
    """What certbot renews is shown at once, proven, and a stream goes on.

    The hook is given by an option for one run, and then stands in certbot's directory for all.
    """
    old = shown(proxy)
    assert old == on_disk(proxy)
    if how == "directory":
        proxy.machine.run("mkdir", "-p", HOOKS)
        proxy.machine.run("ln", "-s", COMMAND, HOOKS)
    with held(proxy.target, None) as (stream,):
        code, output = acme.renew(*(OPTION if how == "option" else ()))
        assert code == 0, output
        assert "is live and proven (reloaded)" in output
        assert "warning" not in output
        new = on_disk(proxy)
        assert new != old
        assert f"certificate {new} of CN={NAME}, valid until " in output
        assert shown(proxy) == new
        stream.send()
        assert stream.end() == "OK"
    assert proxy.play(SETTINGS).changed() == 0


def test_hook_that_fails(proxy: Deployment, acme: Acme) -> None:
    """Where nginx cannot take it, certbot shows why; its own exit status tells nothing."""
    old = shown(proxy)
    master = proxy.machine.pid(f"{proxy.name}.service")
    proxy.machine.run("kill", "-STOP", str(master))
    try:
        code, output = acme.renew(*OPTION)
    finally:
        proxy.machine.run("kill", "-CONT", str(master))
    assert code == 0
    assert "Hook 'deploy-hook' reported error code 1" in output
    assert f"'kill -CONT {master}' lets it go on" in output
    assert "(reason: not_live)" in output
    assert shown(proxy) == old != on_disk(proxy)
    code, output = acme.renew(*OPTION)
    assert "is live and proven (reloaded)" in output
    assert shown(proxy) == on_disk(proxy)
