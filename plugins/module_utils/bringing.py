# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a generation that is on disk live: what module and command do with their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.certificates import (
    CRYPTOGRAPHY_IMPORT_ERROR,
    shown,
    warnings,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import H2_IMPORT_ERROR
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    from_options,
    missing,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import Outcome
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.systemd import Run
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree


def bring(options: Mapping[str, Any], run: Run, check: bool) -> Outcome:
    """Bring the generation live.

    :param options: those of the module nginx_reload, all of them.
    :param run: how to run a command.
    :param check: tell only what that would be.
    :raises TransactionError: when it did not come to be, or something is missing on the host.
    """
    transaction = Transaction(
        Tree(options["root"] or f"/etc/nginx/{options['instance']['name']}"),
        # What site.yml has created and was refused to start is for site.yml alone.
        from_options(options["instance"], run, created=False),
        Prover(),
        Settings(options["allow_restart"], options["keep"], options["proof_timeout"]),
    )
    libraries = {"python3-h2": H2_IMPORT_ERROR, "python3-cryptography": CRYPTOGRAPHY_IMPORT_ERROR}
    lacking = missing(options["instance"])
    lacking += [library for library, fault in libraries.items() if fault]
    if lacking:
        raise transaction.refusal(
            f"{', '.join(lacking)} is missing on the host: install it, or give the right path in "
            "instance."
        )
    return (transaction.check_bring if check else transaction.bring)(options["generation"])


def certificates(outcome: Outcome) -> dict[str, Any]:
    """Return what the listeners show, and have those told that no client takes."""
    told = shown(outcome.proof)
    outcome.alerts += warnings(told)
    return {"certificates": told}
