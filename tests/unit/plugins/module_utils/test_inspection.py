"""What is told of an engine, its containers and an image."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    NUMBER,
    OWNER,
    labels,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.inspection import inspect

from tests.unit.model_docker import ModelEngine


def told(engine: ModelEngine, name: str | None = "oap-proxy", image: str | None = "n:1") -> Any:
    """Return what is told."""
    return inspect(engine, name, image)  # type: ignore[arg-type]


def test_nothing_is_asked_of_who_has_no_container() -> None:
    """A host of the package need not have an engine."""
    engine = ModelEngine(silent="nobody there")
    assert told(engine, None) == {"engine": None, "containers": [], "image": None}


def test_an_engine_that_does_not_answer() -> None:
    """Why is an answer."""
    seen = told(ModelEngine(silent="nobody there"))
    assert seen["engine"]["error"] == "nobody there"
    assert (seen["containers"], seen["image"]) == ([], None)


def test_engine_containers_and_image() -> None:
    """Each container once, also one that is not ours; the image by its architecture and build."""
    security = ["name=seccomp,profile=default", "name=userns"]
    about = {"ServerVersion": "1.2", "Architecture": "x86_64", "SecurityOptions": security}
    curl = "curl 7.88.1\nFeatures: alt-svc HTTP2 IPv6"
    engine = ModelEngine(told=about, result=(0, f"nginx version: nginx/1.30.0\n\n{curl}"))
    # As docker takes one: an address within it.
    engine.networks["bridge"] = {"IPAM": {"Config": [{"Subnet": "172.17.0.5/16"}]}}
    engine.add("oap-proxy", labels={OWNER: "oap-proxy", NUMBER: "3"})
    engine.add("oap-proxy-next", labels={NUMBER: "many"}, state="created")
    engine.images["n:1"] = {"Id": "sha256:two", "Architecture": "amd64"}
    seen = told(engine)
    assert seen["engine"] == {
        "error": None, "version": "1.2", "architecture": "amd64", "remaps_users": True,
        "limits_memory": True, "gateways": ["172.17.0.1"],
    }  # fmt: skip
    assert [(one["name"], one["owner"], one["number"]) for one in seen["containers"]] == [
        ("oap-proxy", "oap-proxy", 3),
        ("oap-proxy-next", None, 0),
    ]
    assert seen["image"] == {
        "id": "sha256:two", "architecture": "amd64", "build": "nginx version: nginx/1.30.0",
        "asks_http2": True,
    }  # fmt: skip
    (ran,) = engine.ran
    assert ran["Entrypoint"] == ["sh"]
    assert ran["HostConfig"]["NetworkMode"] == "none"
    assert ran["Labels"] == labels("oap-proxy")


@pytest.mark.parametrize(
    ("curl", "asks"),
    [
        ("curl 7.88.1\nFeatures: HTTP2", True),
        ("curl 7.88.1\nFeatures: HTTP3", False),
        ("sh: 1: curl: not found, and HTTP2 neither", False),
        ("", False),
    ],
)
def test_a_curl_that_speaks_http2(curl: str, asks: bool) -> None:
    """What docker's health check needs."""
    engine = ModelEngine(result=(0, f"nginx version: nginx/1.30.0\n\n{curl}"))
    engine.images["n:1"] = {"Id": "sha256:two"}
    assert told(engine)["image"]["asks_http2"] is asks
    assert told(engine)["image"]["build"] == "nginx version: nginx/1.30.0"


def test_an_image_without_a_shell() -> None:
    """Its nginx is asked alone."""
    engine = ModelEngine(result=(0, "nginx version: nginx/1.30.0"), lacks="sh")
    engine.images["n:1"] = {"Id": "sha256:two"}
    seen = told(engine)["image"]
    assert (seen["build"], seen["asks_http2"]) == ("nginx version: nginx/1.30.0", False)
    assert engine.ran[-1]["Entrypoint"] == ["nginx"]
    assert engine.ran[-1]["Labels"] == labels("oap-proxy")
    engine.lacks = "sh nginx"
    assert told(engine)["image"]["build"] == "no nginx in there"


def test_the_address_that_the_engine_has_been_given() -> None:
    """Of its network, where it was asked for one; none where there is no network."""
    given = {"IPAM": {"Config": [{"Subnet": "10.9.0.0/24", "Gateway": "10.9.0.9"}]}}
    assert told(ModelEngine(networks={"bridge": given}))["engine"]["gateways"] == ["10.9.0.9"]
    assert told(ModelEngine())["engine"]["gateways"] == []


def test_a_kernel_that_limits_no_memory() -> None:
    """The engine would discard a limit, and tell that it has none."""
    assert told(ModelEngine(told={"MemoryLimit": False}))["engine"]["limits_memory"] is False


def test_an_image_that_is_not_there() -> None:
    """Null, and nothing is run."""
    engine = ModelEngine()
    assert told(engine)["image"] is None
    assert told(engine, image=None)["image"] is None
    assert engine.ran == []
