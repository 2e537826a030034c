"""A stand-in OAP that counts its calls: ``python standin.py NAME PORT``.

It answers every method of a single message with its own name, and says that it is healthy. A
stand-in, because a real OAP counts what it stores and not its calls, and cannot be told to be slow.
It is told, and asked, by methods of its own that nobody calls through the proxy.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator

import grpc

HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
# Counts from nothing; the message says how many seconds a call takes, and whether calls are held.
BEGIN = "/counted.StandIn/Begin"
# Lets the held calls go.
RELEASE = "/counted.StandIn/Release"
COUNTS = "/counted.StandIn/Counts"


class StandIn:
    """What it is called, what it was told and what it has counted."""

    def __init__(self, name: str) -> None:
        """Begin with nothing counted."""
        self.name = name.encode()
        self.begin(0.0, held=False)

    def begin(self, delay: float, *, held: bool) -> None:
        """Count from nothing."""
        self.delay = delay
        self.calls = self.now = self.most = 0
        self.released = asyncio.Event()
        if not held:
            self.released.set()

    async def answer(self, method: str, message: bytes) -> bytes:
        """Answer one call."""
        if method == HEALTH:
            return SERVING
        if method == BEGIN:
            self.begin(**json.loads(message))
            return b""
        if method == RELEASE:
            self.released.set()
            return b""
        if method == COUNTS:
            told = {"calls": self.calls, "now": self.now, "most": self.most}
            return json.dumps(told).encode()
        return await self._count()

    async def _count(self) -> bytes:
        self.calls += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.released.wait()
            await asyncio.sleep(self.delay)
        finally:
            self.now -= 1
        return self.name


class Everything(grpc.GenericRpcHandler):
    """Takes every method as a client stream; a unary call is one of a single message."""

    def __init__(self, standin: StandIn) -> None:
        """Take what answers."""
        self._standin = standin

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the one handler."""
        method = str(handler_call_details.method)

        async def behave(messages: AsyncIterator[bytes], context: object) -> bytes:
            del context
            return await self._standin.answer(method, b"".join([part async for part in messages]))

        return grpc.stream_unary_rpc_method_handler(behave)


async def _serve(name: str, port: int) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Everything(StandIn(name)),))
    if server.add_insecure_port(f"0.0.0.0:{port}") != port:
        raise SystemExit(f"port {port} is taken")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
