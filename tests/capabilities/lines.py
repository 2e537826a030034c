"""The lines of an access log, each of which must be what docs/access-log.md promises."""

import gzip
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.capabilities.deployment import Deployment
from tests.capabilities.raw_http2 import EMPTY, Answer, Caller, plain

Line = dict[str, Any]

TOKEN = "agents' own"  # noqa: S105 - of a test
FIELDS: dict[str, type] = {
    "time": str,
    "request_id": str,
    "client": str,
    "listener": str,
    "kind": str,
    "tag": str,
    "service": str,
    "method": str,
    "path": str,
    "grpc_code": str,
    "http_status": int,
    "seconds": float,
    "bytes_received": int,
    "bytes_sent": int,
    "upstream": str,
    "upstream_status": str,
    "upstream_connect_seconds": str,
    "upstream_seconds": str,
    "tls": str,
    "client_certificate": str,
    "client_verified": str,
    "token": str,
    "generation": str,
}
# How long a line may take to be there on a machine that does much else.
SECONDS = 30.0
POLL_SECONDS = 0.2


def _unique(pairs: list[tuple[str, Any]]) -> Line:
    found = dict(pairs)
    assert len(found) == len(pairs), f"a key twice: {pairs}"
    return found


def read(raw: bytes) -> Line:
    """Return one line, which must be what docs/access-log.md promises."""
    try:
        line: Line = json.loads(raw.decode("utf-8", errors="strict"), object_pairs_hook=_unique)
    except ValueError as error:
        raise AssertionError(f"no JSON: {raw!r}") from error
    assert {name: type(value) for name, value in line.items()} == FIELDS, raw
    return line


@dataclass
class Log:
    """The access log of a proxy, a file."""

    proxy: Deployment

    @property
    def directory(self) -> Path:
        """Its directory, as this machine sees it."""
        pid = self.proxy.machine.container.attrs["State"]["Pid"]
        return Path(f"/proc/{pid}/root/var/log/{self.proxy.name}")

    def lines(self) -> list[Line]:
        """Return all lines that are there."""
        # What is behind the last newline is being written.
        whole = (self.directory / "access.log").read_bytes().split(b"\n")[:-1]
        return [read(line) for line in whole]

    def everywhere(self) -> list[Line]:
        """Return all lines, those of rotated files too."""
        found = []
        for path in self.directory.glob("access.log*"):
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                found += [read(line) for line in file.read().split(b"\n")[:-1]]
        return found

    def of(self, request_id: str) -> Line:
        """Return the one line of a call."""
        found = until(
            lambda: [line for line in self.lines() if line["request_id"] == request_id],
            f"a line about {request_id}",
        )
        assert len(found) == 1, found
        return found[0]


def until[Found](ask: Callable[[], Found | None], what: str) -> Found:
    """Return what is found, once it is."""
    end = time.monotonic() + SECONDS
    while not (found := ask()):
        assert time.monotonic() < end, f"not there: {what}"
        time.sleep(POLL_SECONDS)
    return found


def call(caller: Caller, path: str, body: bytes = EMPTY, **more: str) -> tuple[str, Answer]:
    """Make a call with an id of its own and a token, and return both id and answer."""
    request_id = more.pop("x_request_id", uuid.uuid4().hex)
    known = {"authentication": TOKEN, "x_request_id": request_id, "path": path} | more
    return request_id, caller.call(plain(**known), body)
