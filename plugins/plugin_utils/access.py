# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads who may call: tokens, and lists of networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import NAME, Reader

MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
"""IPv4 addresses in the notation of IPv6."""

LONGEST_TOKEN = 4080
"""nginx reads no longer word of its configuration, as which a token is written."""


def read_tokens(reader: Reader, value: Any) -> list[dict[str, str]]:
    """Return the tokens that clients may send, each with its name for the log."""
    variable = "grpc_proxy_token"
    if value in (None, "", []):
        return []
    items = [{"name": "default", "token": value}] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, Mapping) for item in items):
        reader.refuse(variable, "is neither a token nor a list of {name: ..., token: ...}.")
        return []
    tokens = []
    for index, item in enumerate(items):
        place = variable if isinstance(value, str) else f"{variable}[{index}]"
        name = item.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            reader.complain(f"{place}.name", name, "letters, digits, '.', '_' and '-' only.")
            name = ""
        for key in sorted(str(key) for key in item if key not in ("name", "token")):
            reader.refuse(f"{place}.{key}", "is not known; known: name, token.")
        tokens.append({"name": name, "token": read_token(reader, place, item.get("token"))})
    for key in ("name", "token"):
        given = [item[key] for item in tokens if item[key]]
        if len(set(given)) < len(given):
            reader.refuse(variable, f"has the same {key} twice; each must differ.")
    return tokens


def read_token(reader: Reader, variable: str, value: Any) -> str:
    """Return a token that a header can carry as it is, or complain without showing it."""
    if not isinstance(value, str) or not value:
        plain = isinstance(value, (int, float))
        reader.refuse(variable, "is not text; put it in quotes." if plain else "has no token.")
        return ""
    if len(as_pattern(value)) > LONGEST_TOKEN:
        reader.refuse(
            variable,
            f"is longer than {LONGEST_TOKEN} characters, of which each that is neither a letter "
            "nor a digit counts as four.",
        )
    elif value != value.strip() or not all(" " <= one <= "~" for one in value):
        reader.refuse(
            variable,
            "cannot be sent as it is: a header carries printable ASCII, without a space at "
            "either end and without a newline.",
        )
    return value


def as_pattern(token: str) -> str:
    """Return a regular expression for nginx that matches this token alone.

    nginx's maps compare plain strings without regard to case, so a token is compared by an
    expression, in which every character but letters and digits is written as a number.
    """
    return "".join(one if one.isalnum() else f"\\x{ord(one):02x}" for one in token)


def as_literal(token: str) -> str:
    """Return a token as a quoted string of nginx's configuration."""
    escaped = token.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_networks(reader: Reader, variable: str, value: Any) -> list[str]:
    """Return addresses and networks in the notation of nginx."""
    if value in (None, "", []):
        return []
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list):
        reader.complain(variable, value, "give a list of addresses and networks.")
        return []
    found: list[str] = []
    for index, item in enumerate(items):
        try:
            network = _network(item)
        except ValueError as error:
            reader.complain(f"{variable}[{index}]", item, _remedy(item, error))
            continue
        if str(network) in found:
            reader.complain(f"{variable}[{index}]", item, "it is in the list already.")
        found.append(str(network))
    return found


def _network(value: Any, strict: bool = True) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network; one with a scope, which may hold any character, is none.

    :raises ValueError: for what is none.
    """
    if "%" in str(value):
        raise ValueError("a scope")
    network = ipaddress.ip_network(str(value), strict)
    if network.version == 6 and network.subnet_of(MAPPED):
        raise ipaddress.NetmaskValueError("nginx sees it as an IPv4 address; write it as one")
    return network


def _remedy(value: Any, error: ValueError) -> str:
    try:
        network = _network(value, strict=False)
    except ipaddress.NetmaskValueError:
        return f"{error}."
    except ValueError:
        return "give an IPv4 or IPv6 address or network such as 10.0.0.0/8; names are not resolved."
    return f"{error}; write {network}."


def read_access(reader: Reader, prefix: str, given: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the access list of a dictionary; what is on both lists is refused."""
    allow = read_networks(reader, f"{prefix}allow", given.get("allow"))
    deny = read_networks(reader, f"{prefix}deny", given.get("deny"))
    for item in sorted(set(allow) & set(deny)):
        reader.complain(f"{prefix}allow", item, f"it is in {prefix}deny too; choose.")
    return {"allow": allow, "deny": deny}
