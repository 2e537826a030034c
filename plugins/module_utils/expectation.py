# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a generation must answer, and where: its listeners, its methods, what it must refuse.

Every generation keeps that with its files, so that an older one can be proven too.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint, Tls
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import STATUS_NAMES

PROOF_FILE = "proof.json"
"""Kept in every generation, so that an older one can be proven when it is rolled back to."""


@dataclass(frozen=True)
class Refusal:
    """A call that must be refused by the proxy itself.

    :ivar method: ``/package.Service/Method``.
    :ivar statuses: numbers of the gRPC statuses that will do.
    """

    method: str
    statuses: tuple[int, ...]


@dataclass(frozen=True)
class Listener:
    """One address and port on which the proxy listens.

    :ivar address: as in nginx's ``listen``; a wildcard is asked over its loopback address.
    :ivar port: TCP port.
    :ivar tls: whether it speaks TLS.
    :ivar server_name: name that it is asked by, of several that share the socket.
    :ivar certificate: what it must show: the SHA-256 of a certificate in hexadecimal digits, or
        the absolute path of one on the host, which may be renewed there.
    :ivar refusals: calls that it must refuse to the host itself.
    """

    address: str
    port: int
    tls: bool = False
    server_name: str = ""
    certificate: str = ""
    refusals: tuple[Refusal, ...] = ()

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Listener:
        """Read one from a proof.json, also from one of a version that knew less.

        :raises KeyError, TypeError, ValueError: for one that nobody can ask.
        """
        known = dict(data)
        refusals = tuple(
            Refusal(_text(item["method"]), tuple(item["statuses"]))
            for item in known.pop("refusals", ())
        )
        read = cls(**known, refusals=refusals)
        ipaddress.ip_address(read.address)
        for text in (read.address, read.server_name, read.certificate):
            _text(text)
        numbers = {status for refusal in refusals for status in refusal.statuses}
        if not isinstance(read.port, int):
            raise TypeError(f"{read.port!r} is no port")
        if read.port not in range(1, 65536) or not numbers <= set(range(len(STATUS_NAMES))):
            raise ValueError(f"{read.name}: its port or a status is none")
        return read

    @property
    def name(self) -> str:
        """Address and port as nginx writes them, and the name asked for."""
        asked = f" ({self.server_name})" if self.server_name else ""
        return Endpoint(self.address, self.port).name + asked

    @property
    def endpoint(self) -> Endpoint:
        """Where the host itself reaches this listener.

        The certificate is compared as a whole, so it is not verified by an authority as well.
        """
        parsed = ipaddress.ip_address(self.address)
        address, source = self.address, self.address
        if parsed.is_unspecified:
            address, source = "::1" if parsed.version == 6 else "127.0.0.1", ""
        # Otherwise from the very address: of several, the kernel may take another one.
        tls = Tls(self.server_name, verify=False) if self.tls else None
        return Endpoint(address, self.port, self.server_name, source, tls)

    @property
    def socket(self) -> Listener:
        """Address and port alone: the socket that several names may share."""
        return Listener(self.address, self.port)

    @property
    def wildcard(self) -> tuple[int, int]:
        """IP version and port: two listeners that share them may share a wildcard socket."""
        return ipaddress.ip_address(self.address).version, self.port

    @property
    def is_wildcard(self) -> bool:
        """Tell whether the address stands for every address of its IP version."""
        return ipaddress.ip_address(self.address).is_unspecified


@dataclass(frozen=True)
class Expectation:
    """What a generation must answer, and where.

    :ivar listeners: all listeners of the generation.
    :ivar methods: gRPC methods whose fallback is forced: at least one in each location, and each
        that a snippet may give a location of its own.
    :ivar secrets: paths of the files that no diff may show.
    :ivar shared: others may open the same ports beside (``reuseport``).
    """

    listeners: tuple[Listener, ...]
    methods: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    shared: bool = False

    @property
    def connections(self) -> int:
        """Fresh connections to each listener that must tell the generation.

        Where a port is shared the kernel chooses who takes each one: of two, a stranger would be
        missed once in four thousand million proofs.
        """
        return 32 if self.shared else 1

    def to_json(self) -> bytes:
        """Return the content of the generation's proof.json."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Expectation:
        """Read a proof.json.

        :raises KeyError, TypeError, ValueError: for one that is not of this kind.
        """
        data = json.loads(content)
        return cls(
            tuple(Listener.from_data(item) for item in _list(data["listeners"])),
            tuple(_text(method) for method in _list(data["methods"])),
            tuple(_text(path) for path in _list(data["secrets"])),
            data.get("shared") is True,
        )

    def clashes(self, before: Expectation) -> list[str]:
        """Name the listeners that nginx cannot open while the one before is still open.

        A wildcard socket and one for a single address of the same port exclude each
        other, and nginx opens the new sockets before it closes the old: only a restart
        takes such a change. Shared ones do not.
        """
        if self.shared and before.shared:
            return []
        old, new = _sockets(before.listeners), _sockets(self.listeners)
        return sorted(
            listener.name
            for listener in new - old
            if any(
                listener.wildcard == other.wildcard and (listener.is_wildcard or other.is_wildcard)
                for other in old
            )
        )


def _list(value: Any) -> list[Any]:
    # A text would be read as its letters.
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _sockets(listeners: Sequence[Listener]) -> set[Listener]:
    """The sockets that nginx opens: a wildcard listener covers the single addresses."""
    wide = {listener.wildcard for listener in listeners if listener.is_wildcard}
    return {item.socket for item in listeners if item.is_wildcard or item.wildcard not in wide}
