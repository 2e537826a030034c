"""The configuration is wrong: what is refused, and what is found by its answers."""

import pytest

from tests.faults.fault import Fault, undergo
from tests.faults.load import COLLECT
from tests.faults.site import USUAL, Site, snippet
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL)
SERVICE = COLLECT.rpartition("/")[0]

FAULTS = [
    Fault(
        "syntax error in a snippet",
        snippet("client_max_body_sise 0;"),
        "rejected",
        ('unknown directive "client_max_body_sise"', "server.d/90-snippet.conf:1"),
        log="client_max_body_sise",
    ),
    Fault(
        "a snippet answers 204 for one service",
        snippet(f"location ^~ {SERVICE}/ {{ return 204; }}"),
        "fallback",
        (SERVICE, "HTTP status 204 instead of 200", "grpc_proxy_snippets"),
        rolled_back=True,
        lossless=False,
    ),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_row(proxy: Site, story: Story, fault: Fault) -> None:
    """One row of the table."""
    undergo(proxy, story, fault)
