"""What name servers know, asked of a stand-in on the loopback address."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import dns
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.dns import looked_up

A, CNAME, AAAA = 1, 5, 28
NAME = "oap1.example"
Answer = Callable[[bytes, int], bytes]


def record(kind: int, data: bytes) -> bytes:
    """Return a record about the name that was asked for."""
    return struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(data)) + data


def answering(code: int = 0, **kinds: bytes) -> Answer:
    """Answer with these records (kind_NUMBER: data), those of the kind that was asked for alone."""
    known = {int(name.partition("_")[2]): data for name, data in kinds.items()}

    def answer(question: bytes, asked: int) -> bytes:
        found = [record(kind, data) for kind, data in known.items() if kind in (asked, CNAME)]
        head = question[:2] + struct.pack(">5H", 0x8180 | code, 1, len(found), 0, 0)
        return head + question[12:] + b"".join(found)

    return answer


@contextmanager
def name_server(*answers: Answer) -> Iterator[tuple[dict[str, object], list[tuple[bytes, int]]]]:
    """Have a name server that gives one answer after the other, and the last one from then on."""
    asked: list[tuple[bytes, int]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))

        def serve() -> None:
            left = list(answers)
            while True:
                question, client = listening.recvfrom(512)
                if not question:
                    return
                (kind,) = struct.unpack_from(">H", question, len(question) - 4)
                asked.append((question[12:-4], kind))
                answer = left.pop(0) if len(left) > 1 else left[0]
                if said := answer(question, kind):
                    listening.sendto(said, client)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            address, port = listening.getsockname()
            yield {"address": address, "port": port}, asked
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ending:
                ending.sendto(b"", listening.getsockname())
            thread.join()


def only_ipv4(question: bytes, kind: int) -> bytes:
    """Refuse to say anything of IPv6, for which nginx drops the addresses of IPv4 too."""
    return (answering(5) if kind == AAAA else IPV4)(question, kind)


IPV4, IPV6 = answering(kind_1=bytes(4)), answering(kind_28=bytes(16))
ALIAS = answering(kind_5=b"\x04real\xc0\x11", kind_1=bytes(4))


@pytest.mark.parametrize(
    ("answer", "ipv6", "error"),
    [
        (IPV4, False, None),
        (IPV4, True, None),
        (IPV6, True, None),
        (ALIAS, False, None),
        (IPV6, False, "127.0.0.1 says that it has no address (A)"),
        (answering(), True, "127.0.0.1 says that it has no address (A or AAAA)"),
        (answering(kind_5=b"\x04real\xc0\x11"), False, "127.0.0.1 says that it has no address (A)"),
        (answering(3), True, "127.0.0.1 says NXDOMAIN (A)"),
        (answering(2), True, "127.0.0.1 says SERVFAIL (A)"),
        (answering(9), False, "127.0.0.1 says error 9 (A)"),
        (only_ipv4, False, None),
        (only_ipv4, True, "127.0.0.1 says REFUSED (AAAA)"),
        (lambda question, _kind: question[:2], False, "127.0.0.1 says what is no answer"),
        (lambda question, _kind: question, False, "127.0.0.1 says what is no answer"),
        (lambda *asked: IPV4(*asked)[:-9], False, "127.0.0.1 says what is no answer"),
    ],
)  # fmt: skip
def test_what_a_name_server_says(answer: Answer, ipv6: bool, error: str | None) -> None:
    """It knows a name where it gives an address of a kind that will do."""
    with name_server(answer) as (server, _asked):
        assert looked_up(NAME, [server], ipv6) == {"name": NAME, "error": error}


@pytest.mark.parametrize("name", [NAME, f"{NAME}."])
def test_the_question(name: str) -> None:
    """The name as it is, in labels; addresses of IPv6 are asked for only where they will do."""
    with name_server(IPV4) as (server, asked):
        looked_up(name, [server], ipv6=False)
        looked_up(name, [server], ipv6=True)
    labels = b"\x04oap1\x07example\x00"
    assert asked == [(labels, A), (labels, A), (labels, AAAA)]


def test_every_name_server_must_know_it() -> None:
    """Nginx believes whichever answers."""
    with name_server(IPV4) as (knows, _asked), name_server(answering(3)) as (knows_not, _other):
        assert looked_up(NAME, [knows, knows], ipv6=False)["error"] is None
        assert (
            looked_up(NAME, [knows, knows_not], ipv6=False)["error"]
            == "127.0.0.1 says NXDOMAIN (A)"
        )


def test_an_answer_to_another_question() -> None:
    """A late answer to another one is passed over."""

    def late_first(question: bytes, kind: int) -> bytes:
        return b"xx" + answering(3)(question, kind)[2:]

    with name_server(late_first, IPV4) as (server, _asked), pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns, "_SECONDS", 0.2)
        assert looked_up(NAME, [server], ipv6=False)["error"] is None


def test_a_lost_datagram_is_sent_once_more() -> None:
    """Once: a name server that says nothing twice is none that nginx could use."""
    silent: Answer = lambda _question, _kind: b""  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns, "_SECONDS", 0.1)
        with name_server(silent, IPV4) as (server, _asked):
            assert looked_up(NAME, [server], ipv6=False)["error"] is None
        with name_server(silent) as (server, asked):
            assert looked_up(NAME, [server], ipv6=False)["error"] == "127.0.0.1 says nothing"
            assert len(asked) == 2


@pytest.mark.parametrize("name", ["a" * 64 + ".example", ".example"])
def test_what_is_no_name(name: str) -> None:
    """It is told, and nobody is asked."""
    with name_server(IPV4) as (server, asked):
        assert str(looked_up(name, [server], ipv6=False)["error"]).endswith("it is no host name")
    assert asked == []
