"""A stand-in for nginx: a small model of what its master does, on a real tree of generations.

It is no nginx. It knows what a transaction can see of one: what is on disk, what is live, what
each command says, what the error log says, and what every listener answers. Where nginx lies
(facts of its reload), it lies. Time is a number that only sleep() moves.

What nginx reads in a configuration, the model reads in the words of nginx.conf:
``refused`` is not accepted by the test, ``unstartable`` is accepted and never serves,
``wrong-fallback`` answers the forced calls as the widely copied snippet does, ``open-bus`` passes
the calls on that must be refused, ``key-NAME`` is the key of a limit's zone, which only a restart
exchanges for another one, ``dying`` lets every worker die as soon as it is started. Certificates
that a listener shows from a path outside of the tree are read whenever the configuration is.
"""

from __future__ import annotations

import ipaddress
import math
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
    Listener,
    Refusal,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    identity,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    CallError,
    Connection,
    Reply,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import (
    GENERATION_HEADER,
    GENERATION_METHOD,
    PROBE_HEADER,
    Prover,
    Row,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Inconclusive,
    WorkersDied,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree

GRPC = {"content-type": "application/grpc"}
CHDIR = '[alert] 8#8: chdir("/nonexistent") failed (2: No such file or directory)'
NO_STAGE = "there is no stage on this host"
GIVES_UP_S = 2.5
"""Nginx tries a bind five times, half a second apart."""
DIED = r"process (\d+) exited with fatal code"
STOPPED = "the master process is stopped: let it go on."
WINDOW_S = 0.1
"""Nginx starts its new workers so long before it tells the old ones to stop accepting."""


@dataclass(frozen=True)
class Loaded:
    """A configuration as a master process has read it.

    :ivar read: hash over what was really there, whatever its name.
    :ivar certificates: in DER, by socket, as they were on disk then.
    """

    generation: str
    words: str
    sockets: frozenset[tuple[str, int]]
    read: str = ""
    certificates: Mapping[tuple[str, int], bytes] = field(default_factory=dict)

    @property
    def dies(self) -> bool:
        """Whether its workers die as soon as they are started."""
        return "dying" in self.words


@dataclass(frozen=True)
class Window:
    """The time in which workers of two configurations accept.

    :ivar until: when the old ones are told to stop.
    :ivar old: the configuration of the old ones.
    """

    until: float
    old: Loaded


@dataclass
class Faults:
    """What is wrong with the host, until it is mended.

    :ivar taken: ports that another program holds.
    :ivar stopped_master: signals are accepted and not acted on (SIGSTOP).
    :ivar deaf: signals are accepted and lost.
    :ivar lingering: old workers go on accepting, and answer nothing.
    :ivar silent: listeners that accept and answer nothing that is HTTP/2.
    :ivar upgrade: what is wrong with a new binary that takes over: it "ends", or it does with the
        configuration what one of its words would do.
    """

    taken: set[int] = field(default_factory=set)
    stopped_master: bool = False
    deaf: bool = False
    lingering: bool = False
    silent: bool = False
    upgrade: str = ""


@dataclass
class Call:
    """What the model was told to do, for tests of the order."""

    verb: str
    disk: str | None


class ModelNginx:
    """The instance, and the other end of every connection to it.

    :param root: root of the tree of generations.
    """

    inherits_ports = True

    def __init__(self, root: Path) -> None:
        self.tree = Tree(str(root))
        self.faults = Faults()
        self.live: Loaded | None = None
        self.by_hand: Loaded | None = None
        self.now = 1000.0
        self.log: list[str] = []
        self.said: list[Call] = []
        self.reload_delay = 0.0
        self.start_delay = 0.0
        self.replaced: str | None = None
        self.in_the_way: str | None = None
        self.has_stage = False
        """Whether a configuration can be rehearsed here."""
        self._pending: tuple[float, Loaded] | None = None
        self._window: Window | None = None
        self._first: Loaded | None = None
        self._deaf_until = 0.0
        self._connections = 0
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._giving_up: float | None = None
        self._owed = False
        self._pid = 101
        self._workers = {100, 101}
        self._old_workers: set[int] = set()

    # What the tests ask

    @property
    def live_id(self) -> str | None:
        """Return the id of what the master has read last, and None where it does not serve."""
        self._advance()
        if self.faults.silent:
            return None
        if self.by_hand:
            return self.by_hand.generation
        if self.live is None or self.live.dies or self.now < self._deaf_until:
            return None
        return self.live.generation

    def answers(self) -> set[str | None]:
        """Return every id that a connection may be answered with at this time."""
        live = self.live_id
        if self._window is None or self.faults.silent or self._window.old.dies:
            return {live}
        return {live, self._window.old.generation}

    def clock(self) -> float:
        """Return the time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        assert seconds > 0
        self.now += seconds

    def transaction(self, settings: Settings | None = None) -> Transaction:
        """Return a transaction on this tree, this instance and this clock."""
        prover = Prover(dial=self.dial)
        wanted = settings or Settings()
        return Transaction(self.tree, self, prover, wanted, self.clock, self.sleep)

    def verbs(self) -> list[str]:
        """Return what was done since the last time, in order."""
        verbs = [call.verb for call in self.said]
        self.said.clear()
        return verbs

    # The instance

    def running(self) -> bool:
        """See Instance."""
        return self.live is not None

    def test(self, configuration: Path) -> tuple[bool, str]:
        """See Instance. It reads the files, as nginx does."""
        self._note("test")
        words = configuration.read_text()
        if "refused" in words:
            return False, f'nginx: [emerg] unknown directive "refused" in {configuration}:1'
        proof = Expectation.from_json((configuration.parent / PROOF_FILE).read_bytes())
        missing = [path for path in _paths(proof.listeners) if not path.is_file()]
        if missing:
            return False, f'nginx: [emerg] cannot load certificate "{missing[0]}"'
        return True, ""

    @contextmanager
    def rehearse(self, configuration: Path) -> Iterator[ModelStage]:
        """See Instance. Nothing of the host's faults is felt there."""
        if not self.has_stage:
            raise Inconclusive(NO_STAGE)
        self._note("rehearse")
        told = (configuration.parent / GENERATION_FILE).read_text()
        generation = re.findall("[0-9a-f]{12}", told)[0]
        proof = Expectation.from_json((configuration.parent / PROOF_FILE).read_bytes())
        words = configuration.read_text()
        yield ModelStage(Loaded(generation, words, frozenset(), "", _shown(proof.listeners)))

    def start(self) -> tuple[bool, str]:
        """See Instance."""
        self._note("start")
        return self._begin()

    def stop(self) -> None:
        """See Instance."""
        self._note("stop")
        self._end()

    def restart(self) -> tuple[bool, str]:
        """See Instance."""
        self._note("restart")
        self._end()
        return self._begin()

    def reload(self) -> tuple[bool, str]:
        """See Instance. Whatever happens, it says that all is well."""
        self._note("reload")
        self._advance()
        if self.live is None:
            return False, "the unit is not active"
        if self._first:
            # The first of two masters lets workers of what it had read serve again.
            self._window = Window(math.inf, self._first)
        elif self.faults.stopped_master or self.faults.deaf:
            self._owed = self._owed or self.faults.stopped_master
        else:
            self._reload()
        return True, ""

    def _reload(self) -> None:
        """Act on what it was told."""
        assert self.live
        wanted = self._read()
        if wanted is None or "unstartable" in wanted.words:
            self.log.append("[emerg] 7#7: the configuration cannot be used")
            return
        keys = _key(self.live), _key(wanted)
        if None not in keys and keys[0] != keys[1]:
            self.log.append(
                f'[emerg] 7#7: limit_req "oap" uses the "${keys[1]}" key '
                f'while previously it used the "${keys[0]}" key'
            )
            return
        blocked = self._blocked(wanted)
        if blocked:
            place = f"bind() to {blocked} failed (98: Address already in use)"
            self.log.append(f"[emerg] 7#7: {place}")
            self._giving_up = self.now + GIVES_UP_S
            return
        # The master sleeps through the window: what it is told meanwhile, it does after it.
        free = self._window.until if self._window else self.now
        self._pending = (free + self.reload_delay, wanted)
        self._advance()

    def workers(self) -> set[int]:
        """See Instance."""
        self._advance()
        return self._workers | self._old_workers if self.live else set()

    def settle(self) -> list[str]:
        """See Instance."""
        return []

    def outdated(self) -> str | None:
        """See Instance."""
        return self.replaced if self.live else None

    def obstacle(self) -> str | None:
        """See Instance."""
        return self.in_the_way

    def hand_over(self) -> tuple[bool, str]:
        """See Instance. A second master reads what is on disk; the first one keeps what it has."""
        self._note("hand over")
        self._taken_back()
        self._advance()
        wanted = self._read()
        if self.live is None or self.faults.deaf or self.faults.upgrade == "ends":
            return False, "it ended at once."
        if wanted is None or "unstartable" in wanted.words:
            self.log.append("[emerg] 8#8: it cannot start")
            return False, "it ended at once."
        blocked = self._blocked(wanted)
        if blocked:
            self.sleep(GIVES_UP_S)
            place = f"bind() to {blocked} failed (98: Address already in use)"
            self.log += [f"[emerg] 8#8: {place}", "[emerg] 8#8: still could not bind()"]
            return False, "it ended at once."
        self._first = self.live
        self._pending = None
        self._window = None
        self.live = replace(wanted, words=f"{wanted.words} {self.faults.upgrade}")
        self._old_workers = self._workers if self.faults.lingering else set()
        self._spawn()
        return True, ""

    def complete(self) -> None:
        """See Instance."""
        self._note("complete")
        if self._first:
            self._first = None
            self.replaced = None

    def take_back(self) -> None:
        """See Instance."""
        self._note("take back")
        self._taken_back()

    def retire(self) -> None:
        """See Instance."""
        self._note("retire")
        self.live = None

    def _taken_back(self) -> None:
        if self._first:
            self.live, self._first, self._window = self._first, None, None
            self._old_workers = set()
            self._spawn()

    def troubles(self) -> list[str]:
        """See Instance."""
        return [told for told in (self.outdated(), self.stopped()) if told]

    def altered(self) -> str | None:
        """See Instance."""
        return None

    def mark(self) -> Mark:
        """See Instance."""
        return Mark(1, len(self.log), self.now)

    def log_since(self, mark: Mark) -> list[str]:
        """See Instance."""
        self._advance()
        return self.log[mark.offset :]

    def alerts_since(self, mark: Mark) -> list[str]:
        """See Instance."""
        return [line for line in self.log_since(mark) if "[warn]" not in line]

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """See Instance."""
        return not self.running() or any(
            "still could not bind()" in line
            or ("[emerg]" in line and "bind() to" not in line)
            or any(int(pid) not in before for pid in re.findall(DIED, line))
            for line in self.log_since(mark)
        )

    def stopped(self) -> str | None:
        """See Instance."""
        return STOPPED if self.live and self.faults.stopped_master else None

    # The inside

    def _note(self, verb: str) -> None:
        self.said.append(Call(verb, self.tree.current()))

    def _read(self) -> Loaded | None:
        generation = self.tree.current()
        if generation is None:
            return None
        place = self.tree.path(generation)
        if generation not in self._listeners:
            # Read once: nginx has its listeners from its own files, and these never change.
            proof = Expectation.from_json((place / PROOF_FILE).read_bytes())
            self._listeners[generation] = proof.listeners
        listeners = self._listeners[generation]
        if not all(path.is_file() for path in _paths(listeners)):
            return None
        return Loaded(
            generation,
            (place / "nginx.conf").read_text(),
            frozenset((item.address, item.port) for item in listeners),
            identity(self.tree.read(generation)),
            _shown(listeners),
        )

    def _blocked(self, wanted: Loaded) -> str | None:
        """Return a socket that cannot be opened beside what this master holds already."""
        held = self.live.sockets if self.live else frozenset()
        for address, port in sorted(wanted.sockets - held):
            if port in self.faults.taken or (self.by_hand and self._by_hand_holds(port)):
                return f"{address}:{port}"
            # With the wildcard itself open no single address of it is opened, and vice versa.
            if ("0.0.0.0", port) in wanted.sockets - {(address, port)}:
                continue
            others = {other for other, held_port in held if held_port == port}
            if others and (address == "0.0.0.0" or "0.0.0.0" in others):
                return f"{address}:{port}"
        return None

    def _by_hand_holds(self, port: int) -> bool:
        return self.by_hand is not None and port in {
            held for _address, held in self.by_hand.sockets
        }

    def _advance(self) -> None:
        """Let happen what was due."""
        self._close()
        asleep = self.faults.stopped_master or self._window is not None
        if self._pending and self.live and self.now >= self._pending[0] and not asleep:
            due, wanted = self._pending
            self._pending = None
            self._window = Window(due + WINDOW_S, self.live)
            self.live = wanted
            self._old_workers = self._old_workers | self._workers
            self._spawn()
            self._close()
        if self._giving_up is not None and self.now >= self._giving_up:
            self._giving_up = None
            self.log.append("[emerg] 7#7: still could not bind()")

    def _spawn(self) -> None:
        """Start the workers of what is live now."""
        self._pid += 2
        self._workers = {self._pid - 1, self._pid}
        if self.live and self.live.dies:
            end = "exited with fatal code 2 and cannot be respawned"
            self.log += [f"[alert] 7#7: worker process {pid} {end}" for pid in self._workers]
            self._workers = set()

    def _close(self) -> None:
        """Let the old workers stop accepting when their time has come, unless they linger."""
        if self._window and self.now >= self._window.until and not self.faults.stopped_master:
            self._window = None
            if not self.faults.lingering:
                self._old_workers = set()

    def _begin(self) -> tuple[bool, str]:
        if self.live is not None:
            return True, ""
        wanted = self._read()
        if wanted is None or "unstartable" in wanted.words:
            self.log.append("[emerg] 9#9: it cannot start")
            return False, "Job for the unit failed."
        blocked = self._blocked(wanted)
        if blocked:
            place = f"bind() to {blocked} failed (98: Address already in use)"
            self.log += [f"[emerg] 9#9: {place}", "[emerg] 9#9: still could not bind()"]
            return False, "Job for the unit failed."
        self.live = wanted
        self._spawn()
        # A start makes a new master, of the binary that is there now.
        self.replaced = None
        self.faults.stopped_master = False
        self._deaf_until = self.now + self.start_delay
        return True, ""

    def _end(self) -> None:
        self.live = None
        self._pending = None
        self._giving_up = None
        self._owed = False
        self._window = None
        self._first = None
        self._old_workers = set()

    def continued(self) -> None:
        """Continue a master that was stopped: a signal that waited takes effect now."""
        self.faults.stopped_master = False
        if self._owed and self.live is not None:
            self._owed = False
            self.reload()

    def lingering(self) -> set[int]:
        """Return the workers of before that accept though they had their time to stop."""
        self._advance()
        return self._old_workers if self._window is None else set()

    def reaped(self) -> None:
        """Let workers that lingered stop now."""
        self._old_workers = set()

    def die(self) -> None:
        """Be killed: no process, nothing on disk changed."""
        self._end()

    def started_by_hand(self) -> None:
        """Let somebody start an nginx on what is on disk that is not the unit's."""
        assert self.live is None
        wanted = self._read()
        if wanted and "unstartable" not in wanted.words and not wanted.dies:
            self.by_hand = None if self._blocked(wanted) else wanted

    # The listeners

    def dial(self, endpoint: Endpoint, timeout: float) -> Connection:
        """Open a connection to whoever listens there."""
        self._advance()
        return Answering(self.accepted_at(endpoint), endpoint, timeout)

    def accepted_at(self, endpoint: Endpoint) -> Loaded | None:
        """Return the configuration that accepts at an endpoint, None for another program.

        While workers of two configurations accept, they do so in turn.
        """
        if self.faults.silent:
            raise CallError(f"{endpoint.name} gave no answer")
        serving = [self.live] if self.live and self.now >= self._deaf_until else []
        serving += [self._window.old] if self._window else []
        serving += [self.by_hand] if self.by_hand else []
        open_here = [loaded for loaded in serving if _listens(loaded, endpoint)]
        listening = [loaded for loaded in open_here if not loaded.dies]
        if open_here and not listening:
            # The master holds the socket open, and nobody accepts.
            raise CallError(f"{endpoint.name} gave no answer")
        if listening:
            self._connections += 1
            return listening[self._connections % len(listening)]
        if endpoint.port in self.faults.taken:
            return None
        raise CallError(f"cannot connect to {endpoint.name}: refused")


def _key(loaded: Loaded) -> str | None:
    found = re.search(r"key-(\w+)", loaded.words)
    return found.group(1) if found else None


def _paths(listeners: Sequence[Listener]) -> list[Path]:
    """Return the certificates outside of the tree."""
    return [Path(item.certificate) for item in listeners if item.certificate.startswith("/")]


def _shown(listeners: Sequence[Listener]) -> dict[tuple[str, int], bytes]:
    """Return what each listener shows, as it is on disk now."""
    return {(item.address, item.port): _der(item) for item in listeners if item.tls}


def _der(listener: Listener) -> bytes:
    """Return the certificate that a listener shows."""
    if not listener.certificate.startswith("/"):
        return b"of the generation"
    return ssl.PEM_cert_to_DER_cert(Path(listener.certificate).read_text())


def _listens(loaded: Loaded, endpoint: Endpoint) -> bool:
    return any(
        port == endpoint.port and _reaches(address, endpoint.address)
        for address, port in loaded.sockets
    )


def _reaches(listening: str, address: str) -> bool:
    one, other = ipaddress.ip_address(listening), ipaddress.ip_address(address)
    return one == other or (one.is_unspecified and one.version == other.version)


class Answering(Connection):
    """A connection to the model."""

    def __init__(self, loaded: Loaded | None, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.loaded = loaded
        self.peer_certificate = self._certificate()

    def _certificate(self) -> bytes:
        shown = self.loaded.certificates if self.loaded else {}
        reached = (
            held
            for (address, port), held in shown.items()
            if port == self.endpoint.port and _reaches(address, self.endpoint.address)
        )
        return next(reached, b"")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to close."""

    def call(
        self, method: str, metadata: Mapping[str, str] | None = None, message: bytes = b""
    ) -> Reply:
        """Answer as the configuration says whose worker has accepted."""
        assert message == b""
        loaded = self.loaded
        if loaded is None:
            return Reply(404, {"content-type": "text/html"}, duration_ms=0.1)
        if method == GENERATION_METHOD:
            headers = {**GRPC, "grpc-status": "0", GENERATION_HEADER: loaded.generation}
            return Reply(200, headers, trailers_only=True, duration_ms=0.1)
        if metadata is None:
            assert method == BUS
            # Passed on, it finds no OAP alive here.
            status = "14" if "open-bus" in loaded.words else "12"
            headers = {**GRPC, "grpc-status": status}
            return Reply(200, headers, trailers_only=True, duration_ms=0.1)
        assert metadata == {PROBE_HEADER: "unavailable"}
        if "wrong-fallback" in loaded.words:
            return Reply(204, {"grpc-status": "14"}, trailers_only=True, duration_ms=0.1)
        return Reply(200, {**GRPC, "grpc-status": "14"}, trailers_only=True, duration_ms=0.1)


class ModelStage:
    """A configuration on a stage: whoever asks anything there is answered by it."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded

    def prove(self, generation: str, expectation: Expectation) -> list[Row]:
        """See Stage."""
        if "unstartable" in self._loaded.words:
            raise Inconclusive("it did not start there")
        if "dying" in self._loaded.words:
            raise WorkersDied([CHDIR, "[alert] 7#7: worker process 8 exited with fatal code 2"])
        answer = partial(Answering, self._loaded)
        return Prover(dial=answer).prove(generation, expectation)


BUS = "/RemoteService/call"
REFUSALS = (Refusal(BUS, (12,)),)
LISTENERS = (Listener("0.0.0.0", 11800),)
METHODS = ("/skywalking.v3.ManagementService/keepAlive", "/one.Other/stream")


def expecting(*listeners: Listener, methods: tuple[str, ...] = METHODS) -> Expectation:
    """Return what a configuration with these listeners must answer, and refuse."""
    refusing = tuple(replace(item, refusals=REFUSALS) for item in listeners or LISTENERS)
    return Expectation(refusing, methods)


def configuration(words: str = "", key: str = "KEY", mode: int = 0o600) -> list[File]:
    """Return a small configuration: nginx.conf with some words, one file more, one secret."""
    return [
        File("nginx.conf", f"# {words}\n".encode()),
        File("http.d/10-upstreams.conf", b"upstream oaps {}\n"),
        File("tls/key.pem", key.encode(), mode, secret=True),
    ]


def complete(files: list[File], expectation: Expectation) -> list[File]:
    """Return files together with the proof.json that a transaction adds to them."""
    secrets = tuple(sorted(item.path for item in files if item.secret))
    told = Expectation(expectation.listeners, expectation.methods, secrets)
    return [*files, File(PROOF_FILE, told.to_json())]


def id_of(files: list[File], expectation: Expectation) -> str:
    """Return the id that files get together with their proof.json."""
    return identity(complete(files, expectation))
