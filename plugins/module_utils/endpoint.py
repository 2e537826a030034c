# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a call goes, and how the connection there is secured."""

from __future__ import annotations

import ssl
from dataclasses import dataclass


@dataclass(frozen=True)
class Tls:
    """How a connection is secured.

    :ivar server_name: name asked for (SNI) and verified; none is asked for when empty.
    :ivar verify: hold the server's certificate against ``ca`` and the name.
    :ivar ca: path of the authorities' certificates; the system's when empty.
    :ivar certificate: path of a client certificate; none is shown when empty.
    :ivar private_key: path of its key; in the same file when empty.
    """

    server_name: str = ""
    verify: bool = True
    ca: str = ""
    certificate: str = ""
    private_key: str = ""

    def context(self) -> ssl.SSLContext:
        """Return the settings for Python's ssl.

        :raises OSError: when a file cannot be read or is none of its kind.
        """
        if self.verify:
            context = ssl.create_default_context(cafile=self.ca or None)
        else:
            # The system's authorities take longer to load than the call.
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            # Without a passphrase OpenSSL would ask for one at the terminal.
            context.load_cert_chain(self.certificate, self.private_key or None, lambda: "")
        context.set_alpn_protocols(["h2"])
        return context


@dataclass(frozen=True)
class Endpoint:
    """Where a call goes.

    :ivar address: IPv4 or IPv6 address, or a host name.
    :ivar port: TCP port.
    :ivar authority: value of ``:authority``; address and port when empty.
    :ivar source: address to connect from; the kernel's choice when empty.
    :ivar tls: how the connection is secured; clear text when None.
    """

    address: str
    port: int
    authority: str = ""
    source: str = ""
    tls: Tls | None = None

    @property
    def name(self) -> str:
        """Address and port as people write them, an IPv6 address in brackets."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"
