# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An nginx that is a container of docker: its image, its signals, its logs, its processes.

The container is named as the proxy; see succession.py for one that takes its place.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    Engine,
    EngineError,
    said,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import (
    ErrorLog,
    Mark,
    trouble,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.processes import (
    children,
    process,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Stage
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.succession import Succession
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.throw_away import (
    ThrowAway,
    Wanted,
    lines,
)

_STOP_S = 10
_DRAINING = "shutting down"
_STOPPED = ("T", "t")


class ContainerInstance:
    """An nginx that is a container of docker.

    :param name: of the container.
    :param binary: the nginx within its image.
    :param error_log: path of the instance's error log, on the host as in the container.
    :param wanted: what a configuration is tested with while no container has it yet.
    :param engine: the docker engine.
    """

    inherits_ports = False

    def __init__(
        self, name: str, binary: str, error_log: str, wanted: Wanted, engine: Engine
    ) -> None:
        self.name = name
        self.binary = binary
        self.error_log = ErrorLog(Path(error_log))
        self.wanted = wanted
        self._engine = engine
        self._succession = Succession(engine, name, wanted.created)
        self._own_ids: dict[int, int] = {}
        # The name of the one that serves, or is about to.
        self._serving = name

    # What there is

    def _container(self, name: str = "") -> Any:
        return self._succession.own(name or self._serving)

    def _demanded(self) -> Any:
        found = self._container()
        if found is None:
            raise EngineError(f"there is no container {self._serving}; 'site.yml' makes it")
        return found

    def _state(self, name: str = "") -> dict[str, Any]:
        """Return what the engine tells of a container's process; nothing where it cannot."""
        try:
            found = self._container(name)
        except EngineError:
            return {}
        return dict(found.attrs["State"]) if found else {}

    def _master(self) -> int:
        state = self._state()
        return int(state.get("Pid") or 0) if state.get("Running") else 0

    def running(self) -> bool:
        """See :class:`instance.Instance`. One that the engine tries again and again does not."""
        state = self._state()
        return bool(state.get("Running")) and not state.get("Restarting")

    def workers(self) -> set[int]:
        """See :class:`instance.Instance`."""
        master = self._master()
        found = children(master) if master else []
        accepting = {pid for pid, title in found if _DRAINING not in title}
        self._own_ids.update({pid: _own_id(pid) for pid in accepting})
        return accepting

    def settle(self) -> list[str]:
        """See :class:`instance.Instance`."""
        with suppress(EngineError):
            return self._succession.settle()
        return []

    # Tests, apart from what serves

    def _apart(self) -> ThrowAway:
        return ThrowAway(self._engine, self.name, self.binary, self.error_log.path, self.wanted)

    def test(self, configuration: Path) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._apart().test(configuration)

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """See :class:`instance.Instance`."""
        return self._apart().rehearse(configuration)

    # Commands

    def _do(self, work: Callable[[], None]) -> tuple[bool, str]:
        try:
            with said():
                work()
        except EngineError as error:
            return False, f"{error}."
        return True, ""

    def start(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""

        def work() -> None:
            self._succession.put_in_place()
            found = self._demanded()
            if found.attrs["State"].get("Restarting"):
                found.stop(timeout=0)
            found.start()

        return self._do(work)

    def stop(self) -> None:
        """See :class:`instance.Instance`."""

        def work() -> None:
            found = self._container()
            if found is not None:
                found.stop(timeout=_STOP_S)

        self._do(work)

    def reload(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._do(lambda: self._signal("HUP"))

    def restart(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`.

        Ended by TERM: with QUIT the ports would be closed for as long as streams are held.
        """

        def work() -> None:
            found = self._container()
            if found is not None:
                found.update(restart_policy={"Name": "no"})
                # It may just have ended by itself.
                with suppress(EngineError), said():
                    found.kill("TERM")
                    found.wait(timeout=_STOP_S)
                found.stop(timeout=0)
            self._succession.put_in_place()
            found = self._demanded()
            found.update(restart_policy={"Name": "always"})
            found.start()

        return self._do(work)

    def _signal(self, signal: str) -> None:
        self._demanded().kill(signal)

    # Another container in the place of this one

    def outdated(self) -> str | None:
        """See :class:`instance.Instance`."""
        with suppress(EngineError):
            if self._container(self.name) and self._succession.following():
                return (
                    f"the container {self.name} is another than the one that is wanted: "
                    f"{self._succession.next} is there to take its place."
                )
        return None

    def obstacle(self) -> str | None:
        """See :class:`instance.Instance`."""
        with suppress(EngineError):
            for name in (self.name, self._succession.next):
                found = self._container(name)
                if found and found.attrs["HostConfig"]["NetworkMode"] != "host":
                    return (
                        f"the ports of {name} are published by the engine, for one container at a "
                        "time, so the one before has to end first."
                    )
        return None

    def hand_over(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`.

        Both share the ports: the kernel gives each new connection to one of them. Where a run was
        killed, the new one may serve already, with what was on disk then.
        """
        self._serving = self._succession.next
        if self.running():
            return self.reload()
        return self._do(lambda: self._demanded().start())

    def complete(self) -> None:
        """See :class:`instance.Instance`. What ends is removed by the next run."""
        self._do(self._succession.pass_on)
        self._serving = self.name

    def take_back(self) -> None:
        """See :class:`instance.Instance`. The calls that it has taken already drain."""
        self._serving = self.name
        self._succession.dismiss(self._succession.next)
        # A run that was killed may have told the engine not to start it again.
        self._succession.keep()

    def retire(self) -> None:
        """See :class:`instance.Instance`. What ends is removed by whoever looks at it next."""
        self._succession.dismiss(self.name)

    # What is wrong

    def stopped(self) -> str | None:
        """See :class:`instance.Instance`."""
        if self._state().get("Paused"):
            return (
                f"the container {self.name} is paused and acts on nothing: 'docker unpause "
                f"{self.name}' lets it go on."
            )
        master = self._master()
        if not master or process(master).state not in _STOPPED:
            return None
        return (
            f"the master process {master} of {self.name} is stopped (SIGSTOP) and acts on nothing: "
            f"'kill -CONT {master}' lets it go on."
        )

    def troubles(self) -> list[str]:
        """See :class:`instance.Instance`."""
        return [told for told in (self.stopped(), self.error_log.mute()) if told]

    def altered(self) -> str | None:
        """See :class:`instance.Instance`. What a container was created with, nobody changes."""
        return None

    def mark(self) -> Mark:
        """See :class:`instance.Instance`."""
        return self.error_log.mark()

    def log_since(self, mark: Mark) -> list[str]:
        """See :class:`instance.Instance`.

        Before nginx has opened its log its words are the container's alone.
        """
        logged = self.error_log.trouble_since(mark)
        if logged or self._succession.failed:
            return trouble(self._succession.failed) + logged
        with suppress(EngineError):
            found = self._container()
            return trouble(lines(found, since=int(mark.clock))) if found else []
        return []

    def alerts_since(self, mark: Mark) -> list[str]:
        """See :class:`instance.Instance`."""
        return self.error_log.alerts_since(mark)

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """See :class:`instance.Instance`. nginx names its processes by their ids in there."""
        own = {self._own_ids.get(pid, pid) for pid in before}
        return self.error_log.given_up(mark, own) or not self.running()


def _own_id(pid: int) -> int:
    """Return the process id that a process of a container has for itself.

    Source: NSpid in proc(5).
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return pid
    told = [line.split()[-1] for line in text.splitlines() if line.startswith("NSpid:")]
    return int(told[0]) if told else pid
