# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the docker engine of a host is and has: read, and never changed."""

from __future__ import annotations

import ipaddress
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    NUMBER,
    OWNER,
    Engine,
    EngineError,
    bare,
)

# The network of containers that have none of their own.
_BRIDGE = "bridge"
# In one container: each takes half a second.
_ASKED = ["sh", "-c", "nginx -V 2>&1; echo; curl --version 2>&1"]
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def inspect(engine: Engine, container: str | None, image: str | None) -> dict[str, Any]:
    """Return what the module nginx_facts tells of engine, containers and image.

    :param container: name of the container of a proxy; nothing is asked where there is none.
    :param image: name or digest of an image.
    """
    if not container:
        return {"engine": None, "containers": [], "image": None}
    told: dict[str, Any] = {
        "error": None,
        "version": "",
        "architecture": "",
        "remaps_users": False,
        "limits_memory": True,
        "gateways": [],
    }
    try:
        info = engine.info()
        kernel = info.get("Architecture", "")
        told["version"] = info.get("ServerVersion", "")
        told["architecture"] = _ARCHITECTURES.get(kernel, kernel)
        told["remaps_users"] = any("userns" in one for one in info.get("SecurityOptions") or ())
        told["limits_memory"] = bool(info.get("MemoryLimit", True))
        told["gateways"] = _gateways(engine)
        found = _containers(engine, container)
        seen = _image(engine, image, container) if image else None
    except EngineError as error:
        return {"engine": {**told, "error": str(error)}, "containers": [], "image": None}
    return {"engine": told, "containers": found, "image": seen}


def _gateways(engine: Engine) -> list[str]:
    """Return the addresses from which containers of the engine's own network see this host."""
    networks = (engine.network(_BRIDGE).get("IPAM") or {}).get("Config") or []
    return [
        # Where none was asked for, the engine takes the first one.
        one.get("Gateway") or str(ipaddress.ip_network(one["Subnet"], strict=False)[1])
        for one in networks
    ]


def _containers(engine: Engine, name: str) -> list[dict[str, Any]]:
    named = [engine.container(name), engine.container(f"{name}-next")]
    found = {one.id: one for one in [*named, *engine.owned(name)] if one is not None}
    return [
        {
            "name": one.name,
            "owner": one.labels.get(OWNER),
            "number": _number(one.labels.get(NUMBER, "")),
            "status": one.status,
            "image": one.attrs["Image"],
            "network": one.attrs["HostConfig"]["NetworkMode"],
        }
        for one in found.values()
    ]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _image(engine: Engine, reference: str, owner: str) -> dict[str, Any] | None:
    found = engine.image(reference)
    if found is None:
        return None
    try:
        _status, told = engine.once(bare(found["Id"], _ASKED, owner))
    except EngineError:
        told = _without_shell(engine, found["Id"], owner)
    build, _blank, curl = told.partition("\n\n")
    return {
        "id": found["Id"],
        "architecture": found.get("Architecture", ""),
        "build": build,
        "asks_http2": curl.startswith("curl ") and "HTTP2" in curl.split(),
    }


def _without_shell(engine: Engine, image: str, owner: str) -> str:
    try:
        return engine.once(bare(image, ["nginx", "-V"], owner))[1]
    except EngineError as error:
        return str(error)
