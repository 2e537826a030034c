# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads keys, certificates and lists of revoked ones in PEM, with the library ``cryptography``."""

from __future__ import annotations

import datetime
import re
from typing import Any

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
except ImportError:
    # ansible-core needs it too, but not for everything that it does.
    HAS_CRYPTOGRAPHY = False
    UNREADABLE: tuple[type[Exception], ...] = ()
else:
    HAS_CRYPTOGRAPHY = True
    UNREADABLE = (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    )
    """What cryptography raises at something that is not what it should be."""

CRL = re.compile("-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


def read_key(text: str) -> Any:
    """Read a private key that is not encrypted.

    :raises TypeError: for one that is.
    :raises UNREADABLE: for what is none.
    """
    return serialization.load_pem_private_key(text.encode(), password=None)


def time_of(holder: Any, name: str) -> datetime.datetime | None:
    """Return a time of a certificate or a list, which may leave it out.

    cryptography names those with a zone since 42, and warns of the others.
    """
    zoned = f"{name}_utc"
    found: datetime.datetime | None = getattr(holder, zoned if hasattr(holder, zoned) else name)
    return found and found.replace(tzinfo=datetime.timezone.utc)


def dates_of(certificate: x509.Certificate) -> tuple[datetime.datetime, datetime.datetime]:
    """Return since when and until when a certificate is valid."""
    begin, end = time_of(certificate, "not_valid_before"), time_of(certificate, "not_valid_after")
    if begin is None or end is None:
        raise ValueError("a certificate without dates")
    return begin, end


def is_valid(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate is valid now."""
    begin, end = dates_of(certificate)
    return begin <= datetime.datetime.now(datetime.timezone.utc) <= end


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Tell whether a certificate was issued by the owner of another one."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    except UnsupportedAlgorithm:
        # The names fit, and the rest is the clients' to judge.
        return True
    return True


def read_certificates(text: str) -> list[x509.Certificate]:
    """Read certificates whole: cryptography would read much of them later.

    :raises UNREADABLE: for what is none.
    """
    found = x509.load_pem_x509_certificates(text.encode())
    for one in found:
        _parts = one.issuer, name_of(one.subject), dates_of(one), one.extensions
    return found


def read_revocations(text: str) -> list[x509.CertificateRevocationList]:
    """Read lists of revoked certificates, likewise.

    :raises UNREADABLE: for what is none.
    """
    found = [x509.load_pem_x509_crl(one.encode()) for one in CRL.findall(text) or [text]]
    for one in found:
        _parts = name_of(one.issuer), time_of(one, "next_update")
    return found


def name_of(name: x509.Name) -> str:
    """Return the name of a subject or an issuer, for a sentence."""
    return name.rfc4514_string() or "a certificate without a name"


def fits(key: Any, certificate: x509.Certificate) -> bool:
    """Tell whether a private key belongs to a certificate."""
    encoding, kind = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        shown = certificate.public_key().public_bytes(encoding, kind)
    except UNREADABLE:
        # A kind of key that nginx may know: its own test judges it.
        return True
    return bool(key.public_key().public_bytes(encoding, kind) == shown)


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may issue others."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        # Version 1: old authorities are of this kind, and sign themselves.
        return certificate.subject == certificate.issuer
    return bool(found.value.ca)


def covers(certificate: x509.Certificate, name: str) -> bool:
    """Tell whether a certificate is for a name (RFC 6125: a star stands for one label)."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known = {one.lower() for one in names.get_values_for_type(x509.DNSName)}
    known |= {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    return name.lower() in known or f"*.{name.lower().partition('.')[2]}" in known
