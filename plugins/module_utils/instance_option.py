# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module option that describes an instance, and the instance that it describes."""

from __future__ import annotations

import os
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.container import (
    ContainerInstance,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    Engine,
    EngineError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.move import Move
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.systemd import (
    Run,
    SystemdInstance,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.throw_away import NEXT, Wanted

OPTIONS: dict[str, Any] = {
    "kind": {"type": "str", "choices": ["systemd", "docker"], "default": "systemd"},
    "name": {"type": "str", "required": True},
    "binary": {"type": "path", "default": "/usr/sbin/nginx"},
    "error_log": {"type": "path"},
    "runtime": {"type": "path"},
    "image": {"type": "str"},
    "network": {"type": "str"},
    "volumes": {"type": "list", "elements": "str"},
    "moves_from": {"type": "str", "choices": ["systemd", "docker"]},
}
"""The module option ``instance``, documented in plugins/doc_fragments/nginx_instance.py."""


def from_options(options: dict[str, Any], run: Run, created: bool = True) -> Instance:
    """Return the instance that the module option ``instance`` describes.

    :param created: see :class:`throw_away.Wanted`.
    """
    kind, before = options.get("kind") or "systemd", options.get("moves_from")
    wanted = _of_kind(kind, options, run, created)
    if before in (None, kind):
        return wanted
    return Move(_of_kind(before or "", options, run, created), wanted, options["name"] or "")


def _of_kind(kind: str, options: dict[str, Any], run: Run, created: bool) -> Instance:
    name, binary = options["name"] or "", options["binary"] or ""
    error_log = options["error_log"] or f"/var/log/{name}/error.log"
    if kind == "docker":
        image, network = options.get("image") or "", options.get("network") or ""
        wanted = Wanted(image, network, tuple(options.get("volumes") or ()), created)
        return ContainerInstance(name, binary, error_log, wanted, Engine())
    runtime = options.get("runtime") or f"/run/{name}"
    return SystemdInstance(name, binary, error_log, runtime, run)


def missing(options: dict[str, Any]) -> list[str]:
    """Return that without which a configuration cannot be tested on this host."""
    name = options["name"] or ""
    if options.get("kind") == "docker":
        try:
            engine = Engine()
            # A run that was killed may have left the one that was to take its place alone.
            found = engine.own(name, name) or engine.own(name + NEXT, name)
        except EngineError as error:
            return [str(error)]
        return [] if found else [f"the container {name}"]
    paths = [options["binary"] or "", options["runtime"] or f"/run/{name}"]
    return [path for path in paths if not os.path.exists(path)]
