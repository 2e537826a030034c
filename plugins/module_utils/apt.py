# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt would offer, asked in a directory of its own: its sources and lists stay as they are."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable

Run = Callable[[list[str]], tuple[int, str, str]]
"""Runs a command in the locale C, returns its exit status, standard output and standard error."""

_CANDIDATE = re.compile(r"^ *Candidate: (\S+)$", re.MULTILINE)
_WORDS = re.compile(r"^[EW]: *(.+)$", re.MULTILINE)
# Whatever the host allows: what is not signed is not to be installed from.
_STRICT = (
    "Acquire::AllowInsecureRepositories=false",
    "Acquire::AllowWeakRepositories=false",
    "Acquire::AllowDowngradeToInsecureRepositories=false",
)


@dataclass(frozen=True)
class Repository:
    """A repository that apt need not know yet."""

    url: str
    suite: str
    component: str
    key: str
    """Public keys, ASCII-armoured."""


class Offer:
    """What apt would offer of one package.

    :param run: how to run a command.
    :param root: where apt's configuration begins.
    """

    def __init__(self, run: Run, root: str = "/etc/apt") -> None:
        self._run = run
        self._root = Path(root)

    def of(self, package: str, repository: Repository | None, without: list[str]) -> dict[str, Any]:
        """Return ``versions``, the newest first, ``candidate``, and ``error`` in apt's words.

        :param package: name of the package.
        :param repository: where to look, None for the sources that the host has.
        :param without: sources of the host that are left out.
        """
        # Others may read it: apt fetches and verifies as a user of its own.
        place = Path(tempfile.mkdtemp(prefix="apt-offer-"))
        try:
            place.chmod(0o755)
            return self._asked(place, package, repository, without)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def _asked(
        self, place: Path, package: str, repository: Repository | None, without: list[str]
    ) -> dict[str, Any]:
        options = self._prepare(place, repository, without)
        strict = [*_STRICT, "APT::Update::Error-Mode=any"] if repository else []
        update = ["apt-get", *_as_options([*options, *strict]), "--quiet", "update"]
        status, _out, error = self._run(update)
        if status != 0 and repository:
            return _nothing(error)
        _status, out, _error = self._run(["apt-cache", *_as_options(options), "madison", package])
        rows = [[part.strip() for part in line.split("|")] for line in out.splitlines()]
        versions = list(dict.fromkeys(row[1] for row in rows if len(row) == 3))
        if not versions:
            return _nothing(error or f"W: there is no package {package}")
        _status, out, _error = self._run(["apt-cache", *_as_options(options), "policy", package])
        found = _CANDIDATE.search(out)
        candidate = found.group(1) if found and found.group(1) != "(none)" else ""
        beside = self._beside(place, repository, without)
        return {"versions": versions, "candidate": candidate, "error": beside}

    def _prepare(self, place: Path, repository: Repository | None, without: list[str]) -> list[str]:
        """Write what apt reads, and return the options that have it read that alone."""
        for name in ("sources", "lists/partial", "cache/archives/partial"):
            (place / name).mkdir(parents=True)
        # Nothing is installed there, so that what is does not count as an offer.
        (place / "status").touch()
        if repository:
            _describe(place, place / "sources", repository)
        else:
            self._link(place / "sources", without)
        return [
            f"Dir::Etc::SourceList={'/dev/null' if repository else self._root / 'sources.list'}",
            f"Dir::Etc::SourceParts={place / 'sources'}",
            f"Dir::State::Lists={place / 'lists'}",
            f"Dir::State::Status={place / 'status'}",
            f"Dir::Cache={place / 'cache'}",
        ]

    def _link(self, target: Path, without: list[str]) -> None:
        parts = self._root / "sources.list.d"
        for source in sorted(parts.iterdir()) if parts.is_dir() else []:
            if str(source) not in without:
                os.symlink(source, target / source.name)

    def _beside(self, place: Path, repository: Repository | None, without: list[str]) -> str:
        """Return why apt could not read the repository beside the host's own sources."""
        if not repository:
            return ""
        both = place / "both"
        both.mkdir()
        self._link(both, without)
        _describe(place, both, repository)
        command = ["apt-get", *_as_options([f"Dir::Etc::SourceParts={both}"]), "indextargets"]
        status, _out, error = self._run(command)
        return _words(error) if status != 0 else ""


def _describe(place: Path, directory: Path, repository: Repository) -> None:
    """Write the description of a repository that apt reads, and its key."""
    key = place / "key.asc"
    lines = (
        "Types: deb",
        f"URIs: {repository.url}",
        f"Suites: {repository.suite}",
        f"Components: {repository.component}",
        f"Signed-By: {key}",
    )
    for path, text in (
        (key, repository.key),
        (directory / "asked.sources", "".join(f"{line}\n" for line in lines)),
    ):
        path.write_text(text, encoding="utf-8")
        path.chmod(0o644)


def _as_options(options: list[str]) -> list[str]:
    return [part for option in options for part in ("--option", option)]


def _nothing(error: str) -> dict[str, Any]:
    return {"versions": [], "candidate": "", "error": _words(error)}


def _words(error: str) -> str:
    """Return what apt complains of, on one line."""
    found = [" ".join(words.split()) for words in _WORDS.findall(error)]
    return "; ".join(dict.fromkeys(found)) or " ".join(error.split()) or "apt gives no reason"
