"""The filters ``inventory``, ``secrets`` and ``paths_on_host`` as a play calls them."""

from __future__ import annotations

import inspect
from typing import Any

import yaml
from ansible_collections.skywalking.oap_proxy.plugins.filter import inventory
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import (
    Inventory,
    paths_on_host,
    read,
    read_secrets,
)


def test_filters_are_the_readers() -> None:
    """The filters are the readers, under the names that the role calls them by."""
    assert inventory.FilterModule().filters() == {
        "inventory": read,
        "secrets": read_secrets,
        "paths_on_host": paths_on_host,
    }


def test_documentation_names_the_arguments() -> None:
    """What the documentation calls its options is what the filter takes, in that order."""
    documented: dict[str, Any] = yaml.safe_load(inventory.DOCUMENTATION)
    assert documented["name"] == "inventory"
    names = [name for name in inspect.signature(Inventory).parameters if name != "settings"]
    assert documented["positional"].split(", ") == names
    assert set(documented["options"]) == {"_input", *names}
