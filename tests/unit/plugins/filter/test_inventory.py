"""The filters ``inventory``, ``secrets`` and ``paths_on_host`` as a play calls them."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.doc_fragments import inventory as fragment
from ansible_collections.skywalking.oap_proxy.plugins.filter import (
    inventory,
    paths_on_host,
    secrets,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import (
    Inventory,
    read,
    read_secrets,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.inventory import (
    paths_on_host as inventory_paths_on_host,
)


def test_filters_are_the_readers() -> None:
    """The filters are the readers, under the names that the role calls them by."""
    assert inventory.FilterModule().filters() == {"inventory": read}
    assert secrets.FilterModule().filters() == {"secrets": read_secrets}
    assert paths_on_host.FilterModule().filters() == {"paths_on_host": inventory_paths_on_host}


@pytest.mark.parametrize("plugin", [inventory, secrets])
def test_documentation_names_the_arguments(plugin: ModuleType) -> None:
    """What the documentation calls its options is what the filter takes, in that order."""
    documented: dict[str, Any] = yaml.safe_load(plugin.DOCUMENTATION)
    names = [name for name in inspect.signature(Inventory).parameters if name != "settings"]
    assert documented["positional"].split(", ") == names
    assert documented["extends_documentation_fragment"] == ["skywalking.oap_proxy.inventory"]
    shared = yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)
    assert set(shared["options"]) == {"_input", *names}
