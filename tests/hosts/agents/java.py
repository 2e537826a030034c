"""The real Java agent over a program that only waits."""

import hashlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.hosts import maven
from tests.hosts.agents.security import named_by_target
from tests.hosts.clients.tls import Tls
from tests.hosts.paths import BUILD, HERE
from tests.hosts.progress import LabError

AGENT = "org.apache.skywalking:apm-agent:9.4.0"
SPARE_SECONDS = 60
HEARTBEAT_SECONDS = 2
POLL_SECONDS = 0.2
LOG_CHARACTERS = 20_000  # each failure comes with its stack


@dataclass(frozen=True)
class JavaReport:
    """What is known of the agent on its own side; whether it arrived, the OAPs know."""

    service: str
    instance: str
    seconds: float
    log: str


def prepare_java() -> None:
    """Fetch the agent and compile the program under it, unless that was done before."""
    maven.artifact(AGENT)
    _program()


def run_java(
    target: str,
    service: str,
    seconds: int = 6,
    *,
    tls: Tls | None = None,
    token: str = "",
    until: Callable[[], bool] | None = None,
) -> JavaReport:
    """Run a Java program under the agent, which reports to the target (address:port).

    It lives for the seconds, or until what is waited for has come where that is sooner.
    """
    if shutil.which("java") is None:
        raise LabError("java is missing: run tests/hosts/bootstrap.sh")
    instance = f"{service}-1"
    jar = maven.artifact(AGENT)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=BUILD) as work:
        home = _agent_home(Path(work), jar)
        settings = {
            "agent.service_name": service,
            "agent.instance_name": instance,
            "collector.backend_service": target,
            # By default an agent registers with its second heartbeat, after 30 s.
            "collector.heartbeat_period": str(HEARTBEAT_SECONDS),
            **_security(home, tls, token),
        }
        command = [
            "java",
            f"-javaagent:{home / 'agent.jar'}",
            *(f"-Dskywalking.{name}={value}" for name, value in settings.items()),
            "-cp",
            str(_program()),
            "Waiting",
            str(seconds),
        ]
        try:
            code = _lived(command, home, seconds + SPARE_SECONDS, until)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"the Java agent for {target} did not end in time") from error
        log = _log(home)
        said = (home / "stderr").read_text(encoding="utf-8", errors="replace")
    if code != 0:
        raise LabError(f"the Java agent for {target} ended with {code}:\n{said}")
    took = time.monotonic() - begin
    return JavaReport(service, instance, took, log[-LOG_CHARACTERS:])


def _lived(command: list[str], home: Path, seconds: float, until: Callable[[], bool] | None) -> int:
    """Run the program to its end, or to the moment that it is no longer needed."""
    end = time.monotonic() + seconds
    with (
        (home / "stderr").open("wb") as stderr,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        try:
            while process.poll() is None:
                if until is not None and until():
                    process.terminate()
                    process.wait(timeout=SPARE_SECONDS)
                    return 0
                if time.monotonic() > end:
                    raise subprocess.TimeoutExpired(command, seconds)
                time.sleep(POLL_SECONDS)
        finally:
            if process.poll() is None:
                process.kill()
    return process.returncode


def _program() -> Path:
    """Compile what the agent watches, once; the launcher for single files is slow under it."""
    source = HERE / "agents" / "Waiting.java"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:12]
    target = BUILD / "agents" / f"waiting-{digest}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as work:
            staged = Path(work) / "classes"
            subprocess.run(["javac", "-d", staged, source], timeout=120, check=True)
            if not target.exists():  # else another thread was faster
                staged.rename(target)
    return target


def _agent_home(work: Path, jar: Path) -> Path:
    """Lay out what the agent wants to find beside its jar."""
    for name in ("config", "plugins", "logs"):
        (work / name).mkdir()
    (work / "config" / "agent.config").write_text("logging.level=INFO\n", encoding="utf-8")
    shutil.copy(jar, work / "agent.jar")
    return work


def _security(home: Path, tls: Tls | None, token: str) -> dict[str, str]:
    """Return the settings, their files laid out: the agent takes paths below its own home only."""
    settings = {"agent.authentication": token} if token else {}
    if tls is None:
        return settings
    named_by_target("Java", tls)
    settings["agent.force_tls"] = "true"
    texts = {"ssl_trusted_ca_path": tls.ca}
    if tls.client:
        texts |= {"ssl_cert_chain_path": tls.client.chain, "ssl_key_path": tls.client.private_key}
    for name, text in texts.items():
        path = home / f"{name}.pem"
        path.write_text(text, encoding="ascii")
        settings[f"agent.{name}"] = f"/{path.name}"
    return settings


def _log(home: Path) -> str:
    path = home / "logs" / "skywalking-api.log"
    return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
