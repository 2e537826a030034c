# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what ``nginx -V`` prints, to tell whether this nginx can be a gRPC proxy."""

from __future__ import annotations

import re
from typing import Any

FLOOR = (1, 13, 10)
"""The first nginx with the gRPC module (changes of nginx 1.13.10)."""

USER = "www-data"
"""Debian's packages are built without a user of their own, and run nginx as this one."""

NEEDED_WITH = ("http_v2_module", "http_ssl_module")
NEEDED_NOT_WITHOUT = (
    "http_geo_module",
    "http_grpc_module",
    "http_limit_conn_module",
    "http_limit_req_module",
    "http_map_module",
    "http_rewrite_module",
    "http_split_clients_module",
)


def read_build(text: str | None) -> dict[str, Any]:
    """Return version, user and group, modules left out, and what is missing for a gRPC proxy.

    :param text: output of ``nginx -V``, None where there is no nginx.
    :returns: ``version`` (empty when there was none), ``user`` and ``group`` (whose its workers are
        to be; no group where it is the user's), ``with`` and ``without`` (names of modules), and
        ``missing`` (sentences, empty when the build will do).
    """
    found = re.search(r"nginx version: \S+?/(\d+)\.(\d+)\.(\d+)", text or "")
    if text is None or not found:
        fault = "it is not there" if text is None else "it does not tell its version"
        return {
            "version": "", "user": USER, "group": "", "with": [], "without": [], "missing": [fault]
        }  # fmt: skip
    version = tuple(int(part) for part in found.groups())
    chosen = sorted(set(re.findall(r"--with-(\w+_module)", text)))
    without = sorted(set(re.findall(r"--without-(\w+)", text)))
    user = _option("user", text)
    missing = []
    if version < FLOOR:
        missing.append(
            f"it is {'.'.join(map(str, version))}; gRPC came with {'.'.join(map(str, FLOOR))}"
        )
    missing += [f"it lacks {name}" for name in NEEDED_WITH if name not in chosen]
    missing += [f"it lacks {name}" for name in NEEDED_NOT_WITHOUT if name in without]
    return {
        "version": ".".join(map(str, version)),
        "user": user or USER,
        "group": _option("group", text) if user else "",
        "with": chosen,
        "without": without,
        "missing": missing,
    }


def _option(name: str, text: str) -> str:
    """Return who an argument of the build names; empty where it does not."""
    found = re.search(rf"(?<=\s)--{name}=([a-z_][a-z0-9_-]*)(?=\s|$)", text)
    return found.group(1) if found else ""
