"""What is told of an engine, its containers and an image."""

from __future__ import annotations

from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import NUMBER, OWNER
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
    engine = ModelEngine(told=about, result=(0, "nginx version: nginx/1.30.0"))
    engine.add("oap-proxy", labels={OWNER: "oap-proxy", NUMBER: "3"})
    engine.add("oap-proxy-next", labels={NUMBER: "many"}, state="created")
    engine.images["n:1"] = {"Id": "sha256:two", "Architecture": "amd64"}
    seen = told(engine)
    assert seen["engine"] == {
        "error": None, "version": "1.2", "architecture": "amd64", "remaps_users": True,
        "limits_memory": True,
    }  # fmt: skip
    assert [(one["name"], one["owner"], one["number"]) for one in seen["containers"]] == [
        ("oap-proxy", "oap-proxy", 3),
        ("oap-proxy-next", None, 0),
    ]
    assert seen["image"] == {
        "id": "sha256:two", "architecture": "amd64", "build": "nginx version: nginx/1.30.0",
    }  # fmt: skip
    (ran,) = engine.ran
    assert [*ran["Entrypoint"], *ran["Cmd"]] == ["nginx", "-V"]
    assert ran["HostConfig"]["NetworkMode"] == "none"


def test_a_kernel_that_limits_no_memory() -> None:
    """The engine would discard a limit, and tell that it has none."""
    assert told(ModelEngine(told={"MemoryLimit": False}))["engine"]["limits_memory"] is False


def test_an_image_that_is_not_there() -> None:
    """Null, and nothing is run."""
    engine = ModelEngine()
    assert told(engine)["image"] is None
    assert told(engine, image=None)["image"] is None
    assert engine.ran == []
