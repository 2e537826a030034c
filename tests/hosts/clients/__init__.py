"""One gRPC call, made by grpcio, grpc-go, grpc-java or grpc-js, which agents are built on."""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tests.hosts import maven, npm
from tests.hosts.clients.grpcio import call as call_grpcio
from tests.hosts.clients.outcome import Outcome
from tests.hosts.clients.tls import Tls, options
from tests.hosts.paths import BUILD, HERE
from tests.hosts.progress import LabError, say

__all__ = ["CLIENTS", "Client", "Outcome", "Tls", "call", "go_program", "prepare"]

Client = Literal["grpcio", "go", "java", "node"]
CLIENTS: tuple[Client, ...] = get_args(Client)
BUILD_SECONDS = 600
SPARE_SECONDS = 20


@dataclass(frozen=True)
class _Program:
    """How a client's program is built from its sources, and how the result is run."""

    sources: tuple[str, ...]
    build: Callable[[Path, Path], list[str]]
    run: Callable[[Path], list[str]]


def call(
    client: Client,
    target: str,
    method: str,
    metadata: Mapping[str, str] | None = None,
    tls: Tls | None = None,
    *,
    stream: bool = False,
    seconds: int = 5,
) -> Outcome:
    """Make one call with an empty message (a client stream: with none), and return its end."""
    if client == "grpcio":
        return call_grpcio(target, method, metadata or {}, tls, stream=stream, seconds=seconds)
    timeout = f"{seconds}s" if client == "go" else str(seconds)
    command = [*prepare(client), "-timeout", timeout]
    if stream:
        command.append("-stream")
    pairs = [f"{key}={value}" for key, value in (metadata or {}).items()]
    with options(tls) as over:
        done = _run(
            [*command, *over, target, method, *pairs],
            seconds + SPARE_SECONDS,
            f"the {client} client",
        )
    return Outcome(**json.loads(done))


def prepare(client: Client) -> list[str]:
    """Build a client unless that was done before, and return the command that runs it."""
    if client == "grpcio":
        return []
    if client == "node":
        return npm.program(HERE / "clients" / "node", "client.js")
    program = _PROGRAMS[client]
    return program.run(_built(client, HERE / "clients" / client, program))


def go_program(home: Path) -> Path:
    """Build a Go program of another part of the tests unless that was done before."""
    sources = tuple(sorted(path.name for path in home.iterdir()))
    return _built(home.name, home, replace(_PROGRAMS["go"], sources=sources))


def _built(name: str, home: Path, program: _Program) -> Path:
    digest = hashlib.sha256()
    for source in program.sources:
        digest.update((home / source).read_bytes())
    target = BUILD / "clients" / f"{name}-{digest.hexdigest()[:12]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        say(f"building the {name} client")
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            staged = Path(work) / "built"
            _run(program.build(home, staged), BUILD_SECONDS, f"building the {name} client", home)
            if not target.exists():  # else another process was faster
                staged.rename(target)
    return target


def _java_path(*entries: Path) -> str:
    jars = maven.dependencies(HERE / "clients" / "java" / "pom.xml")
    return os.pathsep.join([*(str(entry) for entry in entries), f"{jars}/*"])


_PROGRAMS: dict[str, _Program] = {
    "go": _Program(
        sources=("go.mod", "go.sum", "main.go"),
        build=lambda _home, staged: [
            "go", "build", "-trimpath", "-buildvcs=false", "-o", str(staged), "."
        ],
        run=lambda built: [str(built)],
    ),
    "java": _Program(
        sources=("pom.xml", "Client.java"),
        build=lambda home, staged: [
            "javac", "-cp", _java_path(), "-d", str(staged), str(home / "Client.java")
        ],
        run=lambda built: ["java", "-XX:TieredStopAtLevel=1", "-cp", _java_path(built), "Client"],
    ),
}  # fmt: skip


def _run(command: list[str], seconds: int, what: str, cwd: Path | None = None) -> str:
    if shutil.which(command[0]) is None:
        raise LabError(f"{what}: {command[0]} is missing, run tests/hosts/bootstrap.sh test")
    environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, check=False,
            timeout=seconds, env=environment,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{what} did not end within {seconds} s") from error
    if done.returncode != 0:
        raise LabError(f"{what} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return done.stdout
