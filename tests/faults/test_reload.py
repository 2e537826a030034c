"""nginx does not take what it was told to reload, and its exit status does not tell."""

from typing import Any

import pytest

from tests.faults.fault import GREEN, Fault, undergo
from tests.faults.site import EVERY, PORT, USUAL, Site, listen, snippet
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(*EVERY)
TAKEN, FREE = 11801, 11802


def single(proxy: Site) -> dict[str, Any]:
    """Return the settings for one address instead of all."""
    return listen({"address": proxy.address, "port": PORT})


def zone(key: str, size: str = "1m") -> dict[str, Any]:
    """Return the settings for a limit of the user's own."""
    return snippet(f"limit_req_zone {key} zone=faults:{size} rate=1000r/s;", "http")


TAKEN_PORT = Fault(
    "port of another program",
    listen({"port": PORT}, {"port": TAKEN}),
    "not_live",
    (f"another program holds 0.0.0.0:{TAKEN}", "ss -ltnp", "change grpc_proxy_listen"),
    log="98: Address already in use",
    rolled_back=True,
    holds=(TAKEN,),
)
FAULTS = [
    TAKEN_PORT,
    Fault(
        "from all addresses to one",
        single,
        "restart_needed",
        (f":{PORT}", "wildcard or a single address", "grpc_proxy_allow_restart"),
    ),
    Fault(
        "a zone of a new size",
        zone("$binary_remote_addr", "2m"),
        GREEN,
        first=zone("$binary_remote_addr"),
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_row(proxy: Site, story: Story, fault: Fault) -> None:
    """One row of the table."""
    undergo(proxy, story, fault, again=proxy.nginx == USUAL)
