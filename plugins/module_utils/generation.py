# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generation: a complete tree of nginx configuration, named by a hash of its content.

Nothing here knows nginx or Ansible: paths, bytes, modes, and what is flushed to disk.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

GENERATION_FILE = "generation.conf"
"""The one file of a generation that the hash leaves out: it holds the hash."""

ID_PATTERN = re.compile(r"^[0-9a-f]{12}$")


class GenerationError(Exception):
    """A tree that cannot be staged, read or swapped; the message is a sentence for a person."""


@dataclass(frozen=True)
class File:
    """One file of a generation.

    :ivar path: relative path below the generation, with forward slashes.
    :ivar content: the bytes.
    :ivar mode: permission bits, 0 to 0o777.
    :ivar secret: content that no diff, log or return value may show.
    """

    path: str
    content: bytes
    mode: int = 0o644
    secret: bool = False


def check(files: Sequence[File]) -> None:
    """Refuse paths that would leave the generation, collide, or take the module's own name.

    :raises GenerationError: naming the first path that does not do.
    """
    seen = set()
    for item in files:
        pure = PurePosixPath(item.path)
        plain = pure.parts and not pure.is_absolute() and ".." not in pure.parts
        if not plain or str(pure) != item.path:
            raise GenerationError(
                f"files: {item.path!r} is not a plain relative path; give one below the tree."
            )
        if pure.parts[0] == GENERATION_FILE:
            raise GenerationError(
                f"files: {GENERATION_FILE} is written by this module; leave it out."
            )
        if item.path in seen:
            raise GenerationError(f"files: {item.path!r} is given twice; give each path once.")
        seen.add(item.path)
    for item in files:
        for parent in PurePosixPath(item.path).parents:
            if str(parent) in seen:
                raise GenerationError(
                    f"files: {str(parent)!r} is both a file and the directory of {item.path!r}."
                )


def identity(files: Iterable[File]) -> str:
    """Return the id of a generation: 12 hex digits over every path, mode and byte.

    The order in which files are given does not matter. Every field is preceded by its
    length, so that no two different trees feed the hash the same bytes.
    """
    digest = hashlib.sha256()
    for item in sorted(files, key=lambda entry: entry.path):
        for field in (os.fsencode(item.path), b"%o" % item.mode, item.content):
            digest.update(b"%d:" % len(field))
            digest.update(field)
    return digest.hexdigest()[:12]


def generation_conf(generation: str) -> bytes:
    """Return the nginx lines that let the running configuration answer with its id."""
    return (
        "# Written by skywalking.oap_proxy.nginx_config: the id of the configuration\n"
        "# around it. The proof asks the running nginx for it.\n"
        'map "" $oap_proxy_generation {\n'
        f'    default "{generation}";\n'
        "}\n"
    ).encode()


def flush(path: Path) -> None:
    """Flush a directory to disk: the names in it."""
    descriptor = os.open(str(path), os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(directory: Path, files: Sequence[File]) -> None:
    """Write ``files`` and their generation.conf below ``directory`` and flush them to disk.

    A secret file is created with its final mode, never readable by others for a moment.
    """
    sealed = [*files, File(GENERATION_FILE, generation_conf(identity(files)))]
    for item in sealed:
        target = directory / item.path
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(str(target), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(item.content)
            os.fchmod(stream.fileno(), item.mode)
            stream.flush()
            os.fsync(stream.fileno())
    for folder, _folders, _names in os.walk(str(directory)):
        os.chmod(folder, 0o755)
        flush(Path(folder))
