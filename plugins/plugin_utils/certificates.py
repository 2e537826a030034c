# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges keys and certificates, and says what is wrong with them before a host has them."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.pem import (
    HAS_CRYPTOGRAPHY,
    UNREADABLE,
    covers,
    dates_of,
    fits,
    is_authority,
    is_valid,
    issued,
    name_of,
    read_certificates,
    read_key,
    read_revocations,
    time_of,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader

if TYPE_CHECKING:
    from cryptography import x509

PATH = re.compile(r"(?!.*/\.\.?(/|$))(/[\w.@%+,:=~-]+)+")
SOON = datetime.timedelta(days=14)
"""A certificate that expires sooner than this is warned of."""

HIDDEN = ("/root/", "/home/", "/run/user/", "/tmp/", "/var/tmp/", "/dev/")  # noqa: S108
"""Places that the unit's sandbox hides from nginx."""


def is_readable(path: str) -> bool:
    """Tell whether nginx could read a file at this path, as far as a path tells."""
    return bool(PATH.fullmatch(path)) and not path.startswith(HIDDEN)


class Material:
    """Keys and certificates of one dictionary of the user's, each as text or as a path.

    :param variable: name of the dictionary.
    :param given: the dictionary.
    :param folder: where text is kept in the generation, below ``tls/``.
    :param on_host: content of the certificates that the user has put on the host, by path.
    :param dates: ``refuse`` or ``warn``, for what has expired or is not yet valid.
    """

    def __init__(
        self,
        reader: Reader,
        variable: str,
        given: Mapping[str, Any],
        folder: str,
        on_host: Mapping[str, str],
        dates: str,
    ) -> None:
        self.reader = reader
        self.variable = variable
        self.given = given
        self.folder = folder
        self.on_host = on_host
        self.dates = dates
        self.files: list[dict[str, str]] = []
        self.secrets: list[dict[str, str]] = []

    def place(self, key: str, secret: bool = False) -> str:
        """Return where nginx finds this material: empty when it is not given.

        What is given and empty is refused: it would leave off in silence what was meant.
        """
        for name in (key, f"{key}_path"):
            if name in self.given and not str(self.given[name] or "").strip():
                self.reader.refuse(
                    f"{self.variable}.{name}", "is empty; give it, or leave it out altogether."
                )
                return ""
        text, path = self.given.get(key) or "", self.given.get(f"{key}_path") or ""
        if (text or path) and not HAS_CRYPTOGRAPHY:
            self.reader.refuse(
                f"{self.variable}.{key}",
                "cannot be judged: Python's cryptography is missing here; install it.",
            )
            return ""
        if text and path:
            self.reader.refuse(
                f"{self.variable}.{key}", f"and {key}_path are both given; give one of them."
            )
            return ""
        if path:
            return self._path(key, str(path), secret)
        if not text:
            return ""
        name = f"tls/{self.folder}-{key}.pem"
        content = str(text).strip() + "\n"
        kept = self.secrets if secret else self.files
        kept.append({"path": name, "content": content, "mode": "0600" if secret else "0644"})
        return name

    def _path(self, key: str, path: str, secret: bool) -> str:
        variable = f"{self.variable}.{key}_path"
        if not PATH.fullmatch(path):
            # What is no path may be the key itself.
            self.reader.complain(
                variable,
                "(not shown)" if secret else path,
                "give an absolute path without special characters.",
            )
            return ""
        hiding = next((place for place in HIDDEN if path.startswith(place)), None)
        if hiding:
            remedy = f"the proxy's unit does not see {hiding}; keep it below /etc, for example."
            self.reader.complain(variable, path, remedy)
            return ""
        return path

    def text(self, key: str) -> str | None:
        """Return the text of this material; None for a path that was not read."""
        if not HAS_CRYPTOGRAPHY:
            return None
        path = self.given.get(f"{key}_path")
        if path:
            return self.on_host.get(str(path))
        text = str(self.given.get(key) or "")
        return text if text.strip() else ""

    def named(self, key: str) -> str:
        """Return the variable that holds this material, and the file that it names."""
        path = self.given.get(f"{key}_path")
        return f"{self.variable}.{key}_path ({path})" if path else f"{self.variable}.{key}"

    def chain(self, key: str) -> list[x509.Certificate]:
        """Return the certificates of a text, or none after a complaint."""
        text = self.text(key)
        if not text:
            return []
        variable = self.named(key)
        if "PRIVATE KEY" in text:
            self.reader.refuse(variable, "holds a private key; give certificates only.")
            return []
        try:
            return read_certificates(text)
        except UNREADABLE:
            self.reader.refuse(variable, "holds no certificate in PEM that can be read.")
            return []

    def judge_dates(
        self, key: str, certificates: Sequence[x509.Certificate], refuse: bool = True
    ) -> None:
        """Refuse or warn of what is not valid now, and warn of what will not be soon."""
        now = datetime.datetime.now(datetime.timezone.utc)
        for one in certificates:
            begin, end = dates_of(one)
            variable = self.named(key)
            who = name_of(one.subject)
            sentence = ""
            if end < now:
                sentence = f"has expired on {end:%Y-%m-%d %H:%M} UTC ({who})"
            elif begin > now:
                sentence = f"is valid from {begin:%Y-%m-%d %H:%M} UTC on only ({who})"
            if sentence and refuse and self.dates == "refuse":
                self.reader.refuse(
                    variable, f"{sentence}; renew it, or set grpc_proxy_certificate_dates to warn."
                )
            elif sentence:
                self.reader.warn(variable, f"{sentence}.")
            elif end - now < SOON:
                self.reader.warn(variable, f"expires on {end:%Y-%m-%d %H:%M} UTC ({who}).")

    def judge_pair(self, name: str = "") -> None:
        """Judge ``certificate`` and ``private_key`` together, and the order of the chain."""
        chain = self.chain("certificate")
        self.judge_dates("certificate", chain)
        for first, then in zip(chain, chain[1:]):
            if not issued(first, then):
                self.reader.refuse(
                    self.named("certificate"),
                    f"is a chain in the wrong order: {name_of(then.subject)} follows "
                    f"{name_of(first.subject)} and did not issue it. The server's own "
                    "certificate comes first, then the one that issued it, and so on.",
                )
                return
        if chain and name and not covers(chain[0], name):
            self.reader.complain(
                f"{self.variable}.server_name", name, "the certificate is not for this name."
            )
        self._judge_key(chain)

    def covers(self, name: str) -> bool:
        """Tell whether the certificate is for a name, as far as it could be read."""
        chain = self.chain("certificate")
        return not chain or covers(chain[0], name)

    def _judge_key(self, chain: Sequence[x509.Certificate]) -> None:
        text = self.text("private_key")
        if not text or self.given.get("private_key_path"):
            # A key that stays on the host is judged there, by nginx's own test.
            return
        variable = f"{self.variable}.private_key"
        try:
            key = read_key(text)
        except TypeError:
            self.reader.refuse(
                variable, "is encrypted; give it without a passphrase and keep it in a vault."
            )
            return
        except UNREADABLE:
            self.reader.refuse(variable, "holds no private key in PEM that can be read.")
            return
        if chain and not fits(key, chain[0]):
            self.reader.refuse(
                variable,
                f"does not fit the certificate: the key of {name_of(chain[0].subject)} is another "
                "one.",
            )

    def judge_authorities(self, key: str) -> None:
        """Judge certificates that others are to be verified by."""
        chain = self.chain(key)
        # One that has expired beside its successor does no harm.
        self.judge_dates(key, chain, refuse=not any(is_valid(one) for one in chain))
        for one in chain:
            if not is_authority(one):
                self.reader.refuse(
                    self.named(key),
                    f"holds {name_of(one.subject)}, which is no certificate authority.",
                )
            elif not any(issued(one, other) for other in chain):
                self.reader.refuse(
                    self.named(key),
                    f"ends before its root: {name_of(one.subject)} was issued by "
                    f"{name_of(one.issuer)}; add its certificate, else nginx verifies nobody.",
                )

    def judge_revocations(self, key: str, authorities: str) -> None:
        """Judge a list of revoked certificates against the authorities that it speaks for."""
        text = self.text(key)
        if not text:
            return
        variable = self.named(key)
        try:
            lists = read_revocations(text)
        except UNREADABLE:
            self.reader.refuse(variable, "holds no list of revoked certificates in PEM.")
            return
        issuers = [one.subject for one in self.chain(authorities)]
        for listed in lists:
            who = name_of(listed.issuer)
            if issuers and listed.issuer not in issuers:
                self.reader.refuse(variable, f"is issued by {who}, not by {authorities}.")
            end = time_of(listed, "next_update")
            if end is not None and end < datetime.datetime.now(datetime.timezone.utc):
                self.reader.refuse(
                    variable,
                    f"has expired on {end:%Y-%m-%d %H:%M} UTC ({who}); nginx would refuse every "
                    "client.",
                )
        listing = [listed.issuer for listed in lists]
        if all(issuer in issuers for issuer in listing):
            for issuer in (one for one in issuers if one not in listing):
                self.reader.refuse(
                    variable,
                    f"has no list of {name_of(issuer)}, which is in {authorities}; nginx would "
                    "refuse all of its clients.",
                )
