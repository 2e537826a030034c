"""The filter ``nginx_build`` as a play calls it."""

from __future__ import annotations

from typing import Any

import yaml
from ansible_collections.skywalking.oap_proxy.plugins.filter import nginx_build
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.nginx_build import read_build


def test_filter_is_the_reader() -> None:
    """The filter is the reader, under the name of its file."""
    assert nginx_build.FilterModule().filters() == {"nginx_build": read_build}


def test_documentation() -> None:
    """The documentation is of this filter, which takes its input alone."""
    documented: dict[str, Any] = yaml.safe_load(nginx_build.DOCUMENTATION)
    assert documented["name"] == "nginx_build"
    assert set(documented["options"]) == {"_input"}
    assert read_build.__code__.co_argcount == 1
