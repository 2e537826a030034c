# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads where the package nginx comes from, and which version of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.pgp import (
    FINGERPRINT,
    KIND,
    plain,
    read_key,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader

SOURCES = ("distribution", "nginx.org")
CHANNELS = {
    "stable": "https://nginx.org/packages/debian",
    "mainline": "https://nginx.org/packages/mainline/debian",
}
URL = re.compile(
    r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[1-9][0-9]{0,4})?"
    r"(/[A-Za-z0-9._~+-]+)*/?"
)
VERSION = re.compile(r"([0-9][A-Za-z0-9.+~-]*)?")
URL_REMEDY = "give an address such as https://mirror.example/nginx/debian, without a password."


def read_package(reader: Reader, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the role nginx_package is told; no repository for the distribution's package."""

    def given(name: str) -> Any:
        return settings[f"grpc_proxy_package_{name}"]

    def called(name: str) -> str:
        return f"grpc_proxy_package_{name}"

    source = reader.choice(called("source"), given("source"), SOURCES)
    channel = reader.choice(called("channel"), given("channel"), list(CHANNELS))
    repository = given("repository")
    if repository != "":
        repository = reader.matching(called("repository"), repository, URL, URL_REMEDY)
    fingerprints = _fingerprints(reader, called("fingerprints"), given("fingerprints"))
    return {
        "repository": (repository or CHANNELS[channel]) if source != SOURCES[0] else "",
        "key": _key(reader, called("key"), given("key"), fingerprints),
        "fingerprints": fingerprints,
        "version": reader.matching(
            called("version"), given("version"), VERSION,
            "give a version such as 1.30.4 or 1.30.4-1~bookworm, or nothing.",
        ),
        "hold": reader.boolean(called("hold"), given("hold")),
    }  # fmt: skip


def _fingerprints(reader: Reader, variable: str, value: Any) -> list[str]:
    """Return the fingerprints, of which there must be one."""
    listed = value if isinstance(value, list) else []
    if not listed:
        reader.complain(variable, value, "give a list of fingerprints of 40 hexadecimal digits.")
    for index, one in enumerate(listed):
        if not isinstance(one, str) or not FINGERPRINT.fullmatch(plain(one)) or "\n" in one:
            reader.complain(f"{variable}[{index}]", one, "give 40 hexadecimal digits.")
    return [plain(one) for one in listed]


def _key(reader: Reader, variable: str, value: Any, fingerprints: list[str]) -> str:
    """Return the key as it was given; text is judged at once, what is fetched when it is there."""
    text = value if isinstance(value, str) else ""
    if URL.fullmatch(text):
        return text
    if f"-----BEGIN {KIND}-----" not in text:
        reader.complain(variable, value, f"give the text of a {KIND}, or an address to fetch it.")
        return ""
    fault = read_key(text, fingerprints)["fault"]
    if fault:
        reader.refuse(
            variable,
            f"{fault}; give the key that signs the repository, and its fingerprint in "
            "grpc_proxy_package_fingerprints where you trust it.",
        )
    return text
