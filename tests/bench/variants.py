"""The rows of ``python -m tests.bench calls`` that are this collection's nginx.

A further row is one more entry of VARIANTS: a name, and what it is deployed with. Each becomes a
proxy of its own on the one host, with its own ``grpc_proxy_name`` and port; all run side by side
and one at a time is loaded. What clients must show for it (TLS, a certificate, a token) is said
beside it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.hosts import pki
from tests.hosts.clients import Tls


class Shape(StrEnum):
    """What the clients do."""

    PACE = "agents' pace"
    STREAMS = "full speed, streams of 10"
    UNARY = "full speed, unary"


@dataclass(frozen=True)
class Cell:
    """One load that proxies are compared under."""

    shape: Shape
    clients: int


CELLS = tuple(Cell(shape, clients) for shape in Shape for clients in (20, 200))
# A fifth of the time, for what is compared with the plain listener alone.
SHORT = (Cell(Shape.PACE, 20), Cell(Shape.UNARY, 20))


@dataclass(frozen=True)
class Variant:
    """One nginx, as site.yml deploys it."""

    name: str
    settings: Mapping[str, object] = field(default_factory=dict)
    """Group variables; grpc_proxy_name and grpc_proxy_listen are given to each."""
    listen: Mapping[str, object] = field(default_factory=dict)
    """What its entry of grpc_proxy_listen says beside the port."""
    tls: Tls | None = None
    """What its clients trust and show."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What its clients send with every call."""
    cells: tuple[Cell, ...] = CELLS


_PROXY_NAME = "proxy.example"
_AUTHORITY = pki.authority("bench")
_SERVER = _AUTHORITY.server(_PROXY_NAME)
_TLS = {
    "certificate": _SERVER.chain,
    "private_key": _SERVER.private_key,
    "server_name": _PROXY_NAME,
}
_TOKEN = "of-the-bench"  # noqa: S105

VARIANTS: tuple[Variant, ...] = (
    Variant("nginx"),
    Variant(
        "nginx, TLS",
        {"grpc_proxy_tls": _TLS},
        listen={"tls": True},
        tls=Tls(_AUTHORITY.certificate, server_name=_PROXY_NAME),
        cells=SHORT,
    ),
    Variant(
        "nginx, mTLS",
        {"grpc_proxy_tls": {**_TLS, "client_ca": _AUTHORITY.certificate}},
        listen={"tls": True},
        tls=Tls(_AUTHORITY.certificate, _AUTHORITY.client("agent"), _PROXY_NAME),
        cells=SHORT,
    ),
    Variant("nginx, log off", {"grpc_proxy_access_log": {"to": "off"}}, cells=SHORT),
    Variant(
        "nginx, every call logged",
        {"grpc_proxy_access_log": {"to": "file", "sample": {}}},
        cells=SHORT,
    ),
    Variant(
        "nginx, token and limits",
        {
            "grpc_proxy_token": _TOKEN,
            "grpc_proxy_allow": ["10.0.0.0/8"],
            # Far above the load, so that none of it is refused.
            "grpc_proxy_rate_limit": [{"rate": "900000/s", "burst": 900000, "key": "token"}],
            "grpc_proxy_connection_limit": [{"streams": 60000}],
        },
        metadata={"authentication": _TOKEN},
        cells=SHORT,
    ),
)
