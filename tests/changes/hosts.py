"""A host of the laboratory that gets the collection's own code, and proxies by site.yml."""

from pathlib import Path

from docker.models.containers import Container

from tests.hosts import lab
from tests.hosts.paths import ROOT

PLACE = "/opt/oap-proxy-tests"
COLLECTION = "ansible_collections/skywalking/oap_proxy"
ON_HOST = Path(__file__).with_name("on_host")


def bring_code(container: Container) -> None:
    """Copy module_utils and what runs in the host to where its Python finds them."""
    utils = ROOT / "plugins" / "module_utils"
    files = {f"{COLLECTION}/plugins/module_utils/{one.name}": one for one in utils.glob("*.py")}
    ours = [*ON_HOST.glob("*.py"), ROOT / "tests" / "faults" / "on_host.py"]
    files |= {str(one.relative_to(ROOT)): one for one in ours}
    texts = {f"{PLACE}/{path}": one.read_text(encoding="utf-8") for path, one in files.items()}
    lab.put(container, texts, 0o644)


def python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs one of our programs in a host."""
    name = f"tests.changes.on_host.{module}"
    return ["env", f"PYTHONPATH={PLACE}", "python3", "-m", name, *arguments]
