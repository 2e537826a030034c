# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The running nginx: what a transaction needs of it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Stage


class Instance(Protocol):
    """What a transaction needs of an instance, systemd's or another's.

    :cvar inherits_ports: what takes over has the open ports of what served; else both
        configurations must let others open them.
    """

    inherits_ports: bool

    def running(self) -> bool:
        """Tell whether a master process serves."""

    def test(self, configuration: Path) -> tuple[bool, str]:
        """Test a configuration with the binary that will run it; return verdict and words."""

    def rehearse(self, configuration: Path) -> AbstractContextManager[Stage]:
        """Run a configuration apart from what serves; see :class:`rehearsal.Rehearsing`."""

    def start(self) -> tuple[bool, str]:
        """Start the instance; return success and what was said."""

    def stop(self) -> None:
        """Stop the instance."""

    def reload(self) -> tuple[bool, str]:
        """Tell the running master to read its configuration; return success and words."""

    def restart(self) -> tuple[bool, str]:
        """Stop and start; return success and what was said."""

    def workers(self) -> set[int]:
        """Return the worker processes that accept connections."""

    def settle(self) -> list[str]:
        """Take away, or bring to its end, what a run that was killed has left; name it."""

    def outdated(self) -> str | None:
        """Say when what runs is not what a start would take now; names both."""

    def obstacle(self) -> str | None:
        """Say why what runs cannot be handed over to what a start would take, without a gap."""

    def hand_over(self) -> tuple[bool, str]:
        """Start what a start would take now beside what serves, and have it take connections.

        Returns success and words. What served before goes on with what it has, and takes nothing
        new.
        """

    def complete(self) -> None:
        """End what served before a handover; its streams drain."""

    def take_back(self) -> None:
        """End what a handover has started; what served before goes on, with what it had read."""

    def retire(self) -> None:
        """End it for good, as another one has taken its place; its streams drain."""

    def stopped(self) -> str | None:
        """Say when the master process cannot act on what it is told."""

    def troubles(self) -> list[str]:
        """Say what a person should know of an instance, also of one that serves."""

    def altered(self) -> str | None:
        """Say when somebody has changed how it is started and reloaded."""

    def mark(self) -> Mark:
        """Remember where the log ends now."""

    def log_since(self, mark: Mark) -> list[str]:
        """Return the log lines written since the mark that tell of trouble."""

    def alerts_since(self, mark: Mark) -> list[str]:
        """Return what nginx has logged since the mark as critical, an alert or an emergency."""

    def given_up(self, mark: Mark, before: set[int]) -> bool:
        """Tell whether nginx has said since the mark that it will not take the change.

        :param before: worker processes of before, whose end means nothing.
        """
