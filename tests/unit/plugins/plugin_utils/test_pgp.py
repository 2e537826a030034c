"""OpenPGP keys, made by gpg for this test, and what comes in the place of one."""

from __future__ import annotations

import base64

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.pgp import KIND, read_key

KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEawPsuRYJKwYBBAHaRw8BAQdADt/06xJIclfSRfeU4lH5+8+dTmrsPupSLhdd
Yo8ebdu0EW90aGVyQGV4YW1wbGUub3JniJAEExYIADgWIQQweOzQmwSa0Oi3K/7L
KJNebxY03QUCawPsuQIbAwULCQgHAgYVCgkICwIEFgIDAQIeAQIXgAAKCRDLKJNe
bxY03eRhAQD4wx0zWQu6dStZ70jSL6zy5apF0qepcK8rHrjUrUh1vwD/eK0T0zH9
gFPCQUALy+B9qRCpiCK1fWXy8nZZzSvKdgo=
=1eul
-----END PGP PUBLIC KEY BLOCK-----
"""
FINGERPRINT = "3078ECD09B049AD0E8B72BFECB28935E6F1634DD"
OTHER = "0" * 40
BEGIN, END = f"-----BEGIN {KIND}-----\n", f"-----END {KIND}-----\n"


def data_of(text: str) -> bytes:
    """Return what is in a block."""
    lines = text.partition("\n\n")[2].partition("\n-----END")[0].splitlines()
    return base64.b64decode("".join(line for line in lines if not line.startswith("=")))


def block(data: bytes) -> str:
    """Return data as a block."""
    return f"{BEGIN}\n{base64.b64encode(data).decode()}\n{END}"


def fault(text: str, *fingerprints: str) -> str:
    """Return what is wrong with a text, which then holds nothing to write."""
    found = read_key(text, fingerprints or [FINGERPRINT])
    assert bool(found["text"]) is not bool(found["fault"])
    return found["fault"]


@pytest.mark.parametrize(
    "written",
    [
        FINGERPRINT,
        FINGERPRINT.lower(),
        f"{FINGERPRINT[:4]} {FINGERPRINT[4:20]}  {FINGERPRINT[20:]}",
    ],
)
def test_fingerprint(written: str) -> None:
    """The fingerprint is what gpg tells, however it was written."""
    assert fault(KEY, OTHER, written) == ""


def test_written_anew() -> None:
    """What is written holds what was judged, in one block, and nothing that stood around it."""
    text = f"words\n{KEY}more words\n{KEY}".replace("\n\n", "\nComment: mine\n\n", 1)
    written = read_key(text, [FINGERPRINT])["text"]
    assert data_of(written) == data_of(KEY) * 2
    assert written.count("-----BEGIN") == 1
    assert "words" not in written
    assert "Comment" not in written
    assert max(map(len, written.splitlines())) == 64
    assert read_key(written, [FINGERPRINT])["text"] == written
    assert (
        read_key(KEY.replace("\n", "\r\n"), [FINGERPRINT])["text"]
        == read_key(KEY, [FINGERPRINT])["text"]
    )


def test_somebody_elses() -> None:
    """A key that is not among those to be trusted is told by its fingerprint."""
    assert fault(KEY, OTHER) == f"has the fingerprint {FINGERPRINT}"


def test_somebody_elses_behind_the_right_one() -> None:
    """One right key does not vouch for another behind it, in its block or in one of its own."""
    data = data_of(KEY)
    size = data[1]
    strange = data[:5] + bytes([data[5] ^ 1]) + data[6 : 2 + size]
    for text in (block(data + strange), KEY + block(strange)):
        assert fault(text).startswith("has the fingerprint ")
        assert FINGERPRINT not in fault(text)


def test_length_of_every_kind() -> None:
    """The old and the new ways to tell a length are read as gpg reads them."""
    data = data_of(KEY)
    body, rest = data[2 : 2 + data[1]], data[2 + data[1] :]
    assert data[0] == 0x98
    for header in (
        b"\x99" + len(body).to_bytes(2, "big"),
        b"\x9a" + len(body).to_bytes(4, "big"),
        b"\xc6" + bytes([len(body)]),
        b"\xc6\xff" + len(body).to_bytes(4, "big"),
    ):
        assert fault(block(header + body + rest)) == ""
    long = b"\xcd" + bytes([192 + (300 - 192 >> 8), (300 - 192) & 0xFF]) + b"u" * 300
    assert fault(block(data + long)) == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it has no -----BEGIN"),
        (KEY.replace("PUBLIC", "PRIVATE"), "it has no -----BEGIN"),
        (KEY.partition("-----END")[0], "it has no -----BEGIN"),
        (KEY.replace("mDME", "mD*E", 1), "damaged"),
        (BEGIN + "\n" + END, "there is nothing in it"),
        (block(data_of(KEY)[:-3]), "damaged"),
        (block(data_of(KEY) + b"\x00\x00"), "damaged"),
        (block(data_of(KEY) + b"\x98"), "damaged"),
        (block(b"\x94" + data_of(KEY)[1:]), "something else (packet 5)"),
        (block(b"\xb4\x01x" + data_of(KEY)), "something else (packet 13)"),
        (block(data_of(KEY) + b"\xa3\x01"), "the length of a part is not told"),
        (block(data_of(KEY) + b"\xcd\xe1xx"), "the length of a part is not told"),
        (block(b"\x98\x02\x06\x00"), "a key of version 6"),
        (block(b"\x98\x00"), "a key of version 0"),
    ],
)
def test_no_key(text: str, told: str) -> None:
    """What is no key, or none that can be judged, is told so."""
    assert told in fault(text)
    assert fault(text).startswith("is no OpenPGP public key")
