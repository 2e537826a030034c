"""What people may call an image, and mount."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.containers import (
    DIRECTORY,
    read_container,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from hypothesis import given
from hypothesis import strategies as st

GOOD: dict[str, Any] = {
    "grpc_proxy_container_image": "nginx:1.30",
    "grpc_proxy_container_memory": "1g",
    "grpc_proxy_container_mounts": [],
    "grpc_proxy_container_registry": {},
    "grpc_proxy_install": "container",
    "grpc_proxy_name": "oap-proxy",
    "grpc_proxy_reload_command": False,
}
DIGEST = f"@sha256:{'0' * 64}"


def complaints(**changed: Any) -> list[str]:
    """Return what is said of some settings."""
    reader = Reader("proxy1")
    read_container(reader, {**GOOD, **changed})
    return reader.complaints


@pytest.mark.parametrize(
    "image",
    [
        "nginx",
        "nginx:1.30",
        f"nginx{DIGEST}",
        f"registry.example:5000/team/nginx:1.30-alpine{DIGEST}",
        "localhost/nginx__own",
    ],
)
def test_images(image: str) -> None:
    """What docker takes as the name of an image."""
    assert complaints(grpc_proxy_container_image=image) == []


@pytest.mark.parametrize(
    "image", ["", "Nginx", "nginx:", "nginx:1.30\n", "-v /:/x nginx", "nginx@sha256:12", None, True]
)
def test_no_images(image: Any) -> None:
    """What docker would refuse, or read as something else."""
    (told,) = complaints(grpc_proxy_container_image=image)
    assert told.startswith("proxy1: grpc_proxy_container_image is ")
    assert "by tag or digest" in told


@pytest.mark.parametrize("memory", ["1", "1024", "700m", "1g", 0])
def test_sizes(memory: Any) -> None:
    """What docker takes as a size."""
    assert complaints(grpc_proxy_container_memory=memory) == []


@pytest.mark.parametrize("memory", ["", "-1", "1t", "1 g", "lots", True, None])
def test_no_sizes(memory: Any) -> None:
    """What it does not."""
    (told,) = complaints(grpc_proxy_container_memory=memory)
    assert told.startswith("proxy1: grpc_proxy_container_memory is ")


@given(st.text())
def test_a_mount_is_one_path(text: str) -> None:
    """Nothing that is taken has an option, a step back, or a second path in it."""
    if DIRECTORY.fullmatch(text):
        assert text.startswith("/")
        assert not {":", ",", "\n", " "} & set(text)
        assert not {"..", "."} & set(text.split("/"))
        assert text != "/"


@pytest.mark.parametrize("path", ["/", "etc", "/etc/../root", "/etc:/x", "/etc/./x", "/a b", 1])
def test_no_mounts(path: Any) -> None:
    """What is no plain directory, or all of the host."""
    (told,) = complaints(grpc_proxy_container_mounts=["/etc/ours", path])
    assert told.startswith("proxy1: grpc_proxy_container_mounts[1] is ")


def test_a_registry() -> None:
    """Both or none, and the password is not shown."""
    whole = {"url": "registry.example:5000", "username": "somebody", "password": "secret"}
    assert complaints(grpc_proxy_container_registry=whole) == []
    for key in ("username", "password"):
        lacking = {name: value for name, value in whole.items() if name != key}
        assert complaints(grpc_proxy_container_registry=lacking) == [
            f"proxy1: grpc_proxy_container_registry.{key} is missing; give username and password "
            "as text."
        ]
    (told,) = complaints(grpc_proxy_container_registry={**whole, "url": "a b"})
    assert "secret" not in told
    assert told.startswith("proxy1: grpc_proxy_container_registry.url is 'a b'")
    (told,) = complaints(grpc_proxy_container_registry=[whole])
    assert "secret" not in told


def test_no_command_on_the_host() -> None:
    """It is the package's alone, and that is said instead of leaving it out."""
    (told,) = complaints(grpc_proxy_reload_command=True)
    assert told.startswith("proxy1: grpc_proxy_reload_command is True; give false")
    assert complaints(grpc_proxy_reload_command=True, grpc_proxy_install="package") == []


@pytest.mark.parametrize("name", ["sw-next", "sw-rehearsal", "sw-drains-1"])
def test_a_name_of_a_passing_container(name: str) -> None:
    """It would be taken for one of the proxy with the rest of the name."""
    (told,) = complaints(grpc_proxy_name=name)
    assert told.startswith(
        f"proxy1: grpc_proxy_name is {name!r}; with grpc_proxy_install container"
    )
    assert complaints(grpc_proxy_name=name, grpc_proxy_install="package") == []
    assert complaints(grpc_proxy_name="next-sw") == []
