"""One call on grpcio."""

from collections.abc import Mapping

import grpc

from tests.hosts.clients.outcome import Outcome
from tests.hosts.clients.tls import Tls

_OPTIONS = (("grpc.enable_http_proxy", 0),)


def call(
    target: str,
    method: str,
    metadata: Mapping[str, str],
    tls: Tls | None = None,
    *,
    stream: bool,
    seconds: int,
) -> Outcome:
    """Make one call with an empty message (a client stream: with none)."""
    # grpcio alone sends names as they are, and the protocol's are in lower case.
    pairs = tuple((name.lower(), value) for name, value in metadata.items())
    with channel(target, tls) as opened:
        try:
            if stream:
                opened.stream_unary(method, bytes, bytes)(iter(()), timeout=seconds, metadata=pairs)
            else:
                opened.unary_unary(method, bytes, bytes)(b"", timeout=seconds, metadata=pairs)
        except grpc.RpcError as error:
            code = error.code()
            return Outcome(code.name, code.value[0], error.details() or "")
    return Outcome("OK", 0, "")


def channel(target: str, tls: Tls | None = None) -> grpc.Channel:
    """Open a channel, in plain text or over TLS."""
    if tls is None:
        return grpc.insecure_channel(target, options=_OPTIONS)
    options: tuple[tuple[str, int | str], ...] = _OPTIONS
    if tls.server_name:
        options += (("grpc.ssl_target_name_override", tls.server_name),)
    own = tls.client
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.ca.encode(),
        private_key=own.private_key.encode() if own else None,
        certificate_chain=own.chain.encode() if own else None,
    )
    return grpc.secure_channel(target, credentials, options=options)
