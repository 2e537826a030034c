"""A host of the laboratory with proxies by site.yml, and the collection's own code in it."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from docker.models.containers import Container

from tests.bench.deployment import inventory, site
from tests.hosts import inside, lab
from tests.hosts.paths import ROOT
from tests.hosts.progress import LabError
from tests.hosts.spec import Host, lab_named

LAB = "changes"
ENGINE = """\
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq --yes docker.io > /dev/null
"""
# While developing: the hosts stay up from run to run.
KEEP = "OAP_PROXY_KEEP_LAB"
PLACE = "/opt/oap-proxy-tests"
COLLECTION = "ansible_collections/skywalking/oap_proxy"
ON_HOST = Path(__file__).with_name("on_host")


@dataclass(frozen=True)
class ChangesHost:
    """proxy1 of the laboratory."""

    host: Host

    @property
    def container(self) -> Container:
        """What plays it."""
        return lab.container_of(self.host)

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command that runs one of our programs in the host."""
        name = f"tests.changes.on_host.{module}"
        python = ["env", f"PYTHONPATH={PLACE}", "python3", "-m", name]
        return ["docker", "exec", "--interactive", self.host.container, *python, *arguments]

    def run(self, module: str, *arguments: str) -> str:
        """Run one of our programs in the host, which must end well; return what it printed."""
        done = subprocess.run(
            self.command(module, *arguments),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            told = f"{done.stdout[-1000:]}{done.stderr[-3000:]}"
            raise LabError(f"{self.host.name}: {module} {' '.join(arguments)[:200]}: {told}")
        return done.stdout

    def shell(self, command: str) -> str:
        """Run a shell's command in the host, which must end well."""
        code, output = lab.run(self.container, ["sh", "-c", command])
        if code:
            raise LabError(f"{self.host.name}: {command[:200]} ended with {code}: {output[-2000:]}")
        return output

    def boot(self) -> None:
        """Cut the power: every process of the host ends at once, and it boots again."""
        container = self.container
        container.kill()
        container.start()
        lab.wait(container, self.host)

    def bring_code(self) -> None:
        """Copy module_utils and what runs in the host to where its Python finds them."""
        utils = ROOT / "plugins" / "module_utils"
        files = {f"{COLLECTION}/plugins/module_utils/{one.name}": one for one in utils.glob("*.py")}
        others = (ROOT / "tests" / name / "on_host.py" for name in ("bench", "faults"))
        ours = [*ON_HOST.glob("*.py"), *others]
        files |= {str(one.relative_to(ROOT)): one for one in ours}
        texts = {f"{PLACE}/{path}": one.read_text(encoding="utf-8") for path, one in files.items()}
        inside.put(self.container, texts, 0o644)


@contextmanager
def deployed(
    proxies: Mapping[str, Mapping[str, object]], laboratory: str = LAB, image: str = ""
) -> Iterator[ChangesHost]:
    """Have proxies on proxy1 in front of the real OAP, each by its name, and end it after.

    :param proxies: their group variables; the name is given to each.
    :param image: the image that they run, where they are containers.
    """
    one = lab_named(laboratory)
    oaps = {host.name: {"oap_address": host.address} for host in one.of_kind("oap")}
    named = {name: {"grpc_proxy_name": name, **given} for name, given in proxies.items()}
    first = dict(list(named.items())[:1])
    proxy = ChangesHost(one.host("proxy1"))
    fresh = not os.environ.get(KEEP)
    if fresh:
        lab.down(one)
    try:
        lab.up(one)
        if image:
            proxy.shell(f"set -e; {ENGINE}")
            lab.load(proxy.container, image)
        with tempfile.TemporaryDirectory() as folder:
            # They share one host, where apt takes one at a time: the first one installs.
            for some in (first, named) if len(named) > 1 else (first,):
                site(inventory(Path(folder) / "hosts.json", proxy.host, oaps, some))
        proxy.bring_code()
        for name in named:
            proxy.run("proxy", name)
        yield proxy
    finally:
        if fresh:
            lab.down(one)
