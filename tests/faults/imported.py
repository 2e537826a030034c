"""What every run of ansible-playbook imports, imported once; each run is a fork of this.

Imported by the server of forks alone, which tests/faults/playbook.py starts: Ansible reads its
settings from the environment when it is imported.
"""

import gc
import os
import sys
import warnings
from importlib import import_module
from pathlib import Path

from tests.hosts.paths import ROOT

FORKS = 10

for _name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
    del os.environ[_name]
os.environ.update(
    {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_CALLBACK_PLUGINS": str(Path(__file__).with_name("callback")),
        "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).with_name("connection")),
        "ANSIBLE_STDOUT_CALLBACK": "results",
        "ANSIBLE_FORKS": str(FORKS),
        "ANSIBLE_NOCOLOR": "1",
        # What every module was asked for, in its results.
        "ANSIBLE_INJECT_INVOCATION": "1",
    }
)

from ansible.cli.playbook import PlaybookCLI  # noqa: E402
from ansible.parsing.dataloader import DataLoader  # noqa: E402
from ansible.plugins.loader import init_plugin_loader  # noqa: E402
from ansible.template import Templar, trust_as_template  # noqa: E402

# Ansible compiles what is in a collection anew each time that it imports it.
init_plugin_loader()
for _kind in ("filter", "lookup", "module_utils", "plugin_utils"):
    for _path in (ROOT / "plugins" / _kind).glob("*.py"):
        import_module(f"ansible_collections.skywalking.oap_proxy.plugins.{_kind}.{_path.stem}")
warnings.filterwarnings("ignore", "AnsibleCollectionFinder has already been configured")
# Each fork would make what reads templates, and look for Ansible's own filters.
Templar(DataLoader()).template(trust_as_template("{{ ['a'] | map('string') | join }}"))

# A collection of garbage in a fork would write to what is shared, and so copy it.
gc.collect()
gc.freeze()


def run(arguments: list[str], output: str, errors: str) -> None:
    """Be ansible-playbook, with what it prints in two files."""
    os.setsid()
    os.chdir(ROOT)
    for descriptor, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        os.dup2(os.open(path, mode), descriptor)
    sys.argv = ["ansible-playbook", *arguments]
    PlaybookCLI.cli_executor(sys.argv)
