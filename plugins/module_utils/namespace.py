# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread in a network of its own, in which every address is the host itself.

Nothing that is opened there can be reached from the host or from anywhere else, and nothing there
reaches out: a connection to any address ends at once, refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, TypeVar

Result = TypeVar("Result")

# Source: linux/sched.h, linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h.
_CLONE_NEWNET = 0x40000000
_NEWLINK, _NEWADDR, _NEWROUTE = 16, 20, 24
_REQUEST_ACK_CREATE = 0x1 | 0x4 | 0x400
_LOOPBACK, _UP = 1, 1
_TABLE_LOCAL, _PROTO_STATIC, _TYPE_LOCAL = 255, 4, 2
_SCOPE_GLOBAL, _SCOPE_HOST = 0, 254
_OUTPUT_INTERFACE, _ADDRESS, _LOCAL = 4, 1, 2
_NO_DUPLICATE_DETECTION = 2


class Namespace:
    """The thread, from its beginning to its end.

    :ivar identity: how the kernel names its network, as in /proc/PID/ns/net.
    :ivar path: where others find it, for as long as the thread lives.
    :raises OSError: when there can be none on this host.
    """

    def __init__(self) -> None:
        self.identity = ""
        self.path = ""
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Namespace:
        """Enter it with the thread alone; the process stays where it is."""
        try:
            self.identity, self.path = self._pool.submit(_separate, _addresses6()).result()
        except BaseException:
            self._pool.shutdown()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread; the network goes with the last process in it."""
        self._pool.shutdown()

    def submit(self, work: Callable[..., Result], *given: Any) -> Future[Result]:
        """Do some work in there."""
        return self._pool.submit(work, *given)


def refused_connections() -> int:
    """Return how many connections to anywhere were refused in the calling thread's network."""
    text = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii")
    names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("AttemptFails")])


def _separate(addresses6: list[bytes]) -> tuple[str, str]:
    """Leave the host's network and prepare the new one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network of its own: {os.strerror(number)}")
    identity = os.readlink("/proc/thread-self/ns/net")
    if identity == os.readlink("/proc/self/ns/net"):
        raise OSError("no network of its own: the thread is still in the host's")
    _ask(_NEWLINK, struct.pack("=BxHiII", 0, 0, _LOOPBACK, _UP, _UP))
    _own_all(socket.AF_INET, _SCOPE_HOST)
    # Without IPv6 here a listener that needs it does not answer, and that is told.
    with contextlib.suppress(OSError):
        _own_all(socket.AF_INET6, _SCOPE_GLOBAL)
        # A route is not enough to bind an address of IPv6.
        for address in addresses6:
            about = struct.pack(
                "=BBBBI", socket.AF_INET6, 128, _NO_DUPLICATE_DETECTION, _SCOPE_GLOBAL, _LOOPBACK
            )
            _ask(_NEWADDR, about, (_LOCAL, address), (_ADDRESS, address))
    return identity, f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


def _own_all(family: int, scope: int) -> None:
    """Make every address of a family one of this network's own."""
    route = (family, 0, 0, 0, _TABLE_LOCAL, _PROTO_STATIC, scope, _TYPE_LOCAL, 0)
    through = struct.pack("=I", _LOOPBACK)
    _ask(_NEWROUTE, struct.pack("=8BI", *route), (_OUTPUT_INTERFACE, through))


def _ask(kind: int, body: bytes, *attributes: tuple[int, bytes]) -> None:
    """Have the kernel change something of the calling thread's network.

    :raises OSError: when it refuses.
    """
    for number, value in attributes:
        body += struct.pack("=HH", 4 + len(value), number) + value  # all are of four bytes or 16
    header = struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_ACK_CREATE, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        kernel.send(header + body)
        (code,) = struct.unpack_from("=i", kernel.recv(4096), 16)
    if code:
        raise OSError(-code, f"the network of its own cannot be prepared: {os.strerror(-code)}")


def _addresses6() -> list[bytes]:
    """Return the host's own addresses of IPv6, its loopback address left out."""
    try:
        lines = Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return []  # a kernel without IPv6
    found = (bytes.fromhex(line.split()[0]) for line in lines)
    return [address for address in found if address != socket.inet_pton(socket.AF_INET6, "::1")]
