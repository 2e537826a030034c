# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a transaction tells people: its outcome, its failure, the cause, the difference."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File, identity
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Rehearsal
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State

HIDDEN = "(secret, not shown)\n"
HIDDEN_CHANGED = "(secret, changed, not shown)\n"

# What nginx writes before its words: time, level, process and connection.
_PREFIX = re.compile(r"^(nginx: )?(\d{4}/\d\d/\d\d \S+ )?(\[\w+\] )?(\d+#\d+: )?(\*\d+ )?")
_TAKEN = re.compile(r"bind\(\) to (\S+) failed \(98:")
_SEVERE = re.compile(r"\[(crit|alert|emerg)\]")
# A zone of a limit with another key under the same name: the running master refuses it.
_ONLY_RESTART = re.compile(r"uses the .* key while previously it used")
_IN_HIDING = (
    "something answers in the place of the proof: look for a return, a rewrite or a location in "
    "grpc_proxy_snippets."
)
# Words of OpenSSL's that say little, and what they come down to.
_MEANINGS = {
    "key values mismatch": "The private key does not fit its certificate.",
    "bad password read": "The private key is encrypted; give it without a passphrase.",
    "(24: Too many open files)": "Its master process has too few descriptors: raise LimitNOFILE.",
}

# With it nginx ends a start.
_NO_START = "still could not bind()"
_NO_BEGINNING = {
    "started": "nginx did not start",
    "restarted": "nginx did not start",
    "upgraded": (
        "the new nginx does not take over from the one that runs; mend it, or install the one of "
        "before, then run again"
    ),
}


@dataclass
class Outcome:
    """What a transaction did.

    :ivar state: what was found before.
    :ivar proof: one row a listener.
    :ivar drift: where disk, process and listeners differed from one another before.
    :ivar rehearsal: what it answered before the swap; None where nothing was to be changed.
    :ivar repaired: what a run that was killed had left.
    :ivar proven_ms: milliseconds from before the swap to the proof; None without a command.
    :ivar alerts: sentences that a person should read though the proof holds.
    """

    changed: bool
    state: State
    action: str = "none"
    proof: list[Row] = field(default_factory=list)
    diff: list[dict[str, str]] = field(default_factory=list)
    drift: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)
    tested: bool = True
    rehearsal: Rehearsal | None = None
    proven_ms: float | None = None
    alerts: list[str] = field(default_factory=list)

    @property
    def generation(self) -> str:
        """Id of the generation that is live now, in check mode of the one that would be."""
        return self.state.wanted

    @property
    def previous(self) -> str | None:
        """Id of the generation that was on disk before."""
        return self.state.disk

    def as_result(self) -> dict[str, Any]:
        """Return what a module returns beside whether it changed something."""
        return {
            "generation": self.generation,
            "previous": self.previous,
            "live": self.state.live,
            "action": self.action,
            "proof": [row.as_result() for row in self.proof],
            "diff": self.diff,
            "drift": self.drift,
            "rehearsed": bool(self.rehearsal and self.rehearsal.held),
            "not_rehearsed": (self.rehearsal and self.rehearsal.cause) or None,
            "repaired": self.repaired,
            "proven_ms": self.proven_ms,
        }


class TransactionError(Exception):
    """A transaction that did not reach its end.

    :ivar reason: rejected, not_live, fallback, restart_needed, not_started, busy or unproven.
    :ivar nginx_log: what nginx said.
    :ivar rolled_back: the generation before is on disk again, and proven if it was live.
    :ivar generation: id of what is live now, None when nothing is known to be.
    :ivar proof: the last rows seen.
    :ivar repaired: what a run that was killed had left, and this one took away all the same.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        nginx_log: Sequence[str] = (),
        rolled_back: bool = False,
        generation: str | None = None,
        proof: Sequence[Row] = (),
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.nginx_log = list(nginx_log)
        self.rolled_back = rolled_back
        self.generation = generation
        self.proof = list(proof)
        self.repaired: list[str] = []

    def as_result(self) -> dict[str, Any]:
        """Return what a module returns beside its message."""
        return {
            "reason": self.reason,
            "nginx_log": self.nginx_log,
            "rolled_back": self.rolled_back,
            "generation": self.generation,
            "proof": [row.as_result() for row in self.proof],
            "repaired": self.repaired,
        }


def still_live(live: str | None) -> str:
    """Say what is live, where nobody has touched it."""
    return f"generation {live} is still live" if live else "nothing is known to be live"


def untouched(
    reason: str,
    cause: str,
    live: str | None,
    nginx_log: Sequence[str] = (),
    proof: Sequence[Row] = (),
) -> TransactionError:
    """Return the failure of a run that has changed nothing.

    :param cause: sentences: what is wrong, and the thing to do next.
    """
    message = f"{cause} Nothing was changed; {still_live(live)}."
    return TransactionError(reason, message, nginx_log, generation=live, proof=proof)


@dataclass
class Attempt:
    """How far a swap came.

    :ivar action: started, reloaded, upgraded or restarted; none when not even that came about.
    :ivar done: the command for it succeeded.
    :ivar words: what the command said, or why it could not be given.
    :ivar accepting: worker processes that accepted connections before the command.
    :ivar lingering: worker processes of before still accept connections.
    :ivar running: the instance runs, or may come to run again.
    :ivar beside: what served before is still there beside what was started.
    :ivar absent: what was started beside has no worker processes, whoever answers.
    """

    action: str = "none"
    done: bool = False
    words: str = ""
    rows: list[Row] = field(default_factory=list)
    lingering: bool = False
    running: bool = True
    accepting: set[int] = field(default_factory=set)
    beside: bool = False
    absent: bool = False

    @property
    def faults(self) -> list[Row]:
        """The rows of listeners that did not answer as they must."""
        return [row for row in self.rows if row.fault]

    @property
    def proven(self) -> bool:
        """Tell whether the configuration is live, wholly."""
        return self.done and not (self.faults or self.lingering or self.absent)


def only_a_restart(log: Iterable[str]) -> bool:
    """Tell whether nginx has refused a change that a restart would bring."""
    return any(_ONLY_RESTART.search(line) for line in log)


def first_cause(words: str) -> str:
    """Return nginx's own first line of weight, as a sentence, and what it means."""
    lines = [line for line in words.splitlines() if "[emerg]" in line] or words.splitlines()
    text = _PREFIX.sub("", lines[0]) if lines else "it gave no reason"
    meanings = [meaning for part, meaning in _MEANINGS.items() if part in text]
    return " ".join([text.rstrip(".") + ".", *meanings])


def verdict(attempt: Attempt, log: Sequence[str]) -> tuple[str, str]:
    """Return reason and cause of a failure, the cause as sentences with the thing to do next."""
    wrong = [row for row in attempt.faults if row.wrong_answer]
    if wrong:
        return "fallback", f"{wrong[0].fault}. {_remedy(wrong[0])}"
    hint = _hint(attempt, log)
    # Where somebody starts it again and again, it may run in the very moment.
    ended = any(_NO_START in line for line in log)
    if attempt.action in _NO_BEGINNING and (ended or not (attempt.done and attempt.running)):
        return "not_started", f"{_NO_BEGINNING[attempt.action]}: {hint}"
    if attempt.action == "reloaded" and only_a_restart(log):
        return "restart_needed", (
            f"nginx takes this change only by a restart: {hint} Set grpc_proxy_allow_restart "
            "(allow_restart) for one run; a restart cuts the streams in flight."
        )
    if attempt.faults:
        return "not_live", (f"the new configuration is not live: {attempt.faults[0].fault}; {hint}")
    if attempt.lingering:
        return "unproven", (f"worker processes of the old configuration still accept calls: {hint}")
    return "not_live", f"the new configuration could not be brought live: {hint}"


def refusal(rehearsal: Rehearsal, live: str | None) -> TransactionError:
    """Return the failure of a configuration that was found wrong while nothing was touched."""
    wrong = next(iter(rehearsal.wrong), None)
    if wrong and wrong.wrong_answer:
        reason, cause = "fallback", f"{wrong.fault}. {_remedy(wrong)}"
    elif wrong:
        reason, cause = "not_live", f"{wrong.fault}; {_IN_HIDING}"
    else:
        reason = "not_live"
        words = first_cause("\n".join(rehearsal.died))
        cause = f"the worker processes of the new configuration die: {words}"
    log = list(dict.fromkeys(rehearsal.died))
    return untouched(reason, f"In a rehearsal, {cause}", live, log, rehearsal.proof)


def _hint(attempt: Attempt, log: Sequence[str]) -> str:
    taken = sorted({found for line in log for found in _TAKEN.findall(line)})
    severe = [line for line in log if _SEVERE.search(line)]
    if taken:
        return (
            f"another program holds {', '.join(taken)}; 'ss -ltnp' on the host names it. "
            "End it, or change grpc_proxy_listen."
        )
    if severe:
        return first_cause("\n".join(severe))
    if any(row.hidden for row in attempt.faults):
        return _IN_HIDING
    return attempt.words or (
        "nginx wrote nothing of weight to its log; is its master process stopped?"
    )


def _remedy(row: Row) -> str:
    if row.grpc_status in (7, 16):
        return (
            "The host's own probe was turned away: where grpc_proxy_snippets hold an access list, "
            "let them allow the host's own addresses."
        )
    return (
        "Something in the configuration overrides what the proxy answers: look for an error_page, "
        "a location, a return or a rewrite in grpc_proxy_snippets."
    )


def difference(
    before: str | None, old: Sequence[File], new: Sequence[File]
) -> list[dict[str, str]]:
    """Return the difference of two trees as Ansible shows it, secrets left out.

    :param before: id of the old tree.
    """
    was, is_now = {item.path: item for item in old}, {item.path: item for item in new}
    wanted = identity(new)
    rows = []
    for path in sorted(was.keys() | is_now.keys()):
        one, other = was.get(path), is_now.get(path)
        if one and other and (one.content, one.mode) == (other.content, other.mode):
            continue
        secret = any(item.secret for item in (one, other) if item)
        rows.append(
            {
                "before_header": f"{path} ({before})" if one else "(none)",
                "after_header": f"{path} ({wanted})" if other else "(none)",
                "before": _shown(one, HIDDEN if secret else None),
                "after": _shown(other, (HIDDEN_CHANGED if one else HIDDEN) if secret else None),
            }
        )
    return rows


def _shown(item: File | None, hidden: str | None) -> str:
    if item is None:
        return ""
    return hidden or f"# mode {item.mode:04o}\n" + item.content.decode(errors="replace")
