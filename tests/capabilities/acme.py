"""A real ACME server and the real certbot on a host: Debian's packages pebble and certbot."""

import json
import time

from tests.faults.machine import Machine
from tests.hosts import lab, pki

DIRECTORY = "https://127.0.0.1:14000/dir"
# Where the server looks for the answer to its challenge, and certbot gives it.
CHALLENGE_PORT = 5002
_PLACE = "/etc/pebble"
_UNIT = "pebble"
SECONDS = 10.0
POLL_SECONDS = 0.1


class Acme:
    """The server on the host's loopback address, and certbot as its client."""

    def __init__(self, machine: Machine) -> None:
        """Install and start it."""
        self._machine = machine
        machine.run("apt-get", "update")
        machine.run(
            "env", "DEBIAN_FRONTEND=noninteractive",
            "apt-get", "install", "--yes", "--no-install-recommends", "certbot", "pebble",
        )  # fmt: skip
        authority = pki.authority("of the ACME server")
        own = authority.server("127.0.0.1")
        settings = {
            "listenAddress": "127.0.0.1:14000",
            "managementListenAddress": "127.0.0.1:15000",
            "certificate": f"{_PLACE}/chain.pem",
            "privateKey": f"{_PLACE}/key.pem",
            "httpPort": CHALLENGE_PORT,
            "tlsPort": 5001,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
        }
        machine.run("mkdir", "-p", _PLACE)
        machine.write(f"{_PLACE}/ca.pem", authority.certificate)
        machine.write(f"{_PLACE}/chain.pem", own.chain)
        machine.write(f"{_PLACE}/key.pem", own.private_key, "0600")
        machine.write(f"{_PLACE}/config.json", json.dumps({"pebble": settings}))
        machine.run(
            "systemd-run", f"--unit={_UNIT}", "--setenv=PEBBLE_VA_NOSLEEP=1",
            "--setenv=PEBBLE_WFE_NONCEREJECT=0", "pebble", "-config", f"{_PLACE}/config.json",
        )  # fmt: skip
        end = time.monotonic() + SECONDS
        while "14000" not in machine.run("ss", "--listening", "--tcp", "--numeric"):
            assert time.monotonic() < end, machine.run("journalctl", "--no-pager", "-u", _UNIT)
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the server, and forget what it has signed: the next one is another authority."""
        self._machine.run("systemctl", "stop", _UNIT)
        self._machine.run("rm", "-rf", "/etc/letsencrypt")

    def know(self, name: str) -> None:
        """Have the server find this host by a name, so that it can challenge it."""
        hosts = self._machine.run("cat", "/etc/hosts")
        if name not in hosts.split():
            self._machine.run("sh", "-c", f"echo '127.0.0.1 {name}' >> /etc/hosts")

    def certbot(self, *arguments: str) -> tuple[int, str]:
        """Run certbot; return its status and all that it says."""
        return lab.run(
            self._machine.container,
            ["env", f"REQUESTS_CA_BUNDLE={_PLACE}/ca.pem", "certbot", *arguments],
        )

    def certify(self, name: str) -> None:
        """Get a first certificate, as certbot's manual says."""
        self.know(name)
        code, output = self.certbot(
            "certonly", "--non-interactive", "--agree-tos", "--register-unsafely-without-email",
            "--server", DIRECTORY, "--standalone", "--http-01-port", str(CHALLENGE_PORT),
            "--domain", name,
        )  # fmt: skip
        assert code == 0, output

    def renew(self, *arguments: str) -> tuple[int, str]:
        """Renew everything before its time."""
        return self.certbot("renew", "--force-renewal", "--no-random-sleep-on-renew", *arguments)
