"""Real gRPC clients with their default retry: unary calls, short streams, and streams held open."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import grpc

from tests.hosts import clients
from tests.hosts.load import OPTIONS, Load
from tests.hosts.oap import COLLECT
from tests.hosts.paths import ROOT

BEAT_SECONDS = 0.2
SHORT_SECONDS = 2.0
# Of each kind of client.
LONG, SHORT = 4, 4
# A few dozen connections and as many calls a second as a small site's agents make.
GO = (
    "-clients", "20", "-streams", "20", "-unary", "50",
    "-long", str(LONG), "-short", str(SHORT), "-empty",
)  # fmt: skip
# The timer of the drain time counts from when the worker was last awake.
TIMER_SECONDS = 0.1
# What is on its way has a deadline of ten seconds.
END_SECONDS = 60


@dataclass(frozen=True)
class HeldStream:
    """A client stream that was held open, and how it ended.

    :ivar wanted: seconds that its client wanted it to live; 0 to the end of the load.
    :ivar lived: seconds that it did.
    """

    client: str
    wanted: float
    began: float
    lived: float
    status: str
    words: str


@dataclass
class Clients:
    """The load of grpcio and of grpc-go on one target, until the end of the context."""

    target: str
    made: int = 0
    lost: list[str] = field(default_factory=list)
    held: list[HeldStream] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._load = Load(self.target)

    def __enter__(self) -> Self:
        """Begin."""
        program = clients.go_program(ROOT / "tests" / "bench" / "load")
        self._go = subprocess.Popen(
            [str(program), "run", *GO, self.target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._threads = [
            threading.Thread(target=self._hold, args=(wanted,))
            for wanted in (0.0,) * LONG + (SHORT_SECONDS,) * SHORT
        ]
        self._load.__enter__()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End, and gather what all of them saw."""
        self._over.set()
        out, words = self._go.communicate(timeout=END_SECONDS)
        for thread in self._threads:
            thread.join()
        self._load.__exit__(kind, error, traceback)
        assert self._go.returncode == 0, f"the load of grpc-go failed: {words[-2000:]}"
        told = json.loads(out)
        self.made = self._load.made + told["made"]
        self.lost = [f"grpcio: {one}" for one in self._load.lost]
        self.lost += [f"grpc-go: {one}" for one in told["words"] or ()]
        self.held += [HeldStream("grpc-go", **one) for one in told["held"] or ()]

    def cut(self, drain_seconds: float) -> list[HeldStream]:
        """Return the streams that were cut: none but those held for longer than the drain time."""
        short = [one for one in self.held if one.wanted]
        assert short
        assert not [one for one in short if one.status != "OK"]
        cut = [one for one in self.held if one.status != "OK"]
        early = [one for one in cut if one.lived < drain_seconds - TIMER_SECONDS]
        assert not early, f"cut before the drain time was over: {early[:5]}"
        assert {one.status for one in cut} <= {"UNAVAILABLE"}, cut[:5]
        return cut

    def _hold(self, wanted: float) -> None:
        with grpc.insecure_channel(self.target, options=OPTIONS) as channel:
            while not self._over.is_set():
                began = time.time()
                begin = time.monotonic()
                status, words = "OK", ""
                try:
                    channel.stream_unary(COLLECT, bytes, bytes)(self._messages(wanted))
                except grpc.RpcError as error:
                    status, words = error.code().name, error.details() or ""
                lived = time.monotonic() - begin
                self.held.append(HeldStream("grpcio", wanted, began, lived, status, words))

    def _messages(self, wanted: float) -> Iterator[bytes]:
        end = time.monotonic() + (wanted or END_SECONDS * 60)
        while (left := end - time.monotonic()) > 0:
            yield b""
            if self._over.wait(min(BEAT_SECONDS, left)):
                return
