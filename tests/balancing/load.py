"""Unary calls by clients with addresses of their own, each call with who answered it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import grpc

# A heartbeat of an agent; the meters of an agent, and of OpenTelemetry.
KEEP_ALIVE = "/skywalking.v3.ManagementService/keepAlive"
METERS = "/skywalking.v3.MeterReportService/collect"
METRICS = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
CALLS = 1000
# Metadata that the method `hash` is told to go by. Many clients share each key.
KEY = "x-instance"
KEYS = 101
CALL_SECONDS = 20.0
# Without a subchannel pool of its own every channel would share one connection.
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    # What the proxy refuses is counted, and not tried again behind the test's back.
    ("grpc.enable_retries", 0),
)


@dataclass(frozen=True)
class Call:
    """One call: its client's address, its key, the OAP that answered, else empty, its status."""

    client: str
    key: str
    oap: str
    code: str


async def calls(
    target: tuple[str, int],
    clients: Sequence[str],
    made: list[Call],
    methods: Sequence[str] = (KEEP_ALIVE,),
    number: int = CALLS,
) -> None:
    """Share so many calls among clients, each of which makes one after another."""
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(_channel(target, one)) for one in clients]

        async def work(client: int) -> None:
            for one in range(client, number, len(clients)):
                method = methods[one % len(methods)]
                made.append(await _call(channels[client], clients[client], method, one))

        await asyncio.gather(*(work(client) for client in range(len(clients))))


def by_client(made: Iterable[Call]) -> dict[str, set[str]]:
    """Return the OAPs that answered each client."""
    found: dict[str, set[str]] = {}
    for call in made:
        found.setdefault(call.client, set()).add(call.oap)
    return found


def by_key(made: Iterable[Call]) -> dict[str, set[str]]:
    """Return the OAPs that answered for each key."""
    found: dict[str, set[str]] = {}
    for call in made:
        found.setdefault(call.key, set()).add(call.oap)
    return found


async def _call(channel: grpc.aio.Channel, client: str, method: str, number: int) -> Call:
    key = f"instance-{number % KEYS}"
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        method, request_serializer=bytes, response_deserializer=bytes
    )
    try:
        answer = await call(b"", timeout=CALL_SECONDS, metadata=((KEY, key),))
    except grpc.aio.AioRpcError as error:
        return Call(client, key, "", error.code().name)
    return Call(client, key, answer.decode(), "OK")


@asynccontextmanager
async def _channel(target: tuple[str, int], source: str) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC client cannot choose its address: a relay, byte by byte, does it for one client."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(*target, local_addr=(source, 0))
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with server, grpc.aio.insecure_channel(f"{host}:{port}", options=OPTIONS) as channel:
        yield channel


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
