"""The files of the checkout as git sees them: what is committed, and what could be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
LIVE_LINK = Path(".ansible")


def files() -> list[Path]:
    """Return every file that git keeps or would keep, relative to the checkout."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted({Path(name) for name in listed.split("\0") if name})
    return [path for path in paths if (ROOT / path).is_file()]


def copy(target: Path) -> None:
    """Copy the checkout to an empty directory, without the link through which it sees itself."""
    for path in files():
        if LIVE_LINK in path.parents:
            continue
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / path, target / path, follow_symlinks=False)
