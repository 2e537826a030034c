# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds what people set against an argument specification, at any depth.

What Ansible says of a wrong type names the last part of a variable and no host. Here each
sentence has the host, the whole variable, and what would do. What a value means is not judged
here: that is the work of the readers.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable

# What can be set on an OAP's host.
OAP_VARIABLES = (
    "oap_address",
    "oap_port",
    "oap_weight",
    "oap_max_conns",
    "oap_backup",
    "oap_state",
)
# How near a name must be to a known one: to be suggested where no other name is allowed, and to
# be taken for a misspelling where it might be a variable of the user's own.
SUGGESTED = 0.6
MISSPELT = 0.9
SHOWN = 200

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_UNDEFINED = re.compile(r"'[\w.]+' is undefined")
_NUMBERS = (bool, int, float)
# As Ansible reads them.
_TRUE = ("y", "yes", "on", "1", "true", "t", "1.0")
_FALSE = ("n", "no", "off", "0", "false", "f", "0.0")
_SEQUENCES = (list, tuple)


class Unfit(ValueError):
    """A value is not of the kind that is wanted."""


@dataclass(frozen=True)
class Unreadable:
    """Stands for a value whose expression could not be evaluated.

    :ivar reason: why, in the words of who tried.
    """

    reason: str


def evaluated(value: Any, evaluate: Callable[[Any], Any]) -> Any:
    """Return a value with every expression in it evaluated, each by itself.

    An expression that fails is then known by its place, and those beside it are still read.

    :param value: a value as it stands in the inventory.
    :param evaluate: evaluates one text, or one value of a kind that is not known here.
    """
    if isinstance(value, Mapping):
        return {key: evaluated(inner, evaluate) for key, inner in value.items()}
    if isinstance(value, _SEQUENCES):
        return [evaluated(inner, evaluate) for inner in value]
    if value is None or isinstance(value, _NUMBERS):
        return value
    try:
        return evaluate(value)
    except Exception as error:  # noqa: BLE001
        # What an expression calls may fail in any way.
        return Unreadable(_reason(error))


def _reason(error: Exception) -> str:
    """Return one line that says what is wrong with an expression."""
    text = " ".join(str(error).split()) or type(error).__name__
    undefined = _UNDEFINED.search(text)
    return undefined.group() if undefined else _cut(text.rstrip("."))


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def refusals(
    host: str, options: Mapping[str, Any], given: Mapping[str, Any], prefix: str
) -> list[str]:
    """Say in one sentence each what is not as the specification has it.

    :param host: inventory name of the host whose variables these are.
    :param options: ``options`` of the argument specification.
    :param given: every variable of the host whose name begins with the prefix.
    :param prefix: how the names of all options begin. It is no part of a misspelling.
    """
    holder = _Holder(host)
    holder.options("", options, given, prefix)
    return holder.sentences


def misspelt(host: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Say which variables of a host are a known one misspelt, others being its user's own.

    Taken for a misspelling is what is a known name in other letter case, with its letters in
    another order, with a letter lost or added, or with one letter of ten changed. A longer name
    that begins with a known one is its user's own, and so is one on a host that has the known one
    as well.
    """
    set_ones, wanted = list(names), list(known)
    sentences = []
    for name in set_ones:
        if name.startswith(tuple(wanted)):
            continue
        near = _nearest(name, wanted, MISSPELT) or _same_letters(name, wanted)
        if near and near not in set_ones:
            sentences.append(f"{host}: {name} is not known; did you mean {near}?")
    return sentences


def _nearest(name: str, known: Iterable[str], cutoff: float, prefix: str = "") -> str:
    """Return the known name that is nearest, or nothing."""
    bare = {one[len(prefix) :].lower(): one for one in known}
    found = difflib.get_close_matches(name[len(prefix) :].lower(), bare, n=1, cutoff=cutoff)
    return bare[found[0]] if found else ""


def _same_letters(name: str, known: Iterable[str]) -> str:
    letters = sorted(name.lower())
    return next((one for one in known if sorted(one) == letters), "")


def _place(path: str, key: Any) -> str:
    """Return the name of what stands under a key."""
    if not isinstance(key, str) or not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key!r}]"
    return f"{path}.{key}" if path else str(key)


def _is_secret(option: Mapping[str, Any]) -> bool:
    """Whether a value must not be shown: it is secret, or holds what is."""
    inner: Mapping[str, Any] = option.get("options") or {}
    return bool(option.get("no_log")) or any(_is_secret(one) for one in inner.values())


def _shown(option: Mapping[str, Any], value: Any) -> str:
    """Return a value for a sentence, or only what kind of value it is."""
    # A number in the place of what holds secrets is none of them.
    plain = value is None or (isinstance(value, _NUMBERS) and not option.get("no_log"))
    if plain or not _is_secret(option):
        return _cut(repr(value))
    kinds: tuple[tuple[Any, str], ...] = (
        (Mapping, "a dictionary"),
        (_SEQUENCES, "a list"),
        (bool, "a truth value"),
        (_NUMBERS, "a number"),
        (str, "text"),
    )
    kind = next((name for types, name in kinds if isinstance(value, types)), "a value")
    return f"{kind} that is not shown"


def _text(value: Any) -> str:
    """Return a value as text, nothing being empty text."""
    if isinstance(value, (Mapping, *_SEQUENCES)):
        raise Unfit
    return "" if value is None else str(value)


def _whole(value: Any) -> int:
    """Return a whole number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Unfit
    number = int(value)
    if isinstance(value, float) and number != value:
        raise Unfit
    return number


def _number(value: Any) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise Unfit
    number = float(value)
    if not math.isfinite(number):
        raise Unfit
    return number


def _truth(value: Any) -> bool:
    """Return a truth value."""
    text = str(value).strip().lower() if isinstance(value, (str, *_NUMBERS)) else ""
    if text not in (*_TRUE, *_FALSE):
        raise Unfit
    return text in _TRUE


def _list(value: Any) -> list[Any]:
    """Return a list. Text with commas is none: the role would read it letter by letter."""
    if not isinstance(value, _SEQUENCES):
        raise Unfit
    return list(value)


def _dictionary(value: Any) -> Mapping[Any, Any]:
    """Return a dictionary. Text such as key=value is none, for the same reason."""
    if not isinstance(value, Mapping):
        raise Unfit
    return value


def _any(value: Any) -> Any:
    return value


_READERS: dict[str, Callable[[Any], Any]] = {
    "str": _text,
    "path": _text,
    "int": _whole,
    "float": _number,
    "bool": _truth,
    "list": _list,
    "dict": _dictionary,
    "raw": _any,
}
_WANTED = {
    "str": "text",
    "path": "a path",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "dict": "a dictionary",
    "raw": "a value",
}


def _remedy(option: Mapping[str, Any]) -> str:
    """Return what would do."""
    if option.get("choices"):
        return f"choose one of {', '.join(map(str, option['choices']))}."
    kind = option.get("type", "str")
    inner = ", ".join(option.get("options") or ())
    if kind == "list" and option.get("elements") == "dict":
        return f"give a list of dictionaries{' of ' if inner else ''}{inner}."
    return f"give {_WANTED[kind]}{' of ' if inner else ''}{inner}."


def _reading(option: Mapping[str, Any], value: Any) -> Any:
    """Return a value as its kind has it, or raise Unfit."""
    if isinstance(value, Unreadable):
        raise Unfit
    kind = option.get("type", "str")
    read = _READERS[kind](value)
    choices = option.get("choices")
    if value is False and "off" in (choices or ()):
        # YAML reads off as a truth value.
        return "off"
    if choices and kind != "list" and read not in [_READERS[kind](one) for one in choices]:
        raise Unfit
    return read


class _Holder:
    """Collects sentences while it holds values against options."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.sentences: list[str] = []

    def say(self, variable: str, sentence: str) -> None:
        """Note one sentence about a variable."""
        self.sentences.append(f"{self.host}: {variable} {sentence}")

    def options(
        self, path: str, options: Mapping[str, Any], given: Mapping[Any, Any], prefix: str = ""
    ) -> None:
        """Hold a dictionary against its options: those that are there, missing, unknown."""
        unknown = [key for key in given if key not in options]
        meant = {key: _nearest(str(key), options, SUGGESTED, prefix) for key in unknown}
        for key, option in options.items():
            variable = _place(path, key)
            if key in given:
                self.value(variable, option, given[key])
            elif option.get("required") and key not in meant.values():
                self.say(variable, f"is missing; {_remedy(option)}")
        for key in unknown:
            known = ", ".join(options)
            # The list of all variables would hide the one that was meant.
            rest = f" (known: {known})" if path else ""
            hint = f"did you mean {meant[key]}?{rest}" if meant[key] else f"known: {known}."
            self.say(_place(path, key), f"is not known; {hint}")

    def value(self, variable: str, option: Mapping[str, Any], value: Any) -> None:
        """Hold one value against its option."""
        if value is None and not option.get("required") and option.get("default") is None:
            return
        kind = option.get("type", "str")
        inner: Mapping[str, Any] = option.get("options") or {}
        if kind == "list" and inner and isinstance(value, Mapping):
            # One dictionary stands for a list of one.
            kind, option = "dict", {**option, "type": "dict"}
        if option.get("no_log"):
            inner = {key: {**one, "no_log": True} for key, one in inner.items()}
        try:
            read = _reading(option, value)
        except (ValueError, OverflowError):
            if not self.unreadable(variable, option, value):
                self.say(variable, f"is {_shown(option, value)}; {_remedy(option)}")
            return
        if kind == "list":
            kind = option.get("elements", "raw")
            element = {**option, "type": kind, "elements": "raw", "required": True}
            for index, one in enumerate(read):
                self.value(f"{variable}[{index}]", element, one)
        elif kind == "dict" and inner:
            self.options(variable, inner, read)
        else:
            self.unreadable(variable, option, value)

    def unreadable(self, variable: str, option: Mapping[str, Any], value: Any) -> bool:
        """Say what could not be evaluated in a value, and return whether there was anything."""
        if isinstance(value, Mapping):
            inside = [(_place(variable, key), one) for key, one in value.items()]
        elif isinstance(value, _SEQUENCES):
            inside = [(f"{variable}[{index}]", one) for index, one in enumerate(value)]
        else:
            inside = []
        # Each of them is to be told, not only the first.
        found = [self.unreadable(place, option, one) for place, one in inside]
        if not isinstance(value, Unreadable):
            return any(found)
        undefined = _UNDEFINED.fullmatch(value.reason)
        # Any other reason may quote a part of the value.
        hidden = _is_secret(option) and not undefined
        reason = "its expression fails, and is not shown" if hidden else value.reason
        remedy = "define it, or give a value." if undefined else "give what can be read."
        self.say(variable, f"is not readable: {reason}; {remedy}")
        return True
