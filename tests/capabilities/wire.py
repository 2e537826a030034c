"""Calls on grpcio that tell all of an answer, and that may be as odd as a stranger's."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue

import grpc

SECONDS = 10.0
POLL_SECONDS = 0.02
Metadata = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Answer:
    """What a call ended with."""

    code: str
    message: str
    headers: Mapping[str, str | bytes]
    """Initial and trailing metadata."""
    body: bytes = b""

    def refused_by(self, proxy: str) -> bool:
        """Tell whether a proxy of that name has refused it, and no server behind it."""
        return self.message.startswith(f"{proxy}: ")


class Caller:
    """One connection, for calls one after another or at a time."""

    def __init__(self, target: str, authority: str = "") -> None:
        """Take address and port, and what to ask for instead of them."""
        options: list[tuple[str, str | int]] = [
            ("grpc.enable_http_proxy", 0),
            # Channels of the same target would share a connection.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_retries", 0),
        ]
        if authority:
            options.append(("grpc.default_authority", authority))
        self._channel = grpc.insecure_channel(target, options=options)

    def __enter__(self) -> "Caller":
        """Open it."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close it."""
        self._channel.close()

    def call(self, path: str, metadata: Metadata = (), *messages: bytes) -> Answer:
        """Send these messages, one empty one when none is given, and return the answer."""
        sent = iter(messages or (b"",))
        call = self._channel.stream_unary(path, bytes, bytes)
        return _answer(call.future(sent, timeout=SECONDS, metadata=_pairs(metadata)))

    def hold(self, path: str, metadata: Metadata = ()) -> "Held":
        """Begin a client stream, and leave it open."""
        return Held(self._channel, path, _pairs(metadata))


@dataclass
class Held:
    """A client stream that is open until it is ended."""

    channel: grpc.Channel
    path: str
    pairs: tuple[tuple[str, str], ...]
    _messages: "SimpleQueue[bytes | None]" = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        """Begin."""
        call = self.channel.stream_unary(self.path, bytes, bytes)
        self._future = call.future(iter(self._messages.get, None), timeout=60, metadata=self.pairs)

    @property
    def open(self) -> bool:
        """Whether no answer has come yet."""
        return not self._future.done()

    def end(self) -> Answer:
        """Say that no further message comes, and return the answer."""
        self._messages.put(None)
        return _answer(self._future)


def ended(held: Iterable[Held], count: int) -> list[Answer]:
    """Wait until so many of these streams have been ended by the other side; return how."""
    held = list(held)
    end = time.monotonic() + SECONDS
    while sum(not one.open for one in held) < count:
        assert time.monotonic() < end, f"{sum(one.open for one in held)} of {len(held)} still open"
        time.sleep(POLL_SECONDS)
    return [one.end() for one in held if not one.open]


def call(target: str, path: str, metadata: Metadata = (), *messages: bytes) -> Answer:
    """Make one call on a fresh connection."""
    with Caller(target) as caller:
        return caller.call(path, metadata, *messages)


def _pairs(metadata: Metadata) -> tuple[tuple[str, str], ...]:
    return tuple(metadata.items() if isinstance(metadata, Mapping) else metadata)


def _answer(call: "grpc._CallFuture[bytes]") -> Answer:
    body = b"" if call.exception() else call.result()
    headers = {**dict(call.initial_metadata() or ()), **dict(call.trailing_metadata() or ())}
    return Answer(call.code().name, call.details() or "", headers, body)
