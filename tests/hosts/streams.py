"""Client streams that are held while something happens to the proxy."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

import grpc

from tests.hosts.clients import Tls
from tests.hosts.clients.grpcio import channel
from tests.hosts.oap import COLLECT, HEALTH

SECONDS = 50.0


class Stream:
    """One stream of segments, empty ones, to a real OAP, which answers at its end."""

    def __init__(self, opened: grpc.Channel) -> None:
        """Open it on a connection that is up, and send the first segment."""
        self.request_id = uuid4().hex
        self._messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # So that the stream is on its way before this returns.
        opened.unary_unary(HEALTH, bytes, bytes)(b"", timeout=SECONDS)
        self._call = opened.stream_unary(COLLECT, bytes, bytes).future(
            iter(self._messages.get, None),
            timeout=SECONDS,
            metadata=(("x-request-id", self.request_id),),
        )
        self.send()

    def send(self) -> None:
        """Send one more segment."""
        self._messages.put(b"")

    def end(self) -> str:
        """End it, and return the status that the client reads."""
        self._messages.put(None)
        return str(self._call.code().name)


@contextmanager
def held(target: str, *clients: Tls | None) -> Iterator[list[Stream]]:
    """Hold a stream for each of some clients; that it ends well is the test's to ask."""
    with ExitStack() as stack:
        yield [Stream(stack.enter_context(channel(target, tls))) for tls in clients]
