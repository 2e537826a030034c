"""A stand-in OAP that can be killed and started within a second: ``python standin.py PORT``.

It answers every unary and client-streaming method with an empty message, which is what a real OAP
answers to agents' reports, and says that it is healthy. A stand-in, because a real OAP takes eight
seconds to be back, and the time measured here is the proxy's.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc

HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"


class Everything(grpc.GenericRpcHandler):
    """Takes every method as a client stream; a unary call is one of a single message."""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the one handler."""
        healthy = handler_call_details.method == HEALTH
        answer = SERVING if healthy else b""

        async def behave(messages: AsyncIterator[bytes], context: object) -> bytes:
            del context
            async for _message in messages:
                pass
            return answer

        return grpc.stream_unary_rpc_method_handler(behave)


async def _serve(port: int) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Everything(),))
    if server.add_insecure_port(f"0.0.0.0:{port}") != port:
        raise SystemExit(f"port {port} is taken")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
