"""Where defaults, argument specifications, documentation and use of variables have drifted apart.

Each role's `defaults/main.yml` is what people may set, `meta/argument_specs.yml` says what may
stand there, and the tables of README.md and docs/variables.md tell people about it. Every check
here yields sentences; no sentence, no drift.

A row of a table is about variables when its first cell names one in backticks; its second cell
then shows the default in backticks, or links to a fenced YAML block of the same document that
holds the variable alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DOCUMENTS = ("README.md", "docs/variables.md")
# What a person may set on a host of the OAP group. No role has them as defaults: each host has
# its own.
HOST_VARIABLES = frozenset(
    {"oap_address", "oap_port", "oap_weight", "oap_max_conns", "oap_backup", "oap_state"}
)
# Where variables are used.
USED_IN = (
    "site.yml",
    "playbooks/**/*",
    "roles/*/handlers/**/*",
    "roles/*/tasks/**/*",
    "roles/*/templates/**/*",
    "roles/*/vars/**/*",
)
TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "path": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "list": (list,),
    "dict": (dict,),
    "raw": (object,),
}
# What plugins/plugin_utils/specification.py holds a value against, and what is for people alone.
HELD = frozenset({"type", "elements", "options", "choices", "required", "default", "no_log"})
TOLD = frozenset({"description", "version_added"})
# Where the names of host variables stand without being read.
KNOWN_IN = "plugins/plugin_utils/specification.py"
CODE = re.compile(r"`([^`]+)`")
CELL_END = re.compile(r"(?<!\\)\|")
FENCED_YAML = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Role:
    """One role: what people may set, and what each of its entry points says about that."""

    name: str
    defaults: dict[str, Any]
    entry_points: dict[str, dict[str, Any]]

    @property
    def options(self) -> set[str]:
        """Every option of every entry point."""
        return {name for options in self.entry_points.values() for name in options}


@dataclass(frozen=True)
class Row:
    """One variable in a row of a table."""

    where: str
    name: str
    shown: str
    blocks: dict[str, Any]


def _load(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def roles(root: Path) -> list[Role]:
    """Return the roles of a collection."""
    found = []
    for directory in sorted(path for path in (root / "roles").iterdir() if path.is_dir()):
        specs = _load(directory / "meta/argument_specs.yml").get("argument_specs", {})
        found.append(
            Role(
                name=directory.name,
                defaults={
                    name: value
                    for name, value in _load(directory / "defaults/main.yml").items()
                    if not name.startswith("__")
                },
                entry_points={name: spec.get("options", {}) for name, spec in specs.items()},
            )
        )
    return found


def defaults_without_option(role: Role) -> Iterator[str]:
    """A default that no specification knows."""
    for name in sorted(role.defaults.keys() - role.options):
        yield f"{role.name}: {name} has a default and no entry in meta/argument_specs.yml"


def options_without_default(role: Role) -> Iterator[str]:
    """An option that is neither required nor has a default."""
    for entry_point, options in role.entry_points.items():
        for name, option in options.items():
            if name not in role.defaults and not option.get("required"):
                yield (
                    f"{role.name}: {name} is an option of {entry_point} "
                    "and stands in no defaults/main.yml"
                )


def unequal_defaults(role: Role) -> Iterator[str]:
    """An option whose default or type is not the one in defaults/main.yml."""
    for options in role.entry_points.values():
        for name, option in options.items():
            if name not in role.defaults:
                continue
            value = role.defaults[name]
            if "default" not in option:
                yield f"{role.name}: {name} has a default that its specification does not show"
            elif not _same(option["default"], value):
                yield (
                    f"{role.name}: {name} is {value!r} in defaults/main.yml "
                    f"and {option['default']!r} in its specification"
                )
            if not _is(option.get("type", "str"), value):
                yield f"{role.name}: {name} is {value!r}, which is no {option.get('type', 'str')}"


def _same(one: object, other: object) -> bool:
    # In Python True == 1, in a specification it is another thing.
    return one == other and repr(one) == repr(other)


def _is(type_name: str, value: object) -> bool:
    if isinstance(value, bool) and type_name in ("int", "float"):
        return False
    return isinstance(value, TYPES[type_name])


def incomplete_options(role: Role) -> Iterator[str]:
    """An option, at any depth, that says no type, no elements, nothing, or what nobody holds."""
    for options in role.entry_points.values():
        for name, option in options.items():
            yield from _incomplete(f"{role.name}: {name}", option)


def _incomplete(where: str, option: dict[str, Any]) -> Iterator[str]:
    description = option.get("description") or ""
    sentences = [description] if isinstance(description, str) else description
    if not "".join(sentences).strip():
        yield f"{where} has no description"
    if option.get("type") not in TYPES:
        yield f"{where} has no type, or one that Ansible does not know"
    if option.get("type") == "list" and "elements" not in option:
        yield f"{where} is a list and does not say of what"
    for key in sorted(option.keys() - HELD - TOLD):
        yield f"{where} has {key}, which the preflight does not hold"
    for name, inner in (option.get("options") or {}).items():
        yield from _incomplete(f"{where}.{name}", inner)


def rows(root: Path) -> list[Row]:
    """Return every variable that a table of the documents has a row for."""
    found = []
    for document in DOCUMENTS:
        path = root / document
        if not path.exists():
            continue
        text = path.read_text(encoding="utf-8")
        blocks = _blocks(text)
        for line in text.splitlines():
            cells = [cell.strip().replace("\\|", "|") for cell in CELL_END.split(line.strip())]
            if len(cells) < 4 or cells[0]:  # "| a | b |" is "", a, b, ""
                continue
            found += [
                Row(where=document, name=name, shown=cells[2], blocks=blocks)
                for name in CODE.findall(cells[1])
                if NAME.fullmatch(name)
            ]
    return found


def _blocks(text: str) -> dict[str, Any]:
    """Return what the fenced YAML blocks that hold one variable alone say about it."""
    found: dict[str, Any] = {}
    for block in FENCED_YAML.findall(text):
        data = next(iter(yaml.safe_load_all(block)), None)
        if isinstance(data, dict) and len(data) == 1:
            found.update(data)
    return found


def undocumented(root: Path) -> Iterator[str]:
    """A variable without a row."""
    documented = {row.name for row in rows(root)}
    for role in roles(root):
        for name in sorted(role.options - documented):
            yield f"{name} has no row in {' or '.join(DOCUMENTS)}"
    for name in sorted(HOST_VARIABLES - documented):
        yield f"{name} has no row in {' or '.join(DOCUMENTS)}"


def wrongly_documented(root: Path) -> Iterator[str]:
    """A row about a variable that there is not, or that shows another default."""
    known = roles(root)
    defaults = {name: value for role in known for name, value in role.defaults.items()}
    options = {name for role in known for name in role.options}
    prefixes = (*(f"{role.name}_" for role in known), "oap_")
    for row in rows(root):
        if row.name in HOST_VARIABLES or not row.name.startswith(prefixes):
            continue
        if row.name not in options:
            yield f"{row.where} has a row for {row.name}, which is no variable of a role"
        elif row.name in defaults and not _shows(row, defaults[row.name]):
            yield (
                f"{row.where} shows {row.shown!r} as the default of {row.name}, "
                f"which is {defaults[row.name]!r}"
            )


def _shows(row: Row, default: object) -> bool:
    if "](#" in row.shown:
        return row.name in row.blocks and _same(row.blocks[row.name], default)
    return any(_same(_value(code), default) for code in CODE.findall(row.shown))


def _value(code: str) -> object:
    try:
        return yaml.safe_load(code)
    except yaml.YAMLError:
        return code


def unknown_in_use(root: Path) -> Iterator[str]:
    """A variable that tasks, templates or playbooks use and no specification knows."""
    known = roles(root)
    options = {name for role in known for name in role.options} | HOST_VARIABLES
    # oap_proxy is the collection's own name, and what it names in nginx begins with it.
    prefixes = "|".join([*(role.name for role in known), "oap(?!_proxy)"])
    # Not within a longer word, nor a part of a file's name or of a collection's.
    use = re.compile(rf"(?<![\w/.-])(?:{prefixes})_[a-z0-9_]+(?![\w-]|\.(?:yml|j2|conf)\b)")
    # An attribute is a use too: hostvars[host].oap_port
    attribute = re.compile(rf"(?<=[\])\w]\.)(?:{prefixes})_[a-z0-9_]+(?![\w-])")
    names = {role.name for role in known}
    for path in _using(root):
        text = path.read_text(encoding="utf-8")
        used = {*use.findall(text), *attribute.findall(text)}
        for name in sorted(used - options - names):
            yield f"{path.relative_to(root)} uses {name}, which no specification knows"


def host_variables_without_use(root: Path) -> Iterator[str]:
    """A host variable that is documented and that nothing reads."""
    readers = {*_using(root), *root.glob("plugins/**/*.py")} - {root / KNOWN_IN}
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(readers))
    for name in sorted(HOST_VARIABLES):
        if not re.search(rf"\b{name}\b", text):
            yield f"{name} is documented, and no role, plugin or playbook reads it"


def _using(root: Path) -> list[Path]:
    found = {path for pattern in USED_IN for path in root.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def drift(root: Path) -> list[str]:
    """Return everything that has drifted in a collection."""
    return [
        *(fault for role in roles(root) for fault in defaults_without_option(role)),
        *(fault for role in roles(root) for fault in options_without_default(role)),
        *(fault for role in roles(root) for fault in unequal_defaults(role)),
        *(fault for role in roles(root) for fault in incomplete_options(role)),
        *undocumented(root),
        *wrongly_documented(root),
        *unknown_in_use(root),
        *host_variables_without_use(root),
    ]
