# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates that listeners show: whose they are and how long they hold."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row

try:
    from cryptography import x509
    from cryptography.hazmat.backends import default_backend
except ImportError:
    CRYPTOGRAPHY_IMPORT_ERROR: str | None = traceback.format_exc()
else:
    CRYPTOGRAPHY_IMPORT_ERROR = None


def shown(rows: Sequence[Row], now: datetime | None = None) -> list[dict[str, Any]]:
    """Return what a module tells of the certificate of each listener that showed one."""
    moment = now or datetime.now(timezone.utc)
    told = []
    for row in rows:
        if not row.certificate:
            continue
        # Debian 11's cryptography 3.3 asks for the backend.
        certificate = x509.load_der_x509_certificate(row.certificate, default_backend())
        begin, end = _time(certificate, "not_valid_before"), _time(certificate, "not_valid_after")
        told.append(
            {
                "listener": row.listener,
                "path": row.certificate_path or None,
                "sha256": hashlib.sha256(row.certificate).hexdigest(),
                "subject": certificate.subject.rfc4514_string(),
                "not_before": begin.isoformat(),
                "not_after": end.isoformat(),
                "days_left": (end - moment).days,
                "valid": begin <= moment <= end,
            }
        )
    return told


def _time(certificate: x509.Certificate, name: str) -> datetime:
    """Return one end of its validity; before cryptography 42 it is told without a zone."""
    told = getattr(certificate, f"{name}_utc", None) or getattr(certificate, name)
    return told.replace(tzinfo=timezone.utc)  # type: ignore[no-any-return]


def warnings(certificates: Sequence[dict[str, Any]]) -> list[str]:
    """Say which of the certificates no client takes today."""
    return [
        f"{one['listener']} shows a certificate that is valid from {one['not_before']} to "
        f"{one['not_after']} only: clients refuse it."
        for one in certificates
        if not one["valid"]
    ]
