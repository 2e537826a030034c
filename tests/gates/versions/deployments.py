"""Deployments that together use every directive and parameter of the templates.

Each is a host of the inventory with the variables that people would set on it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.gates import tree
from tests.hosts import pki

EVERYTHING = tree.ROOT / "extensions/molecule/distributions/converge.yml"
Variables = dict[str, Any]

# With a weight, a limit, a backup and one that is drained; a limit and a backup exclude each other
# from some of what the templates write, so they are in groups of their own.
GROUPS: dict[str, dict[str, Variables]] = {
    "skywalking_oap": {
        "oap1": {"oap_address": "10.0.0.11"},
        "oap2": {"oap_address": "2001:db8::12", "oap_weight": 2},
    },
    "uneven": {
        "uneven1": {"oap_address": "10.0.1.11", "oap_weight": 3},
        "uneven2": {"oap_address": "10.0.1.12", "oap_backup": True},
        "uneven3": {"oap_address": "10.0.1.13", "oap_state": "drain"},
    },
    "limited": {
        "limited1": {"oap_address": "10.0.2.11", "oap_max_conns": 100},
        "limited2": {"oap_address": "10.0.2.12", "oap_backup": True},
    },
    "named": {
        "named1": {"oap_address": "oap1.example", "oap_weight": 2},
        "named2": {"oap_address": "10.0.3.12"},
        "named3": {"oap_address": "oap3.example", "oap_state": "drain"},
    },
}


def deployments(certificates: Path) -> dict[str, Variables]:
    """Return the variables of each deployment by its name.

    :param certificates: an empty directory, for what is read from files.
    """
    own = pki.authority("versions")
    proxy, client = own.server("proxy.example", "named.example"), own.client("agent")
    for name, text in {
        "chain.pem": proxy.chain,
        "key.pem": proxy.private_key,
        "ca.pem": own.certificate,
    }.items():
        (certificates / name).write_text(text, encoding="ascii")
    pair = {"certificate": client.certificate, "private_key": client.private_key}
    upstream = {"enabled": True, "ca": own.certificate, "name": "oap.example", **pair}
    return {
        "shortest": {},
        "everything": _everything(certificates),
        "encrypted": {
            "grpc_proxy_oap_group": "uneven",
            "grpc_proxy_balance": "least_conn",
            "grpc_proxy_listen": [{"port": 12900, "tls": True, "allow": ["192.0.2.0/24"]}],
            "grpc_proxy_tls": {
                "certificate": proxy.chain,
                "private_key": proxy.private_key,
                "client_ca": own.certificate,
                "client_crl": own.revocation_list(own.client("revoked")),
                "profile": "modern",
            },
            "grpc_proxy_upstream_tls": upstream,
            "grpc_proxy_access_log": {"to": "syslog", "syslog_server": "192.0.2.10:514"},
            "grpc_proxy_services": [
                {
                    "name": "named", "server_name": "named.example", "balance": "ip_hash",
                    "certificate": proxy.chain, "private_key": proxy.private_key,
                    "servers": [{"address": "10.0.3.1", "port": 9090}], "tls": upstream,
                },
                {"name": "limited", "prefix": "/limited.", "group": "limited", "port": 9090},
            ],
        },
        "random": {
            "grpc_proxy_balance": "random_two_least_conn",
            "grpc_proxy_listen": [{"port": 13000}],
            "grpc_proxy_access_log": {"to": "off"},
        },
        # As a container always has it, and a unit beside one.
        "shared": {"grpc_proxy_listen": [{"port": 13200}], "__grpc_proxy_moves": "share"},
        "resolved": {
            "grpc_proxy_oap_group": "named",
            "grpc_proxy_listen": [{"port": 13100}],
            "grpc_proxy_resolver": {"addresses": ["10.0.0.53"], "valid": "10s", "ipv6": False},
            "grpc_proxy_services": [
                {
                    "name": "hashed", "prefix": "/hashed.", "balance": {"hash": "method"},
                    "servers": [{"address": "hashed.example", "port": 9090}],
                },
                {
                    "name": "limited", "prefix": "/limited.", "balance": "least_conn",
                    "servers": [{"address": "limited.example", "port": 9090, "max_conns": 10}],
                },
            ],
        },
    }  # fmt: skip


def _everything(certificates: Path) -> Variables:
    """Return the proxy with everything that molecule deploys on hosts of each distribution."""
    plays = yaml.safe_load(EVERYTHING.read_text(encoding="utf-8"))
    (variables,) = [play["vars"] for play in plays if "vars" in play]
    return {**variables, "certificates": str(certificates)}
