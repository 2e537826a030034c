# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether name servers know a name, asked by DNS alone, as nginx's resolver asks them.

What /etc/hosts says does not count there, nor do the domains that a host searches.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any

_SECONDS = 2.0
_TRIES = 2
_LARGEST = 4096
_HEADER = struct.Struct(">2s5H")
_QUESTION = struct.Struct(">2H")
_RECORD = struct.Struct(">2HIH")
_INTERNET, _POINTER = 1, 0xC0
_RECURSION_DESIRED, _RESPONSE, _CODE = 0x0100, 0x8000, 0x000F
_KINDS = {"A": 1, "AAAA": 28}
_CODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


def looked_up(name: str, servers: Sequence[Mapping[str, Any]], ipv6: bool) -> dict[str, str | None]:
    """Return whether every name server knows a name: ``error`` is None where they do.

    nginx asks them in turn and believes whichever answers, so each of them must.

    :param servers: ``address`` and ``port`` of each.
    :param ipv6: whether to ask for addresses of IPv6 too.
    """
    kinds = list(_KINDS) if ipv6 else ["A"]
    for server in servers:
        try:
            counts = [_addresses(server["address"], server["port"], name, kind) for kind in kinds]
        except _NoAnswer as error:
            return {"name": name, "error": f"{server['address']} says {error}"}
        if not any(counts):
            told = f"{server['address']} says that it has no address ({' or '.join(kinds)})"
            return {"name": name, "error": told}
    return {"name": name, "error": None}


class _NoAnswer(Exception):
    """A name server does not answer a question, and what it says in the place of an answer."""


def _addresses(address: str, port: int, name: str, kind: str) -> int:
    """Return how many addresses of a kind a name server gives.

    :raises _NoAnswer: when it does not answer that: nginx takes none of the other kind then either.
    """
    try:
        code, kinds = _read(_asked(address, port, _question(name, kind)))
    except UnicodeError as error:
        raise _NoAnswer("nothing: it is no host name") from error
    except socket.timeout as error:
        raise _NoAnswer("nothing") from error
    except OSError as error:
        raise _NoAnswer(f"nothing: {error.strerror}") from error
    except (struct.error, IndexError) as error:
        raise _NoAnswer("what is no answer") from error
    if code:
        raise _NoAnswer(f"{_CODES.get(code, f'error {code}')} ({kind})")
    return kinds.count(_KINDS[kind])


def _question(name: str, kind: str) -> bytes:
    labels = name.rstrip(".").encode("idna").split(b".")
    written = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    head = _HEADER.pack(os.urandom(2), _RECURSION_DESIRED, 1, 0, 0, 0)
    return head + written + _QUESTION.pack(_KINDS[kind], _INTERNET)


def _asked(address: str, port: int, question: bytes) -> bytes:
    """Return the answer to a question.

    :raises OSError: when there is none.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.settimeout(_SECONDS)
        asking.connect((address, port))
        for _one in range(_TRIES):
            # A datagram may be lost.
            with contextlib.suppress(socket.timeout):
                return _exchange(asking, question)
    raise socket.timeout


def _exchange(asking: socket.socket, question: bytes) -> bytes:
    asking.send(question)
    while True:
        answer = asking.recv(_LARGEST)
        if answer[:2] == question[:2]:
            return answer


def _read(answer: bytes) -> tuple[int, list[int]]:
    """Return the code of an answer, and the kinds of the records in it."""
    _identity, flags, questions, records, _authorities, _others = _HEADER.unpack_from(answer)
    if not flags & _RESPONSE:
        raise IndexError
    place = _HEADER.size
    for _one in range(questions):
        place = _after_name(answer, place) + _QUESTION.size
    kinds = []
    for _one in range(records):
        place = _after_name(answer, place)
        kind, _class, _lifetime, length = _RECORD.unpack_from(answer, place)
        kinds.append(kind)
        place += _RECORD.size + length
    return flags & _CODE, kinds


def _after_name(answer: bytes, place: int) -> int:
    """Return where the name ends that begins at a place."""
    while answer[place]:
        if answer[place] >= _POINTER:
            return place + 2
        place += 1 + answer[place]
    return place + 1
