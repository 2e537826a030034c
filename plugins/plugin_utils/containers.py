# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what an nginx that is a container is made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader

# Source: https://github.com/distribution/reference, its grammar of names.
_HOST = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?"
_PART = r"[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*"
IMAGE = re.compile(
    rf"(?=.{{1,400}}\Z)({_HOST}/)?{_PART}(/{_PART})*(:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?"
    r"(@sha256:[0-9a-f]{64})?"
)
MEMORY = re.compile(r"0|[1-9][0-9]{0,11}[bkmg]?")
# Of containers that a proxy has for a while.
PASSING = re.compile(r"-(next|rehearsal)\Z|-drains-")
DIRECTORY = re.compile(r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._+@-]+)+")
ADDRESS = re.compile(r"(https?://)?[A-Za-z0-9.:\[\]/_-]{1,253}")


def read_container(reader: Reader, given: Mapping[str, Any]) -> None:
    """Refuse what makes no container, or another one than the words say."""
    reader.matching(
        "grpc_proxy_container_image",
        given["grpc_proxy_container_image"],
        IMAGE,
        "give the name of an image such as nginx:1.30, by tag or digest.",
    )
    reader.matching(
        "grpc_proxy_container_memory",
        given["grpc_proxy_container_memory"],
        MEMORY,
        "give a size such as 512m or 1g, or 0 for no limit.",
    )
    mounts = given["grpc_proxy_container_mounts"]
    for index, path in enumerate(mounts if isinstance(mounts, list) else []):
        reader.matching(
            f"grpc_proxy_container_mounts[{index}]",
            path,
            DIRECTORY,
            "give an absolute path of letters, digits, '.', '_', '+', '@' and '-'.",
        )
    _read_registry(reader, given["grpc_proxy_container_registry"])
    if given["grpc_proxy_install"] == "container":
        _read_installation(reader, given)


def _read_installation(reader: Reader, given: Mapping[str, Any]) -> None:
    """Refuse what a package could have, and a container cannot."""
    name, command = str(given["grpc_proxy_name"]), given["grpc_proxy_reload_command"]
    if PASSING.search(name):
        reader.complain(
            "grpc_proxy_name",
            name,
            "with grpc_proxy_install container, give one without -drains- that does not end in "
            "-next or -rehearsal: so are containers named that a proxy has for a while.",
        )
    if str(command).lower() in ("true", "yes", "1"):
        reader.complain(
            "grpc_proxy_reload_command",
            command,
            "give false with grpc_proxy_install container, which has no such command: let a "
            "playbook run nginx_reload when a certificate was renewed.",
        )


def _read_registry(reader: Reader, value: Any) -> None:
    variable = "grpc_proxy_container_registry"
    told = reader.dictionary(variable, value)
    if not told:
        return
    for key in ("username", "password"):
        if not isinstance(told.get(key), str) or not told[key]:
            reader.refuse(f"{variable}.{key}", "is missing; give username and password as text.")
    if told.get("url") is not None:
        remedy = "give the address of a registry such as registry.example:5000."
        reader.matching(f"{variable}.url", told["url"], ADDRESS, remedy)
