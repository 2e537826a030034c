"""What agents are told of TLS and of the token.

| agent | TLS | trusts | client certificate | token |
|---|---|---|---|---|
| Java 9.4.0 | `agent.force_tls`, or the file of the CA | `agent.ssl_trusted_ca_path` | yes | yes |
| Python 1.2.0 | `SW_AGENT_FORCE_TLS` | gRPC's roots | no | yes |
| Node.js 0.9.0 | `SW_AGENT_SECURE` | gRPC's roots | no | yes |

gRPC's roots are the file that GRPC_DEFAULT_SSL_ROOTS_FILE_PATH names. No agent takes another name
for its server than that of the target.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.hosts.clients.tls import Tls
from tests.hosts.progress import LabError


@contextmanager
def environment(agent: str, switch: str, tls: Tls | None, token: str) -> Iterator[dict[str, str]]:
    """Return the variables of an agent that knows nothing but gRPC's roots."""
    variables = {"SW_AGENT_AUTHENTICATION": token} if token else {}
    if tls is None:
        yield variables
        return
    named_by_target(agent, tls)
    if tls.client:
        raise LabError(f"the {agent} agent shows no certificate")
    with TemporaryDirectory() as work:
        roots = Path(work) / "roots.pem"
        roots.write_text(tls.ca, encoding="ascii")
        yield {**variables, switch: "true", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(roots)}


def named_by_target(agent: str, tls: Tls) -> None:
    """Refuse what no agent can do."""
    if tls.server_name:
        raise LabError(f"the {agent} agent knows its server by the target's name alone")
