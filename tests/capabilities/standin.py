"""A stand-in for a gRPC server, on this machine: it notes each call, and who made it.

Not an OAP: it is there where a real one would not tell what it was sent, and as the unrelated
service that shares an endpoint with SkyWalking.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc

HEALTH = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
# One for each stream that a test holds, and some for others.
THREADS = 16


@dataclass(frozen=True)
class Call:
    """One call as it arrived."""

    method: str
    metadata: tuple[tuple[str, str | bytes], ...]

    def values(self, name: str) -> list[str | bytes]:
        """Return what was sent under a name of metadata."""
        return [value for key, value in self.metadata if key == name]


class StandIn(grpc.GenericRpcHandler):
    """Answers the methods of some services with its own name, after the last message."""

    def __init__(self, address: str, name: str, *services: str, port: int = 0) -> None:
        """Start it, on a free port where none is given; without services it knows every method."""
        self.name = name
        self.calls: list[Call] = []
        self._services = services
        self._server = grpc.server(
            ThreadPoolExecutor(max_workers=THREADS), options=[("grpc.so_reuseport", 0)]
        )
        self._server.add_generic_rpc_handlers((self,))
        self.address = address
        self.port: int = self._server.add_insecure_port(endpoint(address, port))
        self._server.start()

    @property
    def endpoint(self) -> str:
        """Address and port."""
        return endpoint(self.address, self.port)

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """Note the call, and return what answers it; nothing makes it UNIMPLEMENTED."""
        method = handler_call_details.method
        if method == HEALTH:
            return grpc.stream_unary_rpc_method_handler(lambda messages, _: _end(messages, SERVING))
        self.calls.append(Call(method, tuple(handler_call_details.invocation_metadata)))
        known = not self._services or method.split("/")[1] in self._services
        if not known:
            return None
        answer = self.name.encode()
        return grpc.stream_unary_rpc_method_handler(lambda messages, _: _end(messages, answer))

    def taken(self) -> list[Call]:
        """Return the calls since the last time that this was asked, the health's left out."""
        taken, self.calls = self.calls, []
        return taken

    def stop(self) -> None:
        """End it at once."""
        self._server.stop(None).wait()


def endpoint(address: str, port: int) -> str:
    """Return address and port as one text."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _end(messages: Iterator[bytes], answer: bytes) -> bytes:
    for _message in messages:
        pass
    return answer
