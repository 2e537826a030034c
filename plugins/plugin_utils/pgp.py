# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads OpenPGP public keys: whose they are is told before anything trusts them."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

KIND = "PGP PUBLIC KEY BLOCK"
FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_BLOCK = re.compile(rf"-----BEGIN {KIND}-----\r?\n(.*?)-----END {KIND}-----", re.DOTALL)
# The packets of a public key (RFC 9580, 5): key, signature, trust, name, subkey, image.
_KEY, _SUBKEY = 6, 14
_PARTS = frozenset({2, _KEY, 12, 13, _SUBKEY, 17})
_LONGEST_LINE = 64
_DAMAGED = "it is damaged, or was cut short"


class Unreadable(ValueError):
    """The text is no public key that could be judged."""


def plain(fingerprint: Any) -> str:
    """Return a fingerprint as it is compared, however it was written."""
    return re.sub(r"\s", "", str(fingerprint)).upper()


def read_key(text: str, fingerprints: Sequence[str]) -> dict[str, str]:
    """Return public keys as apt is to read them, and what is wrong with them.

    :param text: one or more keys, ASCII-armoured.
    :param fingerprints: those that may be trusted; every key must have one of them.
    :returns: ``text``, all keys in one block that holds what was judged here and nothing else;
        ``fault``, empty where it will do.
    """
    allowed = {plain(one) for one in fingerprints}
    try:
        packets = _dearmoured(text)
        found = [_fingerprint(body) for kind, body in _packets(packets) if kind == _KEY]
    except Unreadable as error:
        return {"text": "", "fault": f"is no OpenPGP public key that can be judged: {error}"}
    strange = sorted(set(found) - allowed)
    if strange:
        return {"text": "", "fault": f"has the fingerprint {' and '.join(strange)}"}
    return {"text": _armoured(packets), "fault": ""}


def _dearmoured(text: str) -> bytes:
    blocks = _BLOCK.findall(text)
    if not blocks:
        raise Unreadable(f"it has no -----BEGIN {KIND}----- with its end")
    try:
        data = b"".join(base64.b64decode(_content(block), validate=True) for block in blocks)
    except binascii.Error as error:
        raise Unreadable(_DAMAGED) from error
    if not data:
        raise Unreadable("there is nothing in it")
    return data


def _content(block: str) -> str:
    """Return the lines after the headers, without the checksum."""
    lines = [line.strip() for line in block.splitlines()]
    begin = lines.index("") + 1 if "" in lines else 0
    return "".join(line for line in lines[begin:] if not re.fullmatch("=[A-Za-z0-9+/]{4}", line))


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield kind and content of each packet; the first is a key."""
    place = 0
    while place < len(data):
        kind, begin, size = _header(data, place)
        if kind not in _PARTS or (place == 0 and kind != _KEY):
            raise Unreadable(f"it holds something else (packet {kind})")
        if begin + size > len(data):
            raise Unreadable(_DAMAGED)
        yield kind, data[begin : begin + size]
        place = begin + size


def _header(data: bytes, place: int) -> tuple[int, int, int]:
    """Return kind of the packet at a place, where its content begins, and how long that is."""
    first, rest = data[place], data[place + 1 : place + 6]
    if not first & 0x80 or not rest:
        raise Unreadable(_DAMAGED)
    if first & 0x40:
        kind, octets = first & 0x3F, rest[0]
        if octets < 192:
            return kind, place + 2, octets
        if octets < 224 and len(rest) > 1:
            return kind, place + 3, ((octets - 192) << 8) + rest[1] + 192
        if octets == 255:
            return kind, place + 6, int.from_bytes(rest[1:], "big")
    elif first & 3 != 3:
        width = 1 << (first & 3)
        return (first >> 2) & 0x0F, place + 1 + width, int.from_bytes(rest[:width], "big")
    raise Unreadable("the length of a part is not told")


def _fingerprint(body: bytes) -> str:
    """Return the fingerprint of a key; what signs in its name is apt's to verify."""
    if body[:1] != b"\x04":
        raise Unreadable(f"it has a key of version {body[0] if body else 0}, and 4 is known")
    # The standard's own choice of a hash.
    digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body, usedforsecurity=False)
    return digest.hexdigest().upper()


def _armoured(data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = [text[place : place + _LONGEST_LINE] for place in range(0, len(text), _LONGEST_LINE)]
    return "\n".join([f"-----BEGIN {KIND}-----", "", *lines, f"-----END {KIND}-----", ""])
