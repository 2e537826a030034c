"""The network of its own, as far as it shows without one.

That nothing there reaches the host, or out of it, is for the tests on hosts.
"""

from __future__ import annotations

import os
import socket

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import namespace

# Asks the kernel for nothing, so the thread stays where it is; and for what it does not know.
NOTHING, UNKNOWN = 0, 0x1


@pytest.mark.parametrize(
    ("flag", "words"),
    [(NOTHING, "the thread is still in the host's"), (UNKNOWN, os.strerror(22))],
)
def test_no_network_of_its_own(monkeypatch: pytest.MonkeyPatch, flag: int, words: str) -> None:
    """Where the thread is not in another network, nothing is begun, and the cause is told."""
    monkeypatch.setattr(namespace, "_CLONE_NEWNET", flag)
    asked: list[object] = []
    monkeypatch.setattr(namespace, "_ask", lambda *given: asked.append(given))
    with pytest.raises(OSError, match=words), namespace.Namespace():
        pytest.fail("it was entered")
    assert asked == []


def test_failed_connections() -> None:
    """A connection that nobody takes is counted."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        before = namespace.failed_connections()
        with socket.socket() as one, pytest.raises(ConnectionRefusedError):
            one.connect(closed.getsockname())
    assert namespace.failed_connections() > before


def test_own_addresses() -> None:
    """What is the host's, whether or not something listens there, and what is not."""
    assert namespace._is_own("127.0.0.1")
    assert namespace._is_own("127.3.2.1")
    assert not namespace._is_own("203.0.113.9")
    assert not namespace._is_own("2001:db8::9")


def test_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each address of others has a route that leads nowhere, in its family; own ones have none."""
    asked: list[tuple[int, bytes, tuple[tuple[int, bytes], ...]]] = []
    monkeypatch.setattr(namespace, "_CLONE_NEWNET", NOTHING)
    monkeypatch.setattr(os, "readlink", str)
    monkeypatch.setattr(namespace, "_addresses6", list)
    monkeypatch.setattr(
        namespace, "_ask", lambda kind, body, *given: asked.append((kind, body, given))
    )
    with namespace.Namespace(["203.0.113.9", "127.0.0.1", "2001:db8::9"]):
        pass
    routes = [(body, given) for _kind, body, given in asked if body[7:8] == b"\x09"]
    assert [(body[0], body[1], given) for body, given in routes] == [
        (socket.AF_INET, 32, ((1, bytes([203, 0, 113, 9])),)),
        (socket.AF_INET6, 128, ((1, socket.inet_pton(socket.AF_INET6, "2001:db8::9")),)),
    ]
