# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a unit of systemd to a container of the same name, or the other way round.

Both have the ports open for as long as it takes to prove the one that is to stay, so both
configurations must share them (``reuseport``).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Stage


class Move:
    """Two of which the second takes the place of the first, as long as that one runs.

    :param before: what serves until now.
    :param after: what is to serve.
    :param name: of both.
    """

    inherits_ports = False

    def __init__(self, before: Instance, after: Instance, name: str) -> None:
        self._before = before
        self._after = after
        self._name = name
        self._serving = before if before.running() else after

    def running(self) -> bool:
        """See :class:`instance.Instance`."""
        return self._serving.running()

    # What is to serve is what a configuration is tried with.

    def test(self, configuration: Path) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._after.test(configuration)

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """See :class:`instance.Instance`."""
        return self._after.rehearse(configuration)

    # Commands

    def start(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._serving.start()

    def stop(self) -> None:
        """See :class:`instance.Instance`."""
        self._serving.stop()

    def reload(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`."""
        return self._serving.reload()

    def restart(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`. What does not serve is started; so is the way back."""
        self._serving.stop()
        self._serving = self._before if self._serving is self._after else self._after
        return self._serving.start()

    def settle(self) -> list[str]:
        """See :class:`instance.Instance`."""
        return self._before.settle() + self._after.settle()

    # One in the place of the other

    def outdated(self) -> str | None:
        """See :class:`instance.Instance`."""
        if self._serving is self._after:
            return self._after.outdated()
        return f"what serves as {self._name} is to make way for what grpc_proxy_install says."

    def obstacle(self) -> str | None:
        """See :class:`instance.Instance`."""
        return None

    def hand_over(self) -> tuple[bool, str]:
        """See :class:`instance.Instance`. A run that was killed may have started it already."""
        self._serving = self._after
        return self._after.reload() if self._after.running() else self._after.start()

    def complete(self) -> None:
        """See :class:`instance.Instance`."""
        self._before.retire()

    def take_back(self) -> None:
        """See :class:`instance.Instance`."""
        self._after.retire()
        self._serving = self._before

    def retire(self) -> None:
        """See :class:`instance.Instance`."""
        self._serving.retire()

    # What is seen of the one that serves, or is about to

    def workers(self) -> set[int]:
        """See :class:`instance.Instance`."""
        return self._serving.workers()

    def stopped(self) -> str | None:
        """See :class:`instance.Instance`."""
        return self._serving.stopped()

    def troubles(self) -> list[str]:
        """See :class:`instance.Instance`."""
        return self._serving.troubles()

    def altered(self) -> str | None:
        """See :class:`instance.Instance`."""
        return self._serving.altered()

    def mark(self) -> Mark:
        """See :class:`instance.Instance`. Both have one log."""
        return self._after.mark()

    def log_since(self, mark: Mark) -> list[str]:
        """See :class:`instance.Instance`. What was taken back tells why."""
        return self._after.log_since(mark)

    def alerts_since(self, mark: Mark) -> list[str]:
        """See :class:`instance.Instance`."""
        return self._after.alerts_since(mark)

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """See :class:`instance.Instance`."""
        return self._serving.given_up(mark, before)
