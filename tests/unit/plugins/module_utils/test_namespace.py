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


def test_refused_connections() -> None:
    """A connection that nobody takes is counted."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        before = namespace.refused_connections()
        with socket.socket() as one, pytest.raises(ConnectionRefusedError):
            one.connect(closed.getsockname())
    assert namespace.refused_connections() > before
