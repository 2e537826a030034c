"""The filter ``inventory`` as a play calls it."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.skywalking.oap_proxy.plugins.filter import inventory
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import read


def test_filter_is_the_reader() -> None:
    """The filter is the reader, under the name of its file."""
    assert inventory.FilterModule().filters() == {"inventory": read}


def test_documentation_names_the_arguments() -> None:
    """What the documentation calls its options is what the filter takes, in that order."""
    documented: dict[str, Any] = yaml.safe_load(inventory.DOCUMENTATION)
    assert documented["name"] == "inventory"
    names = read.__code__.co_varnames[1 : read.__code__.co_argcount]
    assert tuple(documented["positional"].split(", ")) == names
    assert set(documented["options"]) == {"_input", *names}
