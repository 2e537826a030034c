"""A small, steady load of gRPC calls through a proxy, every one of them counted."""

import re
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc

from tests.hosts.oap import COLLECT, HEALTH

CALLERS = 4
CALLS_PER_SECOND = 50
CALL_SECONDS = 5.0
# An nginx before this one closes connections at a reload with what it has not read, and the
# client's kernel may tell of that first: see docs/versions.md.
READS_ON = (1, 19, 1)
UNREAD = re.compile(r"Broken pipe|Connection reset by peer")
UNREAD_SHARE = 0.01
OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    # Each caller has connections of its own, and comes back at once after a loss.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
)


@dataclass(frozen=True)
class Lost:
    """One call that did not end with OK."""

    at: float
    method: str
    status: str
    details: str


@dataclass
class Load:
    """Calls of the OAP's health service and empty streams of segments, in turn, until the end.

    gRPC's transparent retry is left on, as agents have it: what is lost is what an agent loses.
    """

    target: str
    metadata: tuple[tuple[str, str], ...] = ()
    nginx: str = ""
    """The version in between, where it may be one that does not read on."""
    made: int = 0
    lost: list[Lost] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Begin."""
        self._threads = [
            threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, and wait for the calls that are on their way."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def gap(self) -> float:
        """Seconds from the first call lost to the last one."""
        times = [call.at for call in self.lost]
        return max(times) - min(times) if times else 0.0

    @property
    def blamed(self) -> list[Lost]:
        """The calls whose loss this nginx has no excuse for."""
        version = tuple(int(part) for part in self.nginx.split(".") if part)
        excused = bool(version) and version < READS_ON
        unread = [call for call in self.lost if excused and UNREAD.search(call.details)]
        # Of each caller the one that it was making.
        few = len(unread) <= max(CALLERS, self.made * UNREAD_SHARE)
        return [call for call in self.lost if not (few and call in unread)]

    def _call(self, number: int) -> None:
        pause = CALLERS / CALLS_PER_SECOND
        due = time.monotonic() + pause * number / CALLERS
        with grpc.insecure_channel(self.target, options=OPTIONS) as channel:
            unary = channel.unary_unary(HEALTH, bytes, bytes)
            stream = channel.stream_unary(COLLECT, bytes, bytes)
            while not self._over.wait(max(0.0, due - time.monotonic())):
                due = max(due + pause, time.monotonic())
                segments = (self.made + number) % 2
                method = COLLECT if segments else HEALTH
                begin = time.monotonic()
                try:
                    if segments:
                        stream(iter(()), timeout=CALL_SECONDS, metadata=self.metadata)
                    else:
                        unary(b"", timeout=CALL_SECONDS, metadata=self.metadata)
                except grpc.RpcError as error:
                    status, details = error.code().name, error.details() or ""
                    with self._lock:
                        self.lost.append(Lost(begin, method, status, details))
                with self._lock:
                    self.made += 1
