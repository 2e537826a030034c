"""The repository on a host, as the tests ask for it: a stand-in for nginx.org's."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tests.faults.machine import Machine

ON_HOST = Path(__file__).with_name("on_host.py")
ROOT = "/srv/nginx-org"
WORK = "/srv/making"
PORT = 8099
UNIT = "nginx-org"


@dataclass(frozen=True)
class Repository:
    """A repository on a host, served to the host alone.

    :ivar suite: the code name of the host's Debian.
    :ivar upstream: the version of nginx in it.
    :ivar binary: the package of Debian's that holds the program.
    """

    machine: Machine
    suite: str
    upstream: str
    binary: str

    @property
    def url(self) -> str:
        """Where the host finds it."""
        return f"http://127.0.0.1:{PORT}"

    @property
    def versions(self) -> tuple[str, str]:
        """The versions of nginx's package, the newest last; newer than Debian's."""
        return f"{self.upstream}-90~{self.suite}", f"{self.upstream}-91~{self.suite}"

    def make(self) -> None:
        """Make it anew, and serve it."""
        asked = {
            "root": ROOT, "suite": self.suite, "versions": self.versions, "binary": self.binary,
        }  # fmt: skip
        self.machine.run("python3", "-c", ON_HOST.read_text("utf-8"), json.dumps(asked))
        if self.machine.state(f"{UNIT}.service") != "active":
            self.machine.run(
                "systemd-run", f"--unit={UNIT}", "python3", "-m", "http.server",
                "--bind", "127.0.0.1", "--directory", ROOT, str(PORT),
            )  # fmt: skip

    def key(self, name: str) -> str:
        """Return a public key: ``right`` signs the repository, ``other`` does not."""
        return self.machine.run("cat", f"{WORK}/{name}.asc") + "\n"

    def fingerprint(self, name: str) -> str:
        """Return the fingerprint of a key, as gpg tells it."""
        told = self.machine.run(
            "gpg", f"--homedir={WORK}/gnupg", "--batch", "--with-colons", "--fingerprint", name
        )
        found = re.search("^fpr:+([0-9A-F]{40}):", told, re.MULTILINE)
        assert found, told
        return found[1]

    def tamper(self, names: str, expression: str) -> None:
        """Edit files of the suite, as sed does, after they were signed."""
        place = f"{ROOT}/dists/{self.suite}"
        self.machine.run("sh", "-c", f'cd "$1" && sed -i "$2" {names}', "-", place, expression)

    def remove(self, name: str) -> None:
        """Take a file of the suite away."""
        self.machine.run("rm", f"{ROOT}/dists/{self.suite}/{name}")

    def lose_packages(self) -> None:
        """Take the packages away, apt's own copies too, and leave the lists that name them."""
        self.machine.run("sh", "-c", f"rm {ROOT}/pool/* && apt-get clean")
