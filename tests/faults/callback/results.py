"""Every result of a run as one line of JSON, unchanged: a stdout callback for the tests."""

from __future__ import annotations

import json
from typing import Any

from ansible.executor.stats import AggregateStats
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: results
type: stdout
short_description: Every result of a run as one line of JSON
version_added: 0.1.0
description:
  - Tells task, module, host and the module's own result, and the recap at the end.
"""


class CallbackModule(CallbackBase):
    """Prints one line a result."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "results"

    def _tell(self, what: str, result: Any) -> None:
        told = {
            "what": what,
            "task": result.task.get_name(),
            "module": result.task.action,
            "host": result.host.get_name(),
            "result": result.result,
        }
        self._display.display(json.dumps(told, default=str))

    def v2_runner_on_ok(self, result: Any) -> None:
        """Tell a success."""
        self._tell("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Tell a failure."""
        self._tell("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Tell that a host could not be reached."""
        self._tell("unreachable", result)

    def v2_playbook_on_stats(self, stats: AggregateStats) -> None:
        """Tell the recap."""
        recap = {host: stats.summarize(host) for host in sorted(stats.processed)}
        self._display.display(json.dumps({"what": "recap", "recap": recap}))
