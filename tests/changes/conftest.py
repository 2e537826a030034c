"""One host with proxies by site.yml in front of a real OAP, and the collection's code in it."""

from collections.abc import Iterator

import pytest

from tests.changes.hosts import ChangesHost, deployed

SCENARIOS = ("good", "bad", "edited")
LOADED = "loaded"
PORT = 11800
DRAIN_SECONDS = 5
# One proxy for each scenario of power, so that they run beside each other; one under load.
PROXIES: dict[str, dict[str, object]] = {
    LOADED: {
        "grpc_proxy_listen": [{"port": PORT}],
        "grpc_proxy_drain_timeout": f"{DRAIN_SECONDS}s",
    },
    **{f"power-{name}": {"grpc_proxy_listen": [{"port": port}]}
       for port, name in enumerate(SCENARIOS, 11811)},
}  # fmt: skip


@pytest.fixture(scope="session")
def proxy1() -> Iterator[ChangesHost]:
    """The host."""
    with deployed(PROXIES) as host:
        host.shell("apt-get install -qq --yes --no-install-recommends strace > /dev/null")
        yield host
