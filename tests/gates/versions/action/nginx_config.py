"""Plays the module nginx_config: writes the files of a generation, and brings nothing live."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    check,
    generation_conf,
    identity,
)


class ActionModule(ActionBase):
    """Writes below ``rendered``, a directory for each deployment and each nginx in it."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write what the module would, and tell for which nginx it was."""
        known = task_vars or {}
        version = str(known["__grpc_proxy_instance"]["version"])
        place = Path(known["rendered"], known["inventory_hostname"], version)
        files = [
            File(item["path"], item["content"].encode(), int(item.get("mode", "0644"), 8))
            for item in [*self._task.args["files"], *self._task.args["secrets"]]
        ]
        check(files)
        for item in [*files, File(GENERATION_FILE, generation_conf(identity(files)))]:
            path = place / item.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.content)
            path.chmod(item.mode)
        return {**super().run(tmp, task_vars), "changed": False, "version": version}
