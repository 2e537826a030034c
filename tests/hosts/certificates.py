"""The certificates of a laboratory: its authority, its OAPs' TLS, and what they ask of a client.

A real OAP, by experiment with 10.1.0:

- ``core`` speaks TLS on the OAP's one port and asks for no client certificate, whatever its
  trusted CA is set to: that one is for calls between OAPs.
- ``receiver-sharing-server`` asks for one, on a port of its own. Agents' services, Envoy's and
  the health check move there; on core's port their methods are UNIMPLEMENTED, and RemoteService
  and a second health check stay. Here agents' port stays 11800, and core's is CORE_PORT.
- A token is demanded for agents' services. On the one port the health check and RemoteService
  are answered without it; on a port of receiver-sharing-server the health check demands it too.
- New certificates in the same files are served within a second, without a restart.
"""

import fcntl
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.hosts import pki
from tests.hosts.clients.tls import Tls
from tests.hosts.paths import BUILD
from tests.hosts.pki import Authority, Identity
from tests.hosts.spec import Host

# Every OAP's certificate says this name too: one name serves for all that a proxy balances.
OAP_NAME = "oap.example"
PROXY_NAMES = ("proxy.example", "named.example")
CORE_PORT = 11801
CHAIN, KEY, CLIENT_CA = "/oap/tls/chain.pem", "/oap/tls/key.pem", "/oap/tls/client-ca.pem"
# An authority that ends sooner is made anew: no run lasts that long.
SPARE_DAYS = 7
_PART = "-----BEGIN CERTIFICATE-----"


def authority(lab: str) -> Authority:
    """Return the authority of a laboratory, the same until it is about to end."""
    path = BUILD / "authorities" / f"{lab}.pem"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_suffix(".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if path.exists():
            private_key, part, certificate = path.read_text(encoding="ascii").partition(_PART)
            known = Authority(part + certificate, private_key)
            if known.outlasts(SPARE_DAYS):
                return known
        made = pki.authority(f"laboratory {lab}")
        path.touch(mode=0o600)
        path.write_text(made.private_key + made.certificate, encoding="ascii")
    return made


def of_oap(host: Host) -> Identity:
    """Make a certificate for an OAP, by all its names and addresses."""
    return authority(host.lab).server(OAP_NAME, host.name, host.address, host.address6)


def tls_to(host: Host) -> Tls | None:
    """Return what a client needs to call an OAP: its authority, a certificate if it asks."""
    if host.tls == "none":
        return None
    own = authority(host.lab)
    return Tls(own.certificate, own.client("laboratory") if host.tls == "mutual" else None)


def metadata_to(host: Host) -> dict[str, str]:
    """Return what an OAP wants to hear with every call of an agent."""
    return {"authentication": host.token} if host.token else {}


def files(host: Host, identity: Identity) -> dict[str, str]:
    """Return the files that an OAP reads (path: text), for `lab.put`."""
    if host.tls == "none":
        return {}
    return {
        CHAIN: identity.chain,
        KEY: identity.private_key,
        CLIENT_CA: authority(host.lab).certificate,
    }


def environment(host: Host) -> Mapping[str, str]:
    """Return the settings of an OAP, by the names that SkyWalking documents."""
    settings = {"SW_AUTHENTICATION": host.token} if host.token else {}
    if host.tls == "server":
        settings |= {
            "SW_CORE_GRPC_SSL_ENABLED": "true",
            "SW_CORE_GRPC_SSL_CERT_CHAIN_PATH": CHAIN,
            "SW_CORE_GRPC_SSL_KEY_PATH": KEY,
            "SW_CORE_GRPC_SSL_TRUSTED_CA_PATH": CLIENT_CA,
        }
    elif host.tls == "mutual":
        settings |= {
            "OAP_GRPC_PORT": str(CORE_PORT),
            "SW_RECEIVER_GRPC_PORT": "11800",
            "SW_RECEIVER_GRPC_SSL_ENABLED": "true",
            "SW_RECEIVER_GRPC_SSL_CERT_CHAIN_PATH": CHAIN,
            "SW_RECEIVER_GRPC_SSL_KEY_PATH": KEY,
            "SW_RECEIVER_GRPC_SSL_TRUSTED_CAS_PATH": CLIENT_CA,
        }
    return settings


def write_for_proxies(lab: str, folder: Path) -> None:
    """Write what a proxy with TLS and client certificates is configured with, as files."""
    own = authority(lab)
    proxy = own.server(*PROXY_NAMES)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "chain.pem").write_text(proxy.chain, encoding="ascii")
    (folder / "key.pem").write_text(proxy.private_key, encoding="ascii")
    (folder / "ca.pem").write_text(own.certificate, encoding="ascii")


if __name__ == "__main__":
    write_for_proxies(sys.argv[1], Path(sys.argv[2]))
