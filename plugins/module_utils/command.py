# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command NAME-reload of a host: what the module nginx_reload does, for hooks and people.

The role nginx_package installs it, for hosts that have no Ansible.
"""

# It is a program, and no module has its output or runs its commands.
# pylint: disable=ansible-bad-function

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.bringing import (
    bring,
    certificates,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import fingerprint
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import CURRENT, PREVIOUS
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.systemd import Run

LINEAGE = "RENEWED_LINEAGE"
"""What certbot tells a deploy hook: the directory of what it has renewed.

Source: https://eff-certbot.readthedocs.io/en/stable/using.html#renewing-certificates
"""
_ID = re.compile(r"[0-9a-f]{12}")


def here(command: list[str], **_ansibles: bool) -> tuple[int, str, str]:
    """Run a command on this host, as AnsibleModule.run_command does.

    :raises OSError: when it cannot be run.
    """
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def main(
    options: Mapping[str, Any],
    arguments: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    run: Run = here,
) -> int:
    """Do what the command line says; return the exit status.

    :param options: those of the module nginx_reload that the role decides: ``instance`` with
        ``name`` and ``binary``, ``keep``, ``proof_timeout``.
    """
    name = options["instance"]["name"]
    asked = _parser(name).parse_args(arguments)
    program = f"{name}-reload"
    whole = {
        "root": None,
        "allow_restart": False,
        **options,
        "instance": {"error_log": None, "runtime": None, **options["instance"]},
        "generation": asked.generation,
    }
    try:
        _demand_root(program)
        outcome = bring(whole, run, asked.check)
    except TransactionError as error:
        if asked.json:
            print(json.dumps({"msg": error.message, **error.as_result()}, indent=2))
        print(f"{program}: {error.message} (reason: {error.reason})", file=sys.stderr)
        return 1
    shown = certificates(outcome)
    told = os.environ if environment is None else environment
    outcome.alerts += unshown(shown["certificates"], told)
    if asked.json:
        result = {"changed": outcome.changed, **outcome.as_result(), **shown}
        print(json.dumps({**result, "warnings": outcome.alerts}, indent=2))
    else:
        print("\n".join(lines(outcome, shown["certificates"], asked.check)))
    for sentence in outcome.alerts:
        print(f"{program}: warning: {sentence}", file=sys.stderr)
    return 0


def _demand_root(program: str) -> None:
    if os.geteuid() != 0:
        raise TransactionError(
            "rejected", f"this must be run by root: 'sudo {program}'. Nothing was changed."
        )


def _generation(text: str) -> str:
    if text not in (CURRENT, PREVIOUS) and not _ID.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is none; give {CURRENT}, {PREVIOUS}, or an id of twelve hexadecimal digits"
        )
    return text


def _parser(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"{name}-reload",
        description=f"Have {name} read again what is on disk, such as renewed certificates, and "
        "prove on every listener that it did. Where it does not, what served before goes on.",
    )
    parser.add_argument(
        "--generation",
        type=_generation,
        default=CURRENT,
        metavar="current|previous|ID",
        help="the generation to bring live (default: current, the one on disk)",
    )
    parser.add_argument(
        "--check", action="store_true", help="test it and tell what is shown now; change nothing"
    )
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def lines(outcome: Outcome, shown: Sequence[Mapping[str, Any]], check: bool) -> list[str]:
    """Return what people are told of a success."""
    if check:
        what = f"generation {outcome.generation} would do; nothing was changed"
    else:
        what = f"generation {outcome.generation} is live and proven"
    told = [f"{what} ({outcome.action})" if outcome.action != "none" else what]
    told += [f"found on the host before: {sentence}" for sentence in outcome.drift]
    kept = {one["listener"]: one for one in shown}
    for row in outcome.proof:
        told.append(f"{row.listener}: generation {row.generation}, {_fallback(row.fault)}")
        one = kept.get(row.listener)
        if one:
            where = f", as in {one['path']}" if one["path"] else ""
            told.append(
                f"  certificate {one['sha256'][:12]} of {one['subject']}, valid until "
                f"{one['not_after']} ({one['days_left']} days){where}"
            )
    return told


def _fallback(fault: str | None) -> str:
    return fault or "fallback UNAVAILABLE in every client"


def unshown(shown: Sequence[Mapping[str, Any]], environment: Mapping[str, str]) -> list[str]:
    """Say when what certbot has renewed is shown by no listener: the hook changed nothing then."""
    lineage = environment.get(LINEAGE)
    if not lineage:
        return []
    path = Path(lineage) / "cert.pem"
    try:
        renewed = fingerprint(path.read_text(encoding="ascii", errors="replace"))
    except (OSError, ValueError) as error:
        return [f"cannot read {path}, which {LINEAGE} names: {error}."]
    if renewed in [one["sha256"] for one in shown]:
        return []
    return [
        f"no listener shows the certificate in {lineage}, which was renewed: where it is one "
        f"of this proxy's, let certificate_path name {lineage}/fullchain.pem."
    ]
