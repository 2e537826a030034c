# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of one proxy: the one that has its name, the next one, and those that had it.

One that is to take another one's place is created beside it, named NAME-next, by whoever knows what
containers are to be like. It gets the name when it has been proven. What makes way for it is named
NAME-drains-ID, and removed by a run after it has ended.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, Callable

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    NUMBER,
    Engine,
    EngineError,
    is_over,
    said,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.throw_away import (
    NEXT,
    lines,
)

_DRAINS = "-drains-"
_ENDED = ("exited", "created", "dead")


class Succession:
    """Which container has the name, and who follows it.

    :param engine: the docker engine.
    :param name: of the proxy.
    :param created: see :class:`throw_away.Wanted`.
    :ivar failed: what one has said that was taken back.
    """

    def __init__(self, engine: Engine, name: str, created: bool = True) -> None:
        self.name = name
        self.next = name + NEXT
        self.failed: list[str] = []
        self._engine = engine
        self._created = created
        # The one that had to end before another one could start, until that one is proven.
        self._before: Any = None

    def own(self, name: str) -> Any:
        """See Engine; of this proxy."""
        return self._engine.own(name, self.name)

    def following(self) -> Any:
        """Return the one that is to take the place of the one that has the name, or None.

        :raises EngineError: when the engine does not answer, and when it is somebody else's.
        """
        found = self.own(self.next)
        is_left = found is not None and found.status == "created" and not self._created
        return None if is_left else found

    def settle(self) -> list[str]:
        """Put right what a run that was killed has left, and say what.

        Who serves alone takes the name that it has earned.

        :raises EngineError: when the engine does not answer.
        """
        for found in self._engine.owned(self.name):
            if self._is_left(found):
                with said():
                    found.remove(force=True, v=True)
            elif self._drains(found):
                # Said once more: the run may have been killed before it said so.
                _is_done(partial(found.kill, "QUIT"))
        found, following = self.own(self.name), self.own(self.next)
        # After a power cut the engine starts the one alone that was to stay.
        ended = found and following and found.status in _ENDED and following.status == "running"
        if following is None or (found and not ended):
            return []
        with said():
            if found:
                self._make_way(found)
            following.rename(self.name)
        return [f"container {self.next}"]

    def _is_left(self, container: Any) -> bool:
        """Tell whether one has drained, or was a test's whose run was killed before it removed it.

        There may be a check beside this run, with a test of its own.
        """
        if container.name in (self.name, self.next):
            return False
        if self._drains(container):
            return container.status in _ENDED
        return NUMBER not in container.labels and is_over(container.labels)

    def _drains(self, container: Any) -> bool:
        return str(container.name).startswith(f"{self.name}{_DRAINS}")

    def _make_way(self, container: Any) -> None:
        container.rename(f"{self.name}{_DRAINS}{container.short_id}")

    def put_in_place(self) -> None:
        """Give the name to the one that is wanted, and on the way back to the one before it."""
        before, self._before = self._before, None
        wanted = before or self.following()
        if wanted is None:
            return
        found = self.own(self.name)
        if found is not None and before is not None:
            self.failed = lines(found)
            found.remove(force=True, v=True)
        elif found is not None:
            self._set_aside(found)
            self._before = found
        wanted.rename(self.name)
        wanted.update(restart_policy={"Name": "always"})

    def _set_aside(self, found: Any) -> None:
        """End a container, and keep it until the next run, so that there is a way back."""
        # The engine renames none that it is about to start again.
        found.update(restart_policy={"Name": "no"})
        found.stop(timeout=0)
        self._make_way(found)

    def pass_on(self) -> None:
        """Have the one that has the name drain, and the next one take it."""
        before, following = self.own(self.name), self.own(self.next)
        if following is None:
            raise EngineError(f"there is no container {self.next} any more")
        if before is not None:
            before.update(restart_policy={"Name": "no"})
            self._make_way(before)
        following.rename(self.name)
        if before is not None:
            before.kill("QUIT")

    def dismiss(self, name: str) -> None:
        """Have a container drain, not start again, and be in nobody's way."""
        with suppress(EngineError):
            found = self.own(name)
            if found is None:
                return
            # Each by itself: one that ends again and again may not run in this moment.
            _is_done(lambda: found.update(restart_policy={"Name": "no"}))
            # Before it ends: a run that is killed here leaves none of that name without ports.
            aside = _is_done(lambda: self._make_way(found))
            _is_done(lambda: found.kill("QUIT"))
            self.failed = lines(found)
            if not aside:
                _is_done(lambda: found.remove(force=True, v=True))

    def keep(self) -> None:
        """Have the engine start the one that has the name at a boot, as it did before."""
        with suppress(EngineError), said():
            found = self.own(self.name)
            if found:
                found.update(restart_policy={"Name": "always"})


def _is_done(work: Callable[[], None]) -> bool:
    try:
        with said():
            work()
    except EngineError:
        return False
    return True
