"""A proxy that site.yml has deployed, and changes of its configuration in process.

``python3 -m tests.changes.on_host.proxy NAME`` keeps what is live as the base of all changes: the
very lines that site.yml wrote, in two files in place of twenty, and three of its methods to be
proven. So a change is quick, and has few places where it can be killed, each of another kind.
"""

from __future__ import annotations

import json
import re
import sys
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    identity,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.grpc import Connection
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance import Instance
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    from_options,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Dial, Prover
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import (
    Inconclusive,
    Stage,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.systemd import (
    Run,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.transaction import (
    Settings,
    Transaction,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.tree import Tree

from tests.changes.on_host.commands import run
from tests.changes.on_host.hands import Contained, Unit, hands
from tests.faults.on_host import ask

BASES = Path("/opt/oap-proxy-tests/bases")
METHODS = (
    "/skywalking.v3.TraceSegmentReportService/collect",
    "/skywalking.v3.EventService/collect",
    "/oap_proxy.Proof/AnyOtherMethod",
)
SNIPPET = "server.d/90-snippet.conf"
# So that every change prunes a generation: what was before stays, and one older goes.
KEEP = 2
_INCLUDE = re.compile(r"^\s*include ([^;]+);$", re.MULTILINE)
_ROOM = "# room for a snippet"


@dataclass(frozen=True)
class Change:
    """Files and what they must answer, ready for a transaction.

    :ivar word: what makes it another generation.
    :ivar snippet: lines of nginx's in its server blocks.
    """

    word: str
    snippet: str
    files: tuple[File, ...]
    expectation: Expectation

    @property
    def generation(self) -> str:
        """The id that the files get together with their proof.json."""
        secrets = tuple(sorted(item.path for item in self.files if item.secret))
        told = replace(self.expectation, secrets=secrets)
        return identity([*self.files, File(PROOF_FILE, told.to_json())])


@dataclass(frozen=True)
class Proxy:
    """One proxy of this host, by its name."""

    name: str

    @property
    def root(self) -> Path:
        """Its tree of generations."""
        return Path("/etc/nginx") / self.name

    @property
    def hands(self) -> Unit | Contained:
        """What the tests do to its instance."""
        return hands(self.name)

    @property
    def tree(self) -> Tree:
        """The same as the collection sees it."""
        return Tree(str(self.root))

    @property
    def base(self) -> dict[str, Any]:
        """The files and listeners that changes start from."""
        kept: dict[str, Any] = json.loads((BASES / f"{self.name}.json").read_text())
        return kept

    def transaction(
        self, command: Run | None = None, dial: Dial = Connection, rehearses: bool = True
    ) -> Transaction:
        """Return a transaction as the module makes one.

        :param rehearses: it can rehearse; else what is wrong comes live, and is taken back.
        """
        instance = self.instance(command)
        if not rehearses:
            instance.rehearse = _rehearses_nothing  # type: ignore[method-assign]
        return Transaction(self.tree, instance, Prover(dial=dial), Settings(keep=KEEP))

    def change(self, word: str, snippet: str = "") -> Change:
        """Return the base with a word that makes it another generation, and a snippet."""
        base = self.base
        files = []
        for path, content, mode, secret in base["files"]:
            text = content
            if path == "nginx.conf":
                text = f"# change {word}\n" + content.replace(_ROOM, snippet)
            files.append(File(path, text.encode(), mode, secret))
        expectation = Expectation.from_json(json.dumps(base["proof"]).encode())
        return Change(word, snippet, tuple(files), expectation)

    def keep_base(self) -> None:
        """Keep what is live, in two files: nginx.conf, and what is secret."""
        here = self.root / "current"
        proof = json.loads((here / PROOF_FILE).read_text())
        assert set(METHODS) <= set(proof["methods"]), f"not proven by site.yml: {METHODS}"
        proof["methods"] = METHODS
        secrets = set(proof["secrets"])
        files: list[tuple[str, str, int, bool]] = [
            (path, (here / path).read_text(), 0o600, True) for path in sorted(secrets)
        ]
        files.append(("nginx.conf", self._inlined("nginx.conf", secrets), 0o644, False))
        BASES.mkdir(parents=True, exist_ok=True)
        kept = {"files": files, "proof": proof}
        (BASES / f"{self.name}.json").write_text(json.dumps(kept))

    def _inlined(self, path: str, kept: set[str]) -> str:
        here = self.root / "current"
        if path == SNIPPET:
            return _ROOM

        def content(match: re.Match[str]) -> str:
            found = sorted(str(one.relative_to(here)) for one in here.glob(match[1]))
            return "\n".join(
                f"include {one};" if one in kept or one == GENERATION_FILE
                else self._inlined(one, kept)
                for one in found
            )  # fmt: skip

        return _INCLUDE.sub(content, (here / path).read_text())

    # The eyes of the tests

    def disk(self) -> str:
        """Return the id that ``current`` points to, read without the collection."""
        return (self.root / "current").readlink().name

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.base["proof"]["listeners"][0]["port"])

    @property
    def drain_seconds(self) -> float:
        """How long its streams may go on after a reload."""
        text = next(
            text for path, text, _mode, _secret in self.base["files"] if path == "nginx.conf"
        )
        found = re.search(r"worker_shutdown_timeout (\d+)s;", text)
        assert found, "the drain time is not in seconds"
        return float(found[1])

    def live(self) -> str:
        """Return the id that the running nginx tells, or what came instead of one."""
        try:
            return ask("127.0.0.1", self.port).generation
        except OSError as error:
            return f"no answer: {error}"

    def workers(self) -> set[int]:
        """Return the worker processes that accept connections."""
        return self.instance().workers()

    def instance(self, command: Run | None = None) -> Instance:
        """Return its instance as the module sees it."""
        ours = self.hands
        options = {"kind": ours.kind, "name": self.name, "binary": ours.binary}
        return from_options({**options, "error_log": None, "runtime": None}, command or run)

    def left(self) -> list[str]:
        """Return what is neither a generation, nor a link to one, nor the lock."""
        places = [*self.root.iterdir(), *(self.root / "generations").iterdir()]
        return sorted(
            one.name for one in places if one.name.startswith(".") and one.name != ".lock"
        )


def _rehearses_nothing(configuration: Path) -> AbstractContextManager[Stage]:
    """Be as on a host where nothing can be rehearsed: staged."""
    raise Inconclusive(f"staged by the test, for {configuration}")


def main(name: str) -> None:
    """Keep the base, and leave nothing but it on disk."""
    proxy = Proxy(name)
    proxy.keep_base()
    for number in range(KEEP + 1):
        change = proxy.change(f"base {number}")
        proxy.transaction().run(change.files, change.expectation)


if __name__ == "__main__":
    main(sys.argv[1])
