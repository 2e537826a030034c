"""The plain way: a second nginx beside ours, changed in place, tested, and reloaded.

It stands for what a template and a handler do. What it reports is measured on the same host, with
the same files, in the same fault.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.faults import secrets
from tests.faults.machine import Machine


@dataclass(frozen=True)
class Plain:
    """What the plain way reported, and what was true."""

    test: int | None
    """Exit status of ``nginx -t``; None where nothing was tested."""
    reload: int
    serves: str
    """The configuration that answers afterwards: new, old or nothing."""
    fault: str
    """Why the new one does not answer as it must, empty where it does."""

    @property
    def green(self) -> bool:
        """Whether it reported success."""
        return not self.test and self.reload == 0

    @property
    def false(self) -> bool:
        """Whether it reported success of a change that is not live, or answers wrongly."""
        return self.green and (self.serves != "new" or bool(self.fault))

    def cells(self) -> tuple[str, str, str]:
        """Exit statuses, and what serves."""
        test = "none" if self.test is None else str(self.test)
        serves = f"{self.serves}: {self.fault}" if self.fault else self.serves
        return test, str(self.reload), serves


@dataclass(frozen=True)
class Trial:
    """A change for the plain way."""

    files: Mapping[str, str]
    """The files that the same change asks ours for, by path; secrets stay as they are."""
    listeners: Sequence[Mapping[str, Any]]
    methods: Sequence[str]
    exchange: Sequence[tuple[str, str]] = ()
    """Expressions and what to put for them in every file: for a change that ours refuses early."""
    before: str = ""
    """Lines of sh that disturb the nginx whose master process is $MASTER."""
    after: str = ""
    """Lines that end that."""
    holds: Sequence[int] = ()
    """Ports that another program holds."""
    hangup: bool = False
    """A signal alone, without a test."""

    def on(self, machine: Machine) -> Plain:
        """Try it on a host."""
        request = {
            "files": dict(self.files),
            "listeners": [
                {name: one.get(name) for name in ("address", "port", "tls", "server_name")}
                for one in self.listeners
            ],
            "methods": list(self.methods),
            "exchange": list(self.exchange),
            "before": self.before,
            "after": self.after,
            "holds": list(self.holds),
            "hangup": self.hangup,
            "ca": secrets.planted().authority.certificate,
        }
        return Plain(**json.loads(machine.eyes("plain_on_host", json.dumps(request))))
