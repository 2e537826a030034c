"""One call on grpcio."""

from collections.abc import Mapping

import grpc

from tests.hosts.clients.outcome import Outcome

_OPTIONS = (("grpc.enable_http_proxy", 0),)


def call(
    target: str, method: str, metadata: Mapping[str, str], *, stream: bool, seconds: int
) -> Outcome:
    """Make one call with an empty message (a client stream: with none)."""
    pairs = tuple(metadata.items())
    with grpc.insecure_channel(target, options=_OPTIONS) as channel:
        try:
            if stream:
                channel.stream_unary(method, bytes, bytes)(
                    iter(()), timeout=seconds, metadata=pairs
                )
            else:
                channel.unary_unary(method, bytes, bytes)(b"", timeout=seconds, metadata=pairs)
        except grpc.RpcError as error:
            code = error.code()
            return Outcome(code.name, code.value[0], error.details() or "")
    return Outcome("OK", 0, "")
