# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generations below one root, and the links that say which of them is what.

Layout below ``root``::

    generations/3f9c1a20b7e4/   sealed, never changed
    current  -> generations/3f9c1a20b7e4   what nginx reads
    proven   -> generations/3f9c1a20b7e4   what answered rightly last, and is gone back to
    previous -> generations/91b0c7d2e6aa   what was proven before that

Everything reaches the disk in such an order that a run killed at any point leaves whole
generations only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    ID_PATTERN,
    File,
    GenerationError,
    flush,
    generation_conf,
    identity,
    write,
)

_STAGING = ".staging-"
_BROKEN = ".broken-"
_NEXT = ".next-"

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
# What a kernel or a file system says that knows no exchange.
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


class Busy(GenerationError):
    """Another run holds the lock of this tree."""


def exchange(one: Path, other: Path) -> bool:
    """Exchange two directories in one step; return False where that is not known.

    Source: renameat2(2), RENAME_EXCHANGE.

    :raises OSError: when it is known and fails.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    if rename(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


class Tree:
    """The generations below one root, and the links that say which of them is what."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self.current_link = self.root / "current"
        self.proven_link = self.root / "proven"
        self.previous_link = self.root / "previous"
        self.generations_dir = self.root / "generations"

    def refuse_strangers(self) -> None:
        """Refuse to replace what somebody else has put in the place of a link.

        :raises GenerationError: naming the first of them.
        """
        for link in (self.current_link, self.proven_link, self.previous_link):
            if link.exists() and not link.is_symlink():
                raise GenerationError(
                    f"{link} is no link, so it is not ours: move it away, then run again."
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the tree for one run.

        :raises Busy: at once when another run holds it; waiting would only hide the clash.
        """
        self.generations_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        with open(self.root / ".lock", "w", encoding="ascii") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise Busy(
                    f"another run is changing {self.root} at this moment: wait for it to end, "
                    "then run again."
                ) from error
            yield

    def path(self, generation: str) -> Path:
        """Return the directory of a generation, there or not."""
        return self.generations_dir / generation

    def current(self) -> str | None:
        """Return the id that ``current`` points to, or None when it points to no generation."""
        return self._target(self.current_link)

    def proven(self) -> str | None:
        """Return the id of the generation that was proven last, or None."""
        return self._target(self.proven_link)

    def previous(self) -> str | None:
        """Return the id of the generation that was proven before the last one, or None."""
        return self._target(self.previous_link)

    def _target(self, link: Path) -> str | None:
        try:
            target = PurePosixPath(os.readlink(str(link)))
        except OSError:
            return None
        if target.parent != PurePosixPath("generations") or not ID_PATTERN.match(target.name):
            return None
        return target.name if self.path(target.name).is_dir() else None

    def generations(self) -> list[str]:
        """Return the ids on disk, the oldest sealed first."""
        if not self.generations_dir.is_dir():
            return []
        found = [
            entry
            for entry in self.generations_dir.iterdir()
            if entry.is_dir() and ID_PATTERN.match(entry.name)
        ]
        return [entry.name for entry in sorted(found, key=lambda entry: entry.stat().st_mtime_ns)]

    def read(self, generation: str, secrets: Collection[str] | None = None) -> list[File]:
        """Return the files of a generation as they are on disk, generation.conf left out.

        A link that points nowhere is read as an empty file that nobody may read.

        :param secrets: paths of the secret files; every file counts as one when not known.
        """
        base = self.path(generation)
        files = []
        for folder, _folders, names in os.walk(str(base)):
            for name in names:
                path = Path(folder) / name
                relative = path.relative_to(base).as_posix()
                if relative == GENERATION_FILE:
                    continue
                secret = secrets is None or relative in secrets
                there = path.exists()
                mode = stat.S_IMODE(path.stat().st_mode) if there else 0
                content = path.read_bytes() if there else b""
                files.append(File(relative, content, mode, secret))
        return sorted(files, key=lambda item: item.path)

    def intact(self, generation: str) -> bool:
        """Tell whether a generation on disk is byte for byte what its id says."""
        marker = self.path(generation) / GENERATION_FILE
        return (
            marker.is_file()
            and marker.read_bytes() == generation_conf(generation)
            and identity(self.read(generation)) == generation
        )

    def stage(self, files: Sequence[File]) -> str:
        """Write ``files`` as a sealed generation and return its id.

        A generation of that id that is there and intact is kept as it is; one that was
        edited by hand is replaced by what its id promises, and is proven no more: what was edited
        may run, and answers with the same id.
        """
        generation = identity(files)
        if self.path(generation).is_dir() and self.intact(generation):
            return generation
        staging = self.generations_dir / f"{_STAGING}{generation}"
        staging.mkdir(mode=0o700)
        write(staging, files)
        self._date(staging)
        if self.path(generation).is_dir():
            if self.proven() == generation:
                self._take_away(self.proven_link)
            if exchange(staging, self.path(generation)):
                flush(self.generations_dir)
                shutil.rmtree(str(staging))  # which is now the one that was edited
                return generation
            self._discard(self.path(generation))
        os.rename(str(staging), str(self.path(generation)))
        flush(self.generations_dir)
        return generation

    def _date(self, staging: Path) -> None:
        """Date what is sealed after all the others, also where the clock was set back."""
        newest = max((self.path(name).stat().st_mtime_ns for name in self.generations()), default=0)
        if staging.stat().st_mtime_ns <= newest:
            os.utime(staging, ns=(newest + 1, newest + 1))

    def swap(self, generation: str) -> None:
        """Point ``current`` to a generation by rename: a reader sees the old or the new one."""
        self._point(self.current_link, generation)

    def note_proven(self, generation: str) -> None:
        """Remember a generation as the one that was proven last, and the one before it."""
        before = self.proven()
        if before == generation:
            return
        if before:
            self._point(self.previous_link, before)
        self._point(self.proven_link, generation)

    def _point(self, link: Path, generation: str) -> None:
        following = self.root / f"{_NEXT}{link.name}"
        if following.is_symlink():
            following.unlink()  # of a first try that failed
        os.symlink(f"generations/{generation}", str(following))
        os.rename(str(following), str(link))
        flush(self.root)

    def clear(self) -> None:
        """Take ``current`` away: no generation is on disk as the one to run."""
        self._take_away(self.current_link)

    def _take_away(self, link: Path) -> None:
        if link.is_symlink():
            link.unlink()
        flush(self.root)

    def remove(self, generation: str) -> None:
        """Remove a generation from disk."""
        self._discard(self.path(generation))

    def prune(self, keep: int, protect: Iterable[str | None]) -> list[str]:
        """Remove the oldest generations beyond ``keep``, never one of ``protect`` or of the links.

        :returns: the ids removed.
        """
        everything = self.generations()
        protected = {*protect, self.current(), self.proven(), self.previous()}
        spare = max(len(everything) - keep, 0)
        removed = [name for name in everything if name not in protected][:spare]
        for name in removed:
            self.remove(name)
        return removed

    def sweep(self) -> list[str]:
        """Remove what a run that was killed left behind; return the names."""
        left = [
            entry
            for folder, prefixes in (
                (self.generations_dir, (_STAGING, _BROKEN)),
                (self.root, (_NEXT,)),
            )
            for entry in (folder.iterdir() if folder.is_dir() else ())
            if entry.name.startswith(prefixes)
        ]
        for entry in left:
            if entry.is_symlink():
                entry.unlink()
            else:
                shutil.rmtree(str(entry))
        return sorted(entry.name for entry in left)

    def _discard(self, directory: Path) -> None:
        """Rename away, then delete: a half-deleted directory never bears a generation's name."""
        doomed = self.generations_dir / f"{_BROKEN}{directory.name}"
        os.rename(str(directory), str(doomed))
        shutil.rmtree(str(doomed))
