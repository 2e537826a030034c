# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proof: every listener is asked, and must answer rightly before a configuration is live.

On a fresh connection to every listener: over TLS the certificate, then the id of the generation,
then one call for each method with the probe metadata that forces it, in its own location, to
a dead upstream. Those must come back as UNAVAILABLE in the one shape that every gRPC client
reads so. Last, what must be refused is: the OAPs' own bus, a call without a token.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.endpoint import Endpoint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    Expectation,
    Listener,
    Refusal,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import (
    STATUS_NAMES,
    UNAVAILABLE,
    BrokenError,
    CallError,
    Connection,
    Reply,
)

GENERATION_METHOD = "/-/oap-proxy/generation"
GENERATION_HEADER = "oap-proxy-generation"
PROBE_HEADER = "x-oap-proxy-probe"
PROBE_UNAVAILABLE = "unavailable"

# So often in a row the kernel does not choose the same one of two.
_REDIALS = 64
_POLL_S = 0.5

Dial = Callable[[Endpoint, float], Connection]


def fingerprint(pem: str) -> str:
    """Return the SHA-256 of the first certificate in a text, in hexadecimal digits.

    :raises ValueError: when there is none.
    """
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    first = pem[pem.find(begin) :]
    if begin not in first or end not in first:
        raise ValueError("no certificate in PEM")
    whole = first[: first.index(end)] + end
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(whole)).hexdigest()


def certificate_fault(expected: str, shown: bytes) -> str | None:
    """Say why the certificate that a listener showed is not the one that it must; None if it is.

    :param expected: as :attr:`Listener.certificate`.
    :param shown: the certificate in DER.
    """
    if not expected:
        return None
    wanted = expected
    if expected.startswith("/"):
        try:
            wanted = fingerprint(Path(expected).read_text(encoding="utf-8", errors="replace"))
        except (OSError, ValueError) as error:
            return f"cannot be held against {expected}: {error}"
    found = hashlib.sha256(shown).hexdigest()
    if found == wanted:
        return None
    source = f" of {expected}" if expected != wanted else ""
    return f"shows the certificate {found[:12]} instead of {wanted[:12]}{source}"


@dataclass
class Row:
    """What one listener answered.

    :ivar listener: address and port.
    :ivar generation: id of the running configuration, None when none was told.
    :ivar grpc_status: of the first forced call that was wrong, else of the last one.
    :ivar http_status: of the same call.
    :ivar trailers_only: of the same call.
    :ivar duration_ms: milliseconds for all calls to this listener.
    :ivar fault: one sentence, None when the listener answered as it must.
    :ivar wrong_answer: the right generation answers a forced or a forbidden call wrongly.
    :ivar hidden: something answers here that tells no generation at all.
    :ivar broken: the connection ended before an answer.
    :ivar certificate: what was shown in the TLS handshake, in DER; empty in clear text.
    :ivar certificate_path: the file on the host that it must be; empty where that is no file.
    """

    listener: str
    generation: str | None = None
    grpc_status: int | None = None
    http_status: int | None = None
    trailers_only: bool | None = None
    duration_ms: float = 0.0
    fault: str | None = None
    wrong_answer: bool = False
    hidden: bool = False
    broken: bool = False
    certificate: bytes = b""
    certificate_path: str = ""

    def as_result(self) -> dict[str, Any]:
        """Return the row as a module returns it."""
        result = asdict(self)
        for inner in ("wrong_answer", "hidden", "broken", "certificate", "certificate_path"):
            del result[inner]
        return result


def proof_holds(rows: Sequence[Row]) -> bool:
    """Tell whether every listener answered as it must."""
    return not any(row.fault for row in rows)


def unavailable_fault(reply: Reply) -> str | None:
    """Say why a reply is not UNAVAILABLE in every gRPC client; None when it is.

    grpc-java and grpc-go ignore the status of a response that is not application/grpc, and
    read some of those that are not a 200 as UNKNOWN: so all of it is held.
    """
    kind = reply.headers.get("content-type", "")
    length = reply.headers.get("content-length", "0")
    faults = {
        f"the stream was reset (HTTP/2 error {reply.reset})": reply.reset is not None,
        f"HTTP status {reply.http_status} instead of 200": reply.http_status != 200,
        f"content-type {kind or 'missing'} instead of application/grpc": (
            not re.match(r"application/grpc(\+|;|$)", kind)
        ),
        f"{reply.status_name} instead of UNAVAILABLE": reply.grpc_status != UNAVAILABLE,
        "the status did not come on a HEADERS frame that ends the stream": not reply.trailers_only,
        f"content-length {length} on a response without a body": length != "0",
    }
    return next((fault for fault, found in faults.items() if found), None)


class Prover:
    """Asks every listener.

    :param timeout: seconds for a connection and for each call.
    :param dial: opens a connection to an endpoint.
    """

    def __init__(self, timeout: float = 2.0, dial: Dial = Connection) -> None:
        self._timeout = timeout
        self._dial = dial

    def live(self, expectation: Expectation) -> str | None:
        """Return the id that every listener answers with; None when they do not agree."""
        ids = set()
        for listener in expectation.listeners:
            row = self._row(listener, None, None, self._timeout)
            if row.broken:
                row = self._row(listener, None, None, self._timeout)
            ids.add(row.generation)
        return ids.pop() if len(ids) == 1 else None

    def prove(
        self, generation: str, expectation: Expectation, beside: Collection[str] = ()
    ) -> list[Row]:
        """Return one row a listener; see :func:`proof_holds`.

        :param beside: ids of what serves beside it until it has been proven, on the same ports.
        """
        return [
            self._row(listener, generation, expectation, self._timeout, beside)
            for listener in expectation.listeners
        ]

    def poll(
        self, generation: str, expectation: Expectation, beside: Collection[str] = ()
    ) -> list[Row]:
        """Return the rows up to the first with a fault, asked so briefly that it can be repeated.

        A listener whose worker processes are dead accepts and says nothing.
        """
        rows = []
        for listener in expectation.listeners:
            timeout = min(_POLL_S, self._timeout)
            rows.append(self._row(listener, generation, expectation, timeout, beside))
            if rows[-1].fault:
                break
        return rows

    def _row(
        self,
        listener: Listener,
        generation: str | None,
        expectation: Expectation | None,
        timeout: float,
        beside: Collection[str] = (),
    ) -> Row:
        """Return what a listener answers; of two that share its port, what the new one does."""
        row = self._answers(listener, generation, expectation, timeout)
        for _again in range(_REDIALS if beside else 0):
            if row.generation not in beside:
                break
            row = self._answers(listener, generation, expectation, timeout)
        try:
            for _again in range(expectation.connections - 1 if expectation else 0):
                if not row.fault:
                    with self._dial(listener.endpoint, timeout) as connection:
                        self._ask_generation(connection, row, generation, beside)
        except CallError as error:
            row.fault = str(error)
        row.duration_ms = round(row.duration_ms, 3)
        return row

    def _answers(
        self,
        listener: Listener,
        generation: str | None,
        expectation: Expectation | None,
        timeout: float,
    ) -> Row:
        row = Row(listener.name)
        if listener.certificate.startswith("/"):
            row.certificate_path = listener.certificate
        try:
            with self._dial(listener.endpoint, timeout) as connection:
                row.certificate = connection.peer_certificate
                self._ask_generation(connection, row, generation)
                if expectation and not row.fault:
                    self._compare_certificate(connection, row, listener)
                if expectation and not row.fault:
                    self._force_fallback(connection, row, expectation.methods)
                if expectation and not row.fault:
                    self._demand_refusals(connection, row, listener.refusals)
        except CallError as error:
            row.fault, row.broken = str(error), isinstance(error, BrokenError)
        return row

    def _ask_generation(
        self,
        connection: Connection,
        row: Row,
        expected: str | None,
        beside: Collection[str] = (),
    ) -> None:
        reply = connection.call(GENERATION_METHOD)
        row.duration_ms += reply.duration_ms
        told = reply.headers.get(GENERATION_HEADER)
        if told in beside:
            return
        row.generation = told
        if expected is not None and told != expected:
            found = f"generation {told}" if told else reply.status_name
            row.hidden = told is None
            row.fault = f"{row.listener} answers with {found} instead of generation {expected}"

    def _compare_certificate(self, connection: Connection, row: Row, listener: Listener) -> None:
        if listener.tls:
            wrong = certificate_fault(listener.certificate, connection.peer_certificate)
            row.fault = f"{row.listener} {wrong}" if wrong else None

    def _force_fallback(self, connection: Connection, row: Row, methods: Sequence[str]) -> None:
        for method in methods:
            reply = connection.call(method, {PROBE_HEADER: PROBE_UNAVAILABLE})
            row.duration_ms += reply.duration_ms
            row.http_status = reply.http_status
            row.grpc_status = reply.grpc_status
            row.trailers_only = reply.trailers_only
            wrong = unavailable_fault(reply)
            if wrong:
                row.wrong_answer = True
                row.fault = (
                    f"{row.listener} answers {method} without a live OAP in a way that not every "
                    f"gRPC client reads as UNAVAILABLE: {wrong}"
                )
                return

    def _demand_refusals(
        self, connection: Connection, row: Row, refusals: Sequence[Refusal]
    ) -> None:
        for refusal in refusals:
            reply = connection.call(refusal.method)
            row.duration_ms += reply.duration_ms
            if reply.grpc_status not in refusal.statuses:
                wanted = " or ".join(STATUS_NAMES[status] for status in refusal.statuses)
                row.wrong_answer = True
                row.fault = (
                    f"{row.listener} answers {refusal.method}, which it must refuse, with "
                    f"{reply.status_name} instead of {wanted}"
                )
                return
