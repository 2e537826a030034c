"""Secrets planted in the site of the tests, and the search for them wherever they must not be."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from secrets import token_hex
from typing import Any

from tests.faults.machine import Machine
from tests.hosts import pki

NAME = "oap-proxy.test"
TLS_PORT = 11843
TLS_LISTENER = {"port": TLS_PORT, "tls": True}
# What a mistake would show of a key is a line of it.
MIN_LINE = 16


@dataclass(frozen=True)
class Planted:
    """What nobody may see."""

    authority: pki.Authority
    identity: pki.Identity
    # Letters and digits alone: they look the same however they are quoted.
    token: str = field(default_factory=lambda: f"planted{token_hex(12)}", repr=False)
    oap_token: str = field(default_factory=lambda: f"planted{token_hex(12)}", repr=False)

    @property
    def settings(self) -> dict[str, Any]:
        """The variables of the site that hold them."""
        return {
            "grpc_proxy_token": self.token,
            "grpc_proxy_oap_token": self.oap_token,
            "grpc_proxy_listen": [{"port": 11800}, TLS_LISTENER],
            "grpc_proxy_tls": {
                "certificate": self.identity.chain,
                "private_key": self.identity.private_key,
                "server_name": NAME,
            },
        }

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What a client sends."""
        return (("authentication", self.token),)

    def needles(self) -> dict[str, str]:
        """What to search for, by the name to tell it by."""
        lines = self.identity.private_key.splitlines()
        inner = [line for line in lines if "PRIVATE KEY" not in line and len(line) >= MIN_LINE]
        assert inner
        return {
            "grpc_proxy_token": self.token,
            "grpc_proxy_oap_token": self.oap_token,
            **{f"line {number} of the key": line for number, line in enumerate(inner, 1)},
        }


@cache
def planted() -> Planted:
    """Return the secrets of this session."""
    authority = pki.authority("Faults")
    return Planted(authority, authority.server(NAME))


def told_by(texts: Iterable[str]) -> list[str]:
    """Name the secrets that some texts hold, without telling them."""
    needles = planted().needles()
    return sorted({name for text in texts for name, needle in needles.items() if needle in text})


def told_on(machine: Machine) -> list[str]:
    """Name the secrets that a host shows, and where: journal, logs, processes, readable files."""
    found: list[str] = json.loads(machine.eyes("search_on_host", json.dumps(planted().needles())))
    return found
