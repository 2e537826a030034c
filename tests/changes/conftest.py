"""Hosts with proxies by site.yml in front of a real OAP, and the collection's code in them."""

from collections.abc import Iterable, Iterator

import pytest

from tests.changes.hosts import ChangesHost, deployed
from tests.hosts import images

SCENARIOS = ("good", "bad", "edited")
# Of a container there is one more: another one takes its place.
CONTAINED = (*SCENARIOS, "handover")
LOADED = "loaded"
PORT = 11800
DRAIN_SECONDS = 5


def powers(scenarios: Iterable[str]) -> dict[str, dict[str, object]]:
    """Return a proxy for each scenario of power, so that they run beside each other."""
    return {
        f"power-{name}": {"grpc_proxy_listen": [{"port": port}]}
        for port, name in enumerate(scenarios, 11811)
    }


@pytest.fixture(scope="session")
def proxy1() -> Iterator[ChangesHost]:
    """The host of units: one under load, the others for scenarios of power."""
    loaded = {
        "grpc_proxy_listen": [{"port": PORT}],
        "grpc_proxy_drain_timeout": f"{DRAIN_SECONDS}s",
    }
    with deployed({LOADED: loaded, **powers(SCENARIOS)}) as host:
        host.shell("apt-get install -qq --yes --no-install-recommends strace > /dev/null")
        yield host


@pytest.fixture(scope="session")
def contained1() -> Iterator[ChangesHost]:
    """The host of containers."""
    image = images.nginx()
    container = {
        "grpc_proxy_install": "container",
        "grpc_proxy_container_image": image,
        "grpc_proxy_container_pull": "never",
        "grpc_proxy_drain_timeout": f"{DRAIN_SECONDS}s",
    }
    proxies = {name: {**container, **given} for name, given in powers(CONTAINED).items()}
    with deployed(proxies, "contained", image) as host:
        yield host
