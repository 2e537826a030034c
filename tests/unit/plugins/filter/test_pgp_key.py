"""The filter ``pgp_key`` as a play calls it."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.skywalking.oap_proxy.plugins.filter import pgp_key
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.pgp import read_key


def test_filter_is_the_reader() -> None:
    """The filter is the reader, under the name of its file."""
    assert pgp_key.FilterModule().filters() == {"pgp_key": read_key}


def test_documentation() -> None:
    """The documentation is of this filter and what it takes."""
    documented: dict[str, Any] = yaml.safe_load(pgp_key.DOCUMENTATION)
    assert documented["name"] == "pgp_key"
    assert set(documented["options"]) == {"_input", documented["positional"]}
    names = read_key.__code__.co_varnames[: read_key.__code__.co_argcount]
    assert names == ("text", "fingerprints")
