"""Holds a configuration, as crossplane reads it, against the table of directives by version."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import crossplane
import yaml
from crossplane import analyzer

TABLE = Path(__file__).with_name("directives.yml")
Entry = Mapping[str, str]
Section = Mapping[str, Any]

# Directives that are newer than crossplane's own table: where they may stand, and with what.
analyzer.DIRECTIVES.update(
    {
        "http2": [
            analyzer.NGX_HTTP_MAIN_CONF | analyzer.NGX_HTTP_SRV_CONF | analyzer.NGX_CONF_FLAG
        ],
        "keepalive_time": [
            analyzer.NGX_HTTP_MAIN_CONF | analyzer.NGX_HTTP_SRV_CONF | analyzer.NGX_HTTP_LOC_CONF
            | analyzer.NGX_HTTP_UPS_CONF | analyzer.NGX_CONF_TAKE1,
        ],
    }
)  # fmt: skip

# Blocks of entries, which crossplane takes for directives.
ENTRIES = ("map", "geo", "split_clients")
NAMED = re.compile(r"(?:sent_)?http_[a-z0-9_]+|sent_trailer_[a-z0-9_]+")
VARIABLE = re.compile(r"\$\{?([a-z0-9_]+)")
CAPTURE = re.compile(r"\(\?<([a-z0-9_]+)>")
SINCE, WARNS, SOURCE = "since", "warns", "source"


@dataclass(frozen=True)
class Statement:
    """One statement of a configuration, and the block that it stands in."""

    directive: str
    arguments: tuple[str, ...]
    block: str
    file: str
    line: int

    @property
    def is_entry(self) -> bool:
        """Whether it is an entry of a map or its like: those have a value."""
        return self.block in ENTRIES and bool(self.arguments)


@dataclass(frozen=True)
class Configuration:
    """All statements of a configuration in the order of nginx, and what crossplane refuses."""

    statements: tuple[Statement, ...]
    errors: tuple[str, ...]


@cache
def table() -> dict[str, Section]:
    """Return the table of directives by version."""
    read: dict[str, Section] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return read


def number(version: str) -> tuple[int, ...]:
    """Return a version as something to compare."""
    return tuple(int(part) for part in version.split("."))


def parse(path: Path) -> Configuration:
    """Read a configuration with all that it includes, strictly.

    :param path: its nginx.conf.
    """
    read = crossplane.parse(str(path), combine=True)
    statements = tuple(_walk(read["config"][0]["parsed"], "", path.parent))
    # Entries of a map are no directives, but crossplane's strictness takes them for some.
    entries = {(one.file, one.line) for one in statements if one.block in ENTRIES}
    strict = crossplane.parse(str(path), strict=True)
    errors = tuple(
        f"{error['file']}: {error['error']}"
        for error in strict["errors"]
        if (str(Path(error["file"]).relative_to(path.parent)), error["line"]) not in entries
    )
    return Configuration(statements, errors)


def _walk(block: Iterable[dict[str, Any]], inside: str, root: Path) -> Iterator[Statement]:
    for one in block:
        name = str(one["directive"])
        file = str(Path(one["file"]).relative_to(root))
        yield Statement(name, tuple(one["args"]), inside, file, int(one["line"]))
        yield from _walk(one.get("block", ()), name, root)


def faults(statements: Sequence[Statement], version: str) -> list[str]:
    """Return a sentence for all that a version does not know, or warns of.

    What the table does not know is told too: it could not be judged.
    """
    own = set(_own_variables(statements))
    found: list[str] = []
    for one in statements:
        where = f"{one.file}:{one.line}: "
        found += [where + fault for fault in _of_statement(one, version)]
        found += [where + fault for fault in _of_variables(one, version, own)]
    return list(dict.fromkeys(found))


def _of_statement(one: Statement, version: str) -> Iterator[str]:
    """Judge a directive and its parameters."""
    if one.is_entry:
        return
    block = one.block if one.block in table()["directives"] else "anywhere"
    name = one.directive if block == "anywhere" else f"{one.directive} of {block}"
    yield from _of_name(table()["directives"][block], one.directive, f"directive {name}", version)
    # A server with a block is another directive than that of an upstream, and has no arguments.
    parameters = table()["parameters"].get(one.directive)
    if parameters:
        for argument in one.arguments[parameters["values"] :]:
            word = argument.partition("=")[0]
            yield from _of_name(parameters, word, f"parameter {word} of {name}", version)
    if any("$" in argument for argument in one.arguments):
        entry = table()["with_variables"].get(one.directive)
        if entry:
            yield from _of_entry(entry, f"variable in {name}", version)


def _of_variables(one: Statement, version: str, own: set[str]) -> Iterator[str]:
    """Judge nginx's own variables."""
    # The values of a geo are taken as they are written.
    if one.block == "geo":
        return
    for text in (one.directive, *one.arguments) if one.is_entry else one.arguments:
        for name in VARIABLE.findall(text):
            if name not in own and not NAMED.fullmatch(name):
                yield from _of_name(table()["variables"], name, f"variable ${name}", version)


def _own_variables(statements: Iterable[Statement]) -> Iterator[str]:
    """Return the variables that the configuration itself makes."""
    for one in statements:
        if one.directive in ENTRIES and not one.is_entry:
            yield one.arguments[-1].lstrip("$")
        for text in (one.directive, *one.arguments):
            yield from CAPTURE.findall(text)


def _of_name(section: Section, name: str, what: str, version: str) -> Iterator[str]:
    if name in section["older"]:
        return
    entry = section.get(name)
    if isinstance(entry, dict):
        yield from _of_entry(entry, what, version)
    else:
        yield f"the {what} is not in the table of directives by version"


def _of_entry(entry: Entry, what: str, version: str) -> Iterator[str]:
    if number(version) < number(entry[SINCE]):
        yield f"nginx {version} does not know the {what} ({entry[SOURCE]})"
    elif WARNS in entry and number(version) >= number(entry[WARNS]):
        yield f"nginx {version} warns of the {what} ({entry[SOURCE]})"
