"""The three stand-in OAPs, processes on this machine."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import grpc

from tests.balancing.standin import BEGIN, COUNTS, RELEASE

PORTS = {"oap1": 11921, "oap2": 11922, "oap3": 11923}
OPTIONS = (("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1))
START_SECONDS = 10.0
SECONDS = 5.0


@dataclass(frozen=True)
class Counts:
    """What one stand-in has counted: its calls, those it is at now, and the most at a time."""

    calls: int
    now: int
    most: int


class Backends:
    """The stand-ins by name."""

    def __init__(self, address: str) -> None:
        """Start all on the laboratory's gateway address."""
        self.address = address
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for name in PORTS:
            self.start(name)

    def start(self, name: str) -> None:
        """Start one and return when it answers."""
        script = str(Path(__file__).with_name("standin.py"))
        command = [sys.executable, script, name, str(PORTS[name])]
        self._processes[name] = subprocess.Popen(command)
        target = f"{self.address}:{PORTS[name]}"
        with grpc.insecure_channel(target, options=OPTIONS) as channel:
            grpc.channel_ready_future(channel).result(timeout=START_SECONDS)

    def kill(self, name: str) -> None:
        """Kill one: its connections are reset."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End all that run."""
        for name in list(self._processes):
            self.kill(name)

    def begin(self, slow: dict[str, float] | None = None, *, held: bool = False) -> None:
        """Have all of them count from nothing, some of them slow by so many seconds a call."""
        for name in self._processes:
            told = {"delay": (slow or {}).get(name, 0.0), "held": held}
            self._tell(name, BEGIN, json.dumps(told).encode())

    def release(self) -> None:
        """Let the held calls go."""
        for name in self._processes:
            self._tell(name, RELEASE)

    def counts(self) -> dict[str, Counts]:
        """Return what each has counted; one that was killed has counted nothing."""
        return {
            name: Counts(**json.loads(self._tell(name, COUNTS)))
            if name in self._processes
            else Counts(0, 0, 0)
            for name in PORTS
        }

    def _tell(self, name: str, method: str, message: bytes = b"") -> bytes:
        target = f"{self.address}:{PORTS[name]}"
        with grpc.insecure_channel(target, options=OPTIONS) as channel:
            answer: bytes = channel.unary_unary(method, bytes, bytes)(message, timeout=SECONDS)
        return answer
