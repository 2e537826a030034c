"""What nginx answers by itself, brought about code by code, and read by every client."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.hosts import clients

# The statuses that grpcio, grpc-go, grpc-java and grpc-js agreed on, by what nginx would say.
EXPECTED = {
    **dict.fromkeys((429, 502, 503, 504), "UNAVAILABLE"),
    413: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    **dict.fromkeys((401, 495, 496), "UNAUTHENTICATED"),
    404: "UNIMPLEMENTED",
    **dict.fromkeys((400, 405, 414, 415, 431, 494, 500, 501), "INTERNAL"),
}
# Each status once.
EACH = {status: code for code, status in reversed(EXPECTED.items())}
SECONDS = 10


def method_of(code: int) -> str:
    """Return the method that nginx answers with a code."""
    return f"/oap_proxy.Test/E{code}"


# A proxy that answers with each of them.
SETTINGS: dict[str, object] = {
    "grpc_proxy_snippets": {
        "server": "\n".join(
            f"location = {method_of(code)} {{ return {code}; }}" for code in EXPECTED
        )
    }
}


def faults(
    target: str, code: int, by: Sequence[clients.Client] = clients.CLIENTS
) -> dict[str, clients.Outcome]:
    """Return what clients read of a code that is another status, or does not name the code."""

    def made(client: clients.Client) -> clients.Outcome:
        return clients.call(client, target, method_of(code), seconds=SECONDS)

    with ThreadPoolExecutor() as pool:
        outcomes = dict(zip(by, pool.map(made, by), strict=True))
    return {
        client: outcome
        for client, outcome in outcomes.items()
        if outcome.code != EXPECTED[code] or f"({code})" not in outcome.message
    }
