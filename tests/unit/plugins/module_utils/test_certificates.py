"""What is told of the certificates that listeners show, and when clients refuse them."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import certificates
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.certificates import (
    shown,
    warnings,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEY = ec.generate_private_key(ec.SECP256R1())
BEGIN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
END = datetime(2026, 3, 4, 5, 6, 7, tzinfo=timezone.utc)
DAY, INSTANT = timedelta(days=1), timedelta(microseconds=1)
NAME = ((NameOID.COMMON_NAME, "proxy.example.org"),)


def made(
    begin: datetime = BEGIN,
    end: datetime = END,
    name: tuple[tuple[x509.ObjectIdentifier, str], ...] = NAME,
) -> bytes:
    """Return a certificate in DER, signed by itself."""
    subject = x509.Name([x509.NameAttribute(kind, value) for kind, value in name])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")]))
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(end)
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


ONE = made()


def row(certificate: bytes = ONE, listener: str = "0.0.0.0:11800", path: str = "") -> Row:
    """Return what a listener has answered."""
    return Row(listener, certificate=certificate, certificate_path=path)


def told(moment: datetime, certificate: bytes = ONE) -> dict[str, Any]:
    """Return what is told of one certificate at a moment."""
    (found,) = shown([row(certificate)], moment)
    return found


# What is told


def test_all_that_is_told() -> None:
    """Who showed it, from which file, its digest, whose it is, and how long it holds."""
    (found,) = shown([row(path="/etc/ssl/proxy.pem")], BEGIN + 10 * DAY)
    assert found == {
        "listener": "0.0.0.0:11800",
        "path": "/etc/ssl/proxy.pem",
        "sha256": x509.load_der_x509_certificate(ONE).fingerprint(hashes.SHA256()).hex(),
        "subject": "CN=proxy.example.org",
        "not_before": "2026-01-02T03:04:05+00:00",
        "not_after": "2026-03-04T05:06:07+00:00",
        "days_left": 51,
        "valid": True,
    }


def test_listeners_that_showed_none_are_left_out() -> None:
    """The others are told in their order, each with its own certificate, also a shared one."""
    two = made(name=((NameOID.COMMON_NAME, "two"),))
    rows = [row(two, "b:1"), row(b"", "clear:1"), row(ONE, "a:1"), row(two, "c:1")]
    found = shown(rows, BEGIN)
    names = [(item["listener"], item["subject"]) for item in found]
    assert names == [("b:1", "CN=two"), ("a:1", "CN=proxy.example.org"), ("c:1", "CN=two")]
    assert [item["path"] for item in found] == [None, None, None]
    digests = [hashlib.sha256(content).hexdigest() for content in (two, ONE, two)]
    assert [item["sha256"] for item in found] == digests
    assert shown([], BEGIN) == shown([row(b"")], BEGIN) == []


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ((), ""),
        (
            (
                (NameOID.COUNTRY_NAME, "DE"),
                (NameOID.ORGANIZATION_NAME, "Example"),
                (NameOID.COMMON_NAME, "proxy"),
            ),
            "CN=proxy,O=Example,C=DE",
        ),
        (((NameOID.ORGANIZATION_NAME, 'A, "B" + C=D'),), r"O=A\, \"B\" \+ C=D"),
        (((NameOID.COMMON_NAME, "größe.example"),), "CN=größe.example"),
    ],
    ids=["none", "several", "escaped", "not ascii"],
)
def test_names(name: tuple[tuple[x509.ObjectIdentifier, str], ...], subject: str) -> None:
    """A subject is written as RFC 4514 says, an empty one as nothing."""
    assert told(BEGIN, made(name=name))["subject"] == subject


# How long it holds


@pytest.mark.parametrize(
    ("moment", "valid"),
    [
        (BEGIN - INSTANT, False),
        (BEGIN, True),
        (BEGIN + INSTANT, True),
        (END - INSTANT, True),
        (END, True),
        (END + INSTANT, False),
    ],
)
def test_when_it_is_valid(moment: datetime, valid: bool) -> None:
    """From the first moment to the last, both of them included (RFC 5280, 4.1.2.5)."""
    assert told(moment)["valid"] is valid


@pytest.mark.parametrize(
    ("before", "days"),
    [
        (2 * DAY, 2),
        (2 * DAY - INSTANT, 1),
        (DAY, 1),
        (DAY - INSTANT, 0),
        (0 * DAY, 0),
        (-INSTANT, -1),
        (-DAY, -1),
        (-DAY - INSTANT, -2),
    ],
)
def test_days_that_are_left(before: timedelta, days: int) -> None:
    """Whole days alone count, and what has ended has less than none left."""
    assert told(END - before)["days_left"] == days


def test_days_that_are_left_of_one_to_come() -> None:
    """They are counted to its end, whenever it begins."""
    found = told(BEGIN - 10 * DAY)
    assert (found["days_left"], found["valid"]) == (71, False)


@pytest.mark.parametrize("hours", [-11, 14])
def test_the_zone_of_the_clock(hours: int) -> None:
    """A moment is the same one in every zone."""
    zone = timezone(timedelta(hours=hours))
    assert told(END.astimezone(zone)) == told(END)
    assert not told((END + INSTANT).astimezone(zone))["valid"]


def test_now() -> None:
    """Where no moment is given, it is this one."""
    now = datetime.now(timezone.utc)
    for begin, end, days, valid in (
        (now - DAY, now + 2 * DAY + DAY / 2, 2, True),
        (now - 3 * DAY, now - DAY / 2, -1, False),
        (now + DAY / 2, now + DAY * 3 / 2, 1, False),
    ):
        (found,) = shown([row(made(begin, end))])
        assert (found["days_left"], found["valid"]) == (days, valid)


# Older libraries


class Old:
    """A certificate as cryptography knew it before version 42: its times have no zone."""

    def __init__(self, content: bytes) -> None:
        self._real = x509.load_der_x509_certificate(content)
        self.subject = self._real.subject
        self.not_valid_before = self._real.not_valid_before_utc.replace(tzinfo=None)
        self.not_valid_after = self._real.not_valid_after_utc.replace(tzinfo=None)


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cryptography as Debian 11 has it, on a host whose clock shows the time of Tokyo."""
    real = default_backend()

    def load(content: bytes, backend: object) -> Old:
        assert backend is real
        return Old(content)

    monkeypatch.setattr(certificates, "x509", SimpleNamespace(load_der_x509_certificate=load))
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("moment", [BEGIN - INSTANT, BEGIN, END, END + INSTANT])
@pytest.mark.usefixtures("old")
def test_an_old_library_tells_the_same(moment: datetime) -> None:
    """Its times are UTC, whatever the zone of the host."""
    found = told(moment)
    assert found["valid"] is (BEGIN <= moment <= END)
    assert found["days_left"] == (END - moment).days
    assert (found["not_before"], found["not_after"]) == (BEGIN.isoformat(), END.isoformat())
    assert found["subject"] == "CN=proxy.example.org"


# What people are warned of


@pytest.mark.parametrize("moment", [BEGIN - INSTANT, END + INSTANT], ids=["early", "late"])
def test_a_warning(moment: datetime) -> None:
    """One sentence, with the listener and both ends of its time."""
    assert warnings(shown([row()], moment)) == [
        "0.0.0.0:11800 shows a certificate that is valid from 2026-01-02T03:04:05+00:00 to "
        "2026-03-04T05:06:07+00:00 only: clients refuse it."
    ]


def test_warnings_are_of_those_that_are_refused_alone() -> None:
    """Each listener that shows one is named, in its order, and no other."""
    past, future = made(BEGIN, BEGIN + DAY), made(END - DAY, END)
    rows = [row(past, "b:1"), row(ONE, "a:1"), row(future, "c:1"), row(past, "d:1")]
    found = warnings(shown(rows, BEGIN + 2 * DAY))
    assert [sentence.split()[0] for sentence in found] == ["b:1", "c:1", "d:1"]


@pytest.mark.parametrize("moment", [BEGIN, END])
def test_no_warning(moment: datetime) -> None:
    """What is valid is not spoken of, however little of its time is left."""
    assert warnings(shown([row()], moment)) == warnings([]) == []
