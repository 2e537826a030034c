# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every reader of people's variables is made of: plain values, and complaints.

Everything that reaches a template passes through these readers: what is not plainly a name,
an address, a number or a time is refused, so that no value can change the configuration
around it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
HOST_NAME = re.compile(
    r"(?=.*[A-Za-z0-9])(?=.{1,253}$)(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?"
)
DURATION = re.compile(r"[1-9][0-9]{0,8}(ms|s|m|h|d)")
SIZE = re.compile(r"0|[1-9][0-9]{0,8}[km]?")
SECRETS = ("token", "private_key", "password")
LONGEST_QUOTE = 200


def quoted(value: Any) -> str:
    """Return a value as a sentence may show it: short, on one line, and nothing secret."""
    text = repr(_without_secrets(value))
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {
            key: "(not shown)" if key in SECRETS else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    # Keys end up in the wrong place, too.
    return "(not shown)" if isinstance(value, str) and "PRIVATE KEY" in value else value


def _line(text: str) -> str:
    """Return text on one line: names of keys and certificates may hold anything."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


class Reader:
    """Collects complaints while it reads.

    :param host: inventory name of the proxy, named in each complaint about its variables.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self.complaints: list[str] = []
        self.warnings: list[str] = []

    def complain(self, variable: str, value: Any, remedy: str, host: str = "") -> None:
        """Note one complaint: host, variable, value, and what would do."""
        self.refuse(variable, f"is {quoted(value)}; {remedy}", host)

    def refuse(self, variable: str, sentence: str, host: str = "") -> None:
        """Note one complaint that does not quote the value, which may be secret or long."""
        self.complaints.append(_line(f"{host or self.host}: {variable} {sentence}"))

    def warn(self, variable: str, sentence: str) -> None:
        """Note what works today and deserves a look."""
        self.warnings.append(_line(f"{self.host}: {variable} {sentence}"))

    def integer(self, variable: str, value: Any, low: int, high: int, host: str = "") -> int | None:
        """Return a whole number within bounds, or complain."""
        text = str(value)
        whole = not isinstance(value, bool) and re.fullmatch(r"-?[0-9]{1,12}", text)
        if whole and low <= int(text) <= high:
            return int(text)
        self.complain(variable, value, f"give a whole number from {low} to {high}.", host)
        return None

    def boolean(self, variable: str, value: Any, host: str = "") -> bool:
        """Return a truth value as Ansible's inventories write it, or complain."""
        text = str(value).lower()
        if text not in ("true", "false", "yes", "no", "1", "0"):
            self.complain(variable, value, "give true or false.", host)
        return text in ("true", "yes", "1")

    def choice(self, variable: str, value: Any, known: Sequence[str], host: str = "") -> str:
        """Return one of the known words; the first of them after a complaint."""
        if not isinstance(value, str) or value not in known:
            self.complain(variable, value, f"choose one of {', '.join(known)}.", host)
            return known[0]
        return value

    def matching(self, variable: str, value: Any, pattern: re.Pattern[str], remedy: str) -> str:
        """Return text that matches a pattern as a whole; empty after a complaint."""
        plain = isinstance(value, (str, int, float)) and not isinstance(value, bool)
        if not plain or not pattern.fullmatch(str(value)):
            self.complain(variable, value, remedy)
            return ""
        return str(value)

    def dictionary(self, variable: str, value: Any) -> Mapping[str, Any]:
        """Return a dictionary; an empty one after a complaint, or for nothing."""
        if value in (None, "", {}):
            return {}
        if not isinstance(value, Mapping):
            self.complain(variable, value, "give a dictionary.")
            return {}
        return value

    def dictionaries(self, variable: str, value: Any) -> Sequence[Mapping[str, Any]]:
        """Return a list of dictionaries; one dictionary alone is a list of one."""
        if value in (None, "", {}, []):
            return []
        items = [value] if isinstance(value, Mapping) else value
        if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
            self.complain(variable, value, "give a list of dictionaries.")
            return []
        return items


def address_of(value: Any) -> str | None:
    """Return an address or a host name that may stand in a configuration, else None."""
    text = value if isinstance(value, str) else ""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        numeric = re.fullmatch(r"[0-9.]+", text)
        # nginx takes "unix" for the beginning of a socket's path.
        name = HOST_NAME.fullmatch(text) and text.lower() != "unix"
        return text if name and not numeric else None
    return None if parsed.is_unspecified or parsed.is_multicast or "%" in text else str(parsed)


def is_name(address: str) -> bool:
    """Tell whether an address is a host name, to be resolved on the proxy."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return True
    return False


def endpoint(address: str, port: int) -> str:
    """Return address and port as nginx writes them."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
