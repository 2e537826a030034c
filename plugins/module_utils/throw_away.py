# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers that are thrown away: nginx's own test of a configuration, and its rehearsal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.candidate import (
    addresses_of,
    called_by,
    is_frank,
    text_of,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    Engine,
    EngineError,
    labels,
    said,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.namespace import Namespace
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.processes import children
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Inconclusive,
    Stage,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.stage import (
    START_S,
    RunningStage,
    fatal,
    first_words,
)

NEXT = "-next"
"""What the name of a container ends with that is to take the place of the one that serves."""
REHEARSAL = "-rehearsal"
"""What the name of one ends with that rehearses."""

_POLL_S = 0.02
# Whatever it listens on and connects to is its own there; see namespace.Namespace.
_ALL_ITS_OWN = {"net.ipv4.ip_nonlocal_bind": "1"}
_ALL_ITS_OWN6 = {"net.ipv6.ip_nonlocal_bind": "1", "net.ipv6.conf.all.disable_ipv6": "0"}


@dataclass(frozen=True)
class Wanted:
    """What a container is to have that is not created yet, as in check mode.

    What is empty is as in the one that there is.

    :ivar image: its image.
    :ivar network: the engine's name of its network.
    :ivar volumes: what is mounted, as ``docker run --volume`` takes it.
    :ivar created: one that was created to take the place of the one that serves is to do so. Where
        not, it was left by a run that was refused, and waits for the next run of that kind.
    """

    image: str = ""
    network: str = ""
    volumes: tuple[str, ...] = ()
    created: bool = True


class ThrowAway:
    """Containers like the one that a start would take, for commands of their own.

    :param engine: the docker engine.
    :param name: of the container that serves.
    :param binary: the nginx within the image.
    :param error_log: path of the error log that configurations name.
    :param wanted: what it is to have that the container has not.
    """

    def __init__(
        self, engine: Engine, name: str, binary: str, error_log: Path, wanted: Wanted
    ) -> None:
        self._engine = engine
        self._name = name
        self._binary = binary
        self._error_log = error_log
        self._wanted = wanted

    def test(self, configuration: Path) -> tuple[bool, str]:
        """Test a configuration; return verdict and words."""
        command = [self._binary, "-t", "-q", "-c", str(configuration)]
        try:
            status, words = self._engine.once(self._described(command, configuration.parent))
        except EngineError as error:
            return False, f"{error}."
        return status == 0, words

    @contextmanager
    def rehearse(self, configuration: Path) -> Iterator[Stage]:
        """Run a configuration without a network; see :class:`rehearsal.Rehearsing`."""
        candidate = configuration.parent
        text = text_of(candidate)
        addresses = addresses_of(text)
        command = [self._binary, "-c", str(configuration), "-g", "daemon off;"]
        try:
            config = self._described(command, candidate)
            host = config["HostConfig"]
            host["NetworkMode"] = "none"
            host["Sysctls"] = {**_ALL_ITS_OWN, **(_ALL_ITS_OWN6 if _has_ipv6() else {})}
            host["ExtraHosts"] = [
                f"{name}:{one}" for name, found in addresses.items() for one in found if one != name
            ]
            # Where memory is short, what serves stays.
            host["OomScoreAdj"] = 1000
            # What it may write to is its own, and the host's journal is no place for it.
            host["Binds"] = [bind for bind in host["Binds"] if bind.endswith(":ro")]
            host["Tmpfs"] = {**(host["Tmpfs"] or {}), str(self._error_log.parent): ""}
            throw_away = self._engine.create(self._name + REHEARSAL, config)
        except EngineError as error:
            raise Inconclusive(str(error)) from error

        def end() -> None:
            # What it has said is read after its end.
            with suppress(EngineError), said():
                throw_away.kill("KILL")

        def log() -> list[str]:
            return lines(throw_away)

        try:
            with said():
                throw_away.start()
                pid = _master(throw_away, log)
            if not pid:
                raise Inconclusive(first_words(log()) or "it did not start")
            with Namespace(called_by(text, addresses), of=pid) as namespace:
                frank = is_frank(text, self._error_log, "stderr")
                yield RunningStage(namespace, log, frank, end)
        except (EngineError, OSError) as error:
            raise Inconclusive(first_words(log()) or str(error)) from error
        finally:
            with suppress(EngineError), said():
                throw_away.remove(force=True, v=True)

    def _described(self, command: list[str], candidate: Path) -> dict[str, Any]:
        """Describe a container like the one that a start would take, for a command of its own.

        :raises EngineError: when there is none to take after.
        """
        like = self._engine.own(self._name + NEXT, self._name)
        if like is None or (like.status == "created" and not self._wanted.created):
            like = self._engine.own(self._name, self._name)
        if like is None:
            raise EngineError(f"there is no container {self._name} to test with")
        host = dict(like.attrs["HostConfig"])
        # The engine would create what is not there.
        volumes = [one for one in self._wanted.volumes if os.path.exists(one.split(":")[0])]
        # Of a test in check mode, which is not below the tree.
        binds = [*(volumes or host.get("Binds") or []), f"{candidate}:{candidate}:ro"]
        host["NetworkMode"] = self._wanted.network or host["NetworkMode"]
        # The ports are published already, for the one that serves.
        host.update(RestartPolicy={"Name": "no"}, Binds=binds, PortBindings={})
        return {
            "Image": self._wanted.image or like.attrs["Image"],
            "Entrypoint": command[:1],
            "Cmd": command[1:],
            "Labels": labels(self._name),
            "Healthcheck": {"Test": ["NONE"]},
            "HostConfig": host,
        }


def _master(container: Any, log: Callable[[], Sequence[str]]) -> int:
    """Return the process id of nginx once it listens, as its workers tell; 0 where it has ended."""
    late = time.monotonic() + START_S
    while True:
        container.reload()
        pid = int(container.attrs["State"].get("Pid") or 0)
        if not pid or children(pid) or fatal(log()) or time.monotonic() > late:
            return pid
        time.sleep(_POLL_S)


def lines(container: Any, **of: Any) -> list[str]:
    """Return what a container has said; nothing where it is gone."""
    with suppress(EngineError), said():
        told = container.logs(stdout=False, **of)  # where calls may be logged
        return str(told.decode(errors="replace")).splitlines()
    return []


def _has_ipv6() -> bool:
    return Path("/proc/net/if_inet6").exists()
