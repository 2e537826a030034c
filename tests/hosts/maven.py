"""Jars from Maven's central repository, fetched once for each thing asked."""

import hashlib
import subprocess
import tempfile
from pathlib import Path

from tests.hosts.paths import BUILD
from tests.hosts.progress import LabError, say

SECONDS = 900
_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin"
_MANY = f"{_PLUGIN}:3.8.1:copy-dependencies"
# The last version that takes a jar whose parent pom is not published, as the Java agent's is not.
_ONE = f"{_PLUGIN}:2.10:copy"


def dependencies(pom: Path) -> Path:
    """Return a directory that holds every jar the pom needs at run time."""
    name = pom.parent.name
    asked = [_MANY, "-DincludeScope=runtime"]
    return _fetch(name, pom.read_text(encoding="utf-8"), ["--file", str(pom), *asked])


def artifact(coordinates: str) -> Path:
    """Return one jar by group:name:version, without what it depends on."""
    name = coordinates.split(":")[1]
    directory = _fetch(name, coordinates, [_ONE, f"-Dartifact={coordinates}:jar"])
    return next(directory.glob("*.jar"))


def _fetch(name: str, key: str, arguments: list[str]) -> Path:
    digest = hashlib.sha256("\0".join([key, *arguments[-2:]]).encode()).hexdigest()[:12]
    target = BUILD / "maven" / f"{name}-{digest}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    say(f"fetching the jars of {name} with Maven")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        staged = Path(work) / "jars"
        command = [
            "mvn", "--quiet", "--batch-mode", *arguments, f"-DoutputDirectory={staged}"
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except FileNotFoundError as error:
            raise LabError("mvn is missing: run tests/hosts/bootstrap.sh") from error
        except subprocess.TimeoutExpired as error:
            raise LabError(f"Maven took longer than {SECONDS} s for {name}") from error
        if done.returncode != 0:
            raise LabError(f"Maven failed for {name}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        if not target.is_dir():  # else another process was faster
            staged.rename(target)
    say(f"{len(list(target.iterdir()))} jars of {name}")
    return target
