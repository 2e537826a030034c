# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module that brings a generation live ends: one result, or one failure with its reason."""

from __future__ import annotations

import time
from typing import Any, Callable, Protocol

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)


class Module(Protocol):
    """What is needed of an AnsibleModule."""

    def warn(self, warning: str) -> None:
        """Show a warning."""

    def exit_json(self, **kwargs: Any) -> None:
        """End well."""

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        """End with a failure."""


def conclude(
    module: Module,
    work: Callable[[], Outcome],
    more: Callable[[Outcome], dict[str, Any]] = lambda _outcome: {},
) -> None:
    """Do the work and end the module with what came of it.

    :param more: what this module returns beside what all of them do.
    """
    began = time.monotonic()
    try:
        outcome = work()
    except TransactionError as error:
        spent = round((time.monotonic() - began) * 1000, 3)
        module.fail_json(msg=error.message, duration_ms=spent, **error.as_result())
        return
    told = outcome.as_result() | more(outcome)
    for sentence in outcome.drift:
        module.warn(f"found on the host: {sentence}.")
    for sentence in outcome.alerts:
        module.warn(sentence)
    spent = round((time.monotonic() - began) * 1000, 3)
    module.exit_json(changed=outcome.changed, duration_ms=spent, **told)
