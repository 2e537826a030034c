"""Calls at a steady pace, and streams that are held, through several proxies at once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc

from tests.hosts.oap import COLLECT

KEEP_ALIVE = "/skywalking.v3.ManagementService/keepAlive"
CALL_SECONDS = 10.0
CHANNELS = 10


@dataclass(frozen=True)
class Call:
    """One call: when it began and ended, on the monotonic clock, its status and message."""

    began: float
    ended: float
    code: str
    message: str = ""


@dataclass
class Load:
    """A bounded load on one target: ``pace`` calls a second on ``clients`` connections."""

    target: str
    pace: float = 50.0
    clients: int = 10
    calls: list[Call] = field(default_factory=list)

    async def run(self, seconds: float) -> None:
        """Make calls for so long, then wait for those in flight."""
        # Without a subchannel pool of its own every channel would share one connection.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
        channels = [
            grpc.aio.insecure_channel(self.target, options=options)
            for _client in range(self.clients)
        ]
        flying = []
        began = time.monotonic()
        for number in range(int(seconds * self.pace)):
            await asyncio.sleep(max(0.0, began + number / self.pace - time.monotonic()))
            flying.append(asyncio.create_task(self._call(channels[number % self.clients])))
        await asyncio.gather(*flying)
        for channel in channels:
            await channel.close()

    async def _call(self, channel: grpc.aio.Channel) -> None:
        began = time.monotonic()
        try:
            # Unary: where a client stream is answered before all of it was sent, grpcio's asyncio
            # now and then tells "Internal error from Core" in place of the status it received.
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
                KEEP_ALIVE, request_serializer=bytes, response_deserializer=bytes
            )
            await call(b"", timeout=CALL_SECONDS)
            code, message = "OK", ""
        except grpc.aio.AioRpcError as error:
            code, message = error.code().name, error.details() or ""
        self.calls.append(Call(began, time.monotonic(), code, message))

    def failed(self, since: float = 0.0, until: float = float("inf")) -> list[Call]:
        """Return the calls that began in that time and did not end well."""
        return [call for call in self.calls if since <= call.began < until and call.code != "OK"]


async def collect(
    channel: grpc.aio.Channel, seconds: float, timeout: float, messages: int = 1, size: int = 0
) -> bytes:
    """Report so many messages, be silent for so long, end the stream, return the answer."""
    call: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(
        COLLECT, request_serializer=bytes, response_deserializer=bytes
    )

    async def sent() -> AsyncIterator[bytes]:
        for _message in range(messages):
            yield bytes(size)
        await asyncio.sleep(seconds)

    return await call(sent(), timeout=timeout)


async def hold(
    target: str, streams: int, seconds: float, messages: int = 1, size: int = 0
) -> Counter[str]:
    """Open so many client streams, hold them for so long, end them; count how they ended."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]
    opened = [grpc.aio.insecure_channel(target, options=options) for _channel in range(CHANNELS)]

    async def one(number: int) -> str:
        try:
            await collect(opened[number % CHANNELS], seconds, seconds + 30, messages, size)
        except grpc.aio.AioRpcError as error:
            return f"{error.code().name}: {error.details()}"
        return "OK"

    ended = Counter(await asyncio.gather(*(one(number) for number in range(streams))))
    for channel in opened:
        await channel.close()
    return ended
