"""What a module documents, to be held against what it does."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args

# What Ansible itself puts into every result.
ANSIBLES = {"changed", "failed", "msg", "exception", "invocation", "warnings", "diff"}


COLLECTION = "ansible_collections.skywalking.oap_proxy"


def options(documentation: str) -> dict[str, Any]:
    """Return the options that a DOCUMENTATION describes, those of its fragments with them."""
    documented = yaml.safe_load(documentation)
    found = dict(documented.get("options", {}))
    for fragment in documented.get("extends_documentation_fragment", ()):
        name, _dot, section = fragment.removeprefix("skywalking.oap_proxy.").partition(".")
        module = importlib.import_module(f"{COLLECTION}.plugins.doc_fragments.{name}")
        shared = getattr(module.ModuleDocFragment, section.upper() or "DOCUMENTATION")
        described = yaml.safe_load(shared)["options"]
        assert not found.keys() & described.keys(), f"described twice, in {fragment} too"
        found.update(described)
    return found


def specification(documented: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument specification that a documentation of options describes."""
    found = {}
    for name, option in documented.items():
        kept = {key: option[key] for key in ("type", "elements", "choices") if key in option}
        if option.get("required"):
            kept["required"] = True
        if "default" in option:
            kept["default"] = option["default"]
        if "suboptions" in option:
            kept["options"] = specification(option["suboptions"])
        found[name] = kept
    return found


def without_no_log(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return an argument specification as far as a documentation can describe it."""
    found: dict[str, Any] = {}
    for name, option in arguments.items():
        found[name] = {key: value for key, value in option.items() if key != "no_log"}
        if "options" in option:
            found[name]["options"] = without_no_log(option["options"])
    return found


def returned(documentation: str, when: set[str]) -> set[str]:
    """Return the names that a RETURN documents as returned on one of these occasions."""
    values = yaml.safe_load(documentation)
    return {name for name, value in values.items() if value["returned"] in when}


def run(
    main: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    arguments: Mapping[str, Any],
    **modes: bool,
) -> dict[str, Any]:
    """Run a module as Ansible does, and return the one result that it prints."""
    given = {**arguments, **{f"_ansible_{mode}": value for mode, value in modes.items()}}
    with patch_module_args(given), pytest.raises(SystemExit) as ended:
        main()
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert bool(ended.value.code) == result.get("failed", False)
    return result
