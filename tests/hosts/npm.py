"""Programs on npm packages: a package-lock.json pins them, and they are installed once for it."""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.hosts.paths import BUILD
from tests.hosts.progress import LabError, say

SECONDS = 300
_MANIFEST = ("package.json", "package-lock.json")


def program(home: Path, script: str) -> list[str]:
    """Return the command of a script, its packages installed beside a copy of it."""
    sources = (*_MANIFEST, script)
    digest = hashlib.sha256()
    for name in sources:
        digest.update((home / name).read_bytes())
    target = BUILD / "npm" / f"{home.name}-{digest.hexdigest()[:12]}"
    if not target.is_dir():
        _install(home, sources, target)
    return ["node", str(target / script)]


def _install(home: Path, sources: tuple[str, ...], target: Path) -> None:
    if shutil.which("npm") is None or shutil.which("node") is None:
        raise LabError("node or npm is missing: run tests/hosts/bootstrap.sh test")
    target.parent.mkdir(parents=True, exist_ok=True)
    say(f"installing the packages of {home.name} with npm")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        staged = Path(work) / "program"
        staged.mkdir()
        for name in sources:
            shutil.copy(home / name, staged)
        # No package may run anything here: those that want to only build what is built already.
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"]
        try:
            done = subprocess.run(
                command, cwd=staged, capture_output=True, text=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"npm took longer than {SECONDS} s for {home.name}") from error
        if done.returncode != 0:
            raise LabError(
                f"npm failed for {home.name}:\n{done.stdout[-500:]}{done.stderr[-2000:]}"
            )
        if not target.is_dir():  # else another process was faster
            staged.rename(target)
