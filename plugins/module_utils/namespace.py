# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A thread in a network of its own, in which every address but some is the host itself.

Nothing that is opened there can be reached from the host or from anywhere else, and nothing there
reaches out. To addresses that are named as others' there is no way, so that a listener on all
addresses does not answer for an OAP of the same port; to any other one a connection is refused
where nothing listens.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import os
import socket
import struct
import threading
from collections.abc import Sequence
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
_TABLE_LOCAL, _PROTO_STATIC, _TYPE_LOCAL, _TYPE_THROW = 255, 4, 2, 9
_SCOPE_GLOBAL, _SCOPE_HOST = 0, 254
_DESTINATION, _OUTPUT_INTERFACE, _ADDRESS, _LOCAL = 1, 4, 1, 2
_NO_DUPLICATE_DETECTION = 2
_SIZES: dict[int, int] = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Namespace:
    """The thread, from its beginning to its end.

    :param others: addresses that lead nowhere, unless they are the host's own.
    :param of: a process whose network it becomes, which must be apart from the host's already; a
        new network where there is none.
    :ivar identity: how the kernel names its network, as in /proc/PID/ns/net.
    :ivar path: where others find it, for as long as the thread lives.
    :raises OSError: when there can be none on this host.
    """

    def __init__(self, others: Sequence[str] = (), of: int | None = None) -> None:
        self._others = others
        self._of = of
        self.identity = ""
        self.path = ""
        self._pool = ThreadPoolExecutor(max_workers=1)

    def __enter__(self) -> Namespace:
        """Enter it with the thread alone; the process stays where it is."""
        others = [_packed(one) for one in self._others if not _is_own(one)]
        try:
            entered = self._pool.submit(_separate, self._of, _addresses6(), others)
            self.identity, self.path = entered.result()
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


def failed_connections() -> int:
    """Return how many connections failed at once in the calling thread's network."""
    return _count("Tcp", "AttemptFails") + _count("Ip", "OutNoRoutes") + _count6("Ip6OutNoRoutes")


def _count(kind: str, name: str) -> int:
    text = Path("/proc/thread-self/net/snmp").read_text(encoding="ascii")
    names, values = (line.split() for line in text.splitlines() if line.startswith(f"{kind}:"))
    return int(values[names.index(name)])


def _count6(name: str) -> int:
    try:
        words = Path("/proc/thread-self/net/snmp6").read_text(encoding="ascii").split()
    except OSError:
        return 0  # a kernel without IPv6
    return int(words[words.index(name) + 1])


def _separate(
    of: int | None, addresses6: Sequence[bytes], others: Sequence[bytes]
) -> tuple[str, str]:
    """Leave the host's network and prepare the other one."""
    if _leave(of) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"no network of its own: {os.strerror(number)}")
    identity = os.readlink("/proc/thread-self/ns/net")
    if identity == os.readlink("/proc/self/ns/net"):
        raise OSError("no network of its own: the thread is still in the host's")
    _ask(_NEWLINK, struct.pack("=BxHiII", 0, 0, _LOOPBACK, _UP, _UP))
    _own_all(socket.AF_INET, _SCOPE_HOST)
    _lose(socket.AF_INET, others)
    # Without IPv6 here a listener that needs it does not answer, and that is told.
    with contextlib.suppress(OSError):
        _own_all(socket.AF_INET6, _SCOPE_GLOBAL)
        _lose(socket.AF_INET6, others)
        # A route is not enough to bind an address of IPv6.
        for address in addresses6:
            about = struct.pack(
                "=BBBBI", socket.AF_INET6, 128, _NO_DUPLICATE_DETECTION, _SCOPE_GLOBAL, _LOOPBACK
            )
            _ask(_NEWADDR, about, (_LOCAL, address), (_ADDRESS, address))
    return identity, f"/proc/{os.getpid()}/task/{threading.get_native_id()}/ns/net"


def _leave(of: int | None) -> int:
    """Enter the network of a process, else a new one; return what the kernel returns."""
    libc = ctypes.CDLL(None, use_errno=True)
    if of is None:
        return int(libc.unshare(_CLONE_NEWNET))
    with open(f"/proc/{of}/ns/net", "rb") as network:
        return int(libc.setns(network.fileno(), _CLONE_NEWNET))


def _own_all(family: int, scope: int) -> None:
    """Make every address of a family one of this network's own."""
    route = (family, 0, 0, 0, _TABLE_LOCAL, _PROTO_STATIC, scope, _TYPE_LOCAL, 0)
    through = struct.pack("=I", _LOOPBACK)
    _ask(_NEWROUTE, struct.pack("=8BI", *route), (_OUTPUT_INTERFACE, through))


def _lose(family: int, others: Sequence[bytes]) -> None:
    """Have no way to some addresses: they are looked for in a table that is empty."""
    size = _SIZES[family]
    for address in (one for one in others if len(one) == size):
        route = (family, 8 * size, 0, 0, _TABLE_LOCAL, _PROTO_STATIC, 0, _TYPE_THROW, 0)
        _ask(_NEWROUTE, struct.pack("=8BI", *route), (_DESTINATION, address))


def _is_own(address: str) -> bool:
    """Tell whether an address is the host's: then it is reached from itself."""
    if ipaddress.ip_address(address).is_loopback:
        return True
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as asked:
            asked.connect((address, 9))  # sends nothing
            return _packed(str(asked.getsockname()[0])) == _packed(address)
    except OSError:
        return False


def _packed(address: str) -> bytes:
    """Return the four bytes of an address, or the 16 of IPv6."""
    return ipaddress.ip_address(address.partition("%")[0]).packed


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
