"""Jars from Maven, fetched once for each content of a pom.xml."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.hosts.paths import BUILD
from tests.hosts.progress import LabError, say

SECONDS = 900
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def dependencies(pom: Path) -> Path:
    """Return a directory that holds every jar the pom needs at run time."""
    digest = hashlib.sha256(pom.read_bytes() + PLUGIN.encode()).hexdigest()[:12]
    target = BUILD / "maven" / f"{pom.parent.name}-{digest}"
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    say(f"fetching the jars of {pom.parent.name} with Maven")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        staged = Path(work) / "jars"
        command = [
            "mvn", "--quiet", "--batch-mode", "--file", str(pom), PLUGIN,
            "-DincludeScope=runtime", f"-DoutputDirectory={staged}",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except FileNotFoundError as error:
            raise LabError("mvn is missing: run tests/hosts/bootstrap.sh") from error
        except subprocess.TimeoutExpired as error:
            raise LabError(f"Maven took longer than {SECONDS} s for {pom}") from error
        if done.returncode != 0:
            raise LabError(f"Maven failed for {pom}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        if target.is_dir():  # another process was faster
            return target
        shutil.move(str(staged), target)
    say(f"{len(list(target.iterdir()))} files of {pom.parent.name}")
    return target
