"""What runs inside a host: the search for secrets wherever somebody could read them."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PLACES = ("/etc", "/run", "/var", "/tmp", "/root", "/home")  # noqa: S108
LOGS = "/var/log/"
# What a container sees: its layers, which are looked at themselves, and the kernel's own files.
# Its network is no file.
ENGINES = ("/var/lib/docker/", "/run/docker/")
VIEWS = ("merged", "rootfs", "netns")
# What was searched before and has not changed since: a file's time of change cannot be set.
CLEAN = Path(__file__).with_name("clean.json")
CURSOR = Path(__file__).with_name("cursor")
JOURNAL = ("journalctl", "--quiet", "--no-pager", "--all", "--output=json")


def journal() -> bytes:
    """Return what systemd's journal has got since the last search."""
    command = [*JOURNAL, f"--cursor-file={CURSOR}"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def processes() -> Iterator[Path]:
    """Return command line and environment of every process."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            yield process / "cmdline"
            yield process / "environ"


def files() -> Iterator[Path]:
    """Return every log, and every file that others than its owner may read."""
    for place in PLACES:
        for folder, folders, names in os.walk(place):
            if f"{folder}/".startswith(ENGINES):
                folders[:] = [name for name in folders if name not in VIEWS]
            for path in (Path(folder, name) for name in names):
                try:
                    mode = path.lstat().st_mode
                except FileNotFoundError:
                    continue  # a file of a program that has ended
                if path.suffix == ".journal":
                    continue  # journalctl has told what is new in it
                if stat.S_ISREG(mode) and (mode & stat.S_IROTH or str(path).startswith(LOGS)):
                    yield path


def search(needles: dict[str, str], clean: dict[str, int]) -> list[str]:
    """Return which secret was found where; add the files without one to ``clean``."""

    def within(content: bytes, place: str) -> list[str]:
        return [
            f"{name} in {place}" for name, needle in needles.items() if needle.encode() in content
        ]

    found = within(journal(), "the journal")
    for path in processes():
        try:
            found += within(path.read_bytes(), str(path))
        except OSError:
            continue  # it ended while /proc was read
    for path in files():
        try:
            changed = path.lstat().st_ctime_ns
            if clean.get(str(path)) == changed:
                continue
            here = within(path.read_bytes(), str(path))
        except FileNotFoundError:
            continue
        found += here
        if not here:
            clean[str(path)] = changed
    return found


def main(needles: dict[str, str]) -> None:
    """Search, and print what was found as JSON."""
    clean = json.loads(CLEAN.read_text(encoding="utf-8")) if CLEAN.exists() else {}
    found = search(needles, clean)
    CLEAN.write_text(json.dumps(clean), encoding="utf-8")
    print(json.dumps(found))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
