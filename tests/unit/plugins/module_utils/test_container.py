"""An nginx that is a container: what it is told, and what is told of it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import container as module
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import (
    instance_option,
    throw_away,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.container import (
    ContainerInstance,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import (
    NUMBER,
    OWNER,
    RUN,
    labels,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.rehearsal import Inconclusive
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.throw_away import Wanted

from tests.unit.model_docker import Container, ModelEngine

OURS = {OWNER: "oap-proxy"}
CANDIDATE = Path("/etc/nginx/oap-proxy/generations/0123456789ab/nginx.conf")


@pytest.fixture
def engine() -> ModelEngine:
    """An engine with one container of ours, which runs."""
    engine = ModelEngine()
    engine.add("oap-proxy", labels=OURS)
    return engine


@pytest.fixture
def instance(engine: ModelEngine, tmp_path: Path) -> ContainerInstance:
    """The instance."""
    log = str(tmp_path / "error.log")
    return ContainerInstance("oap-proxy", "nginx", log, Wanted(), engine)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("state", "running"),
    [("running", True), ("paused", True), ("restarting", False), ("exited", False)],
)
def test_running(
    instance: ContainerInstance, engine: ModelEngine, state: str, running: bool
) -> None:
    """One that the engine starts again and again does not run."""
    engine.there[0].state = state
    assert instance.running() is running


def test_an_engine_that_does_not_answer(instance: ContainerInstance, engine: ModelEngine) -> None:
    """Nothing runs then, and every command says why it was not done."""
    engine.silent = "the docker engine does not answer: no such file"
    assert not instance.running()
    assert instance.workers() == set()
    for done, words in (
        instance.start(),
        instance.reload(),
        instance.restart(),
        instance.hand_over(),
        instance.test(CANDIDATE),
    ):
        assert not done
        assert words == f"{engine.silent}."
    instance.stop()
    assert instance.outdated() is None
    assert instance.obstacle() is None
    assert instance.settle() == []


def test_commands(instance: ContainerInstance, engine: ModelEngine) -> None:
    """Each is one request of the engine's."""
    assert instance.reload() == (True, "")
    assert instance.start() == (True, "")
    instance.stop()
    assert engine.done == [
        ("oap-proxy", "kill", "HUP"),
        ("oap-proxy", "start"),
        ("oap-proxy", "stop", 10),
    ]


def test_one_that_restarts_is_ended_first(instance: ContainerInstance, engine: ModelEngine) -> None:
    """Else the engine would say that it runs already."""
    engine.there[0].state = "restarting"
    instance.start()
    assert engine.done == [("oap-proxy", "stop", 0), ("oap-proxy", "start")]


def test_what_is_refused_is_told(instance: ContainerInstance, engine: ModelEngine) -> None:
    """With the engine's own words."""
    engine.refuses = "the docker engine says: no"
    assert instance.reload() == (False, "the docker engine says: no.")
    engine.there.clear()
    assert instance.start() == (
        False,
        "there is no container oap-proxy; 'site.yml' makes it.",
    )
    assert instance.reload() == (False, "there is no container oap-proxy; 'site.yml' makes it.")


def test_a_test_is_a_container_of_its_own(instance: ContainerInstance, engine: ModelEngine) -> None:
    """With the image, the mounts and the network of the one that will serve."""
    engine.result = (1, "nginx: [emerg] no")
    assert instance.test(CANDIDATE) == (False, "nginx: [emerg] no")
    (ran,) = engine.ran
    assert ran["Image"] == "sha256:one"
    assert [*ran["Entrypoint"], *ran["Cmd"]] == ["nginx", "-t", "-q", "-c", str(CANDIDATE)]
    assert ran["HostConfig"]["NetworkMode"] == "host"
    assert ran["HostConfig"]["RestartPolicy"] == {"Name": "no"}
    assert ran["HostConfig"]["PortBindings"] == {}
    assert f"{CANDIDATE.parent}:{CANDIDATE.parent}:ro" in ran["HostConfig"]["Binds"]
    assert ran["Healthcheck"] == {"Test": ["NONE"]}


def test_what_is_to_come_tests(
    instance: ContainerInstance, engine: ModelEngine, tmp_path: Path
) -> None:
    """The one that is to take the place; in check mode, what is given of it."""
    engine.add("oap-proxy-next", labels=OURS, state="created", image="sha256:two")
    instance.test(CANDIDATE)
    mounted = f"{tmp_path}:{tmp_path}:ro"
    instance.wanted = Wanted("sha256:three", "bridge", (mounted, "/nowhere:/nowhere:ro"))
    instance.test(CANDIDATE)
    assert [ran["Image"] for ran in engine.ran] == ["sha256:two", "sha256:three"]
    hosts = [ran["HostConfig"] for ran in engine.ran]
    assert [host["NetworkMode"] for host in hosts] == ["host", "bridge"]
    # The engine would create what is not there.
    assert hosts[1]["Binds"] == [mounted, f"{CANDIDATE.parent}:{CANDIDATE.parent}:ro"]


def test_nothing_to_test_with(instance: ContainerInstance, engine: ModelEngine) -> None:
    """Without any container there is none to take after."""
    engine.there.clear()
    assert instance.test(CANDIDATE) == (
        False,
        "there is no container oap-proxy to test with.",
    )


def test_retired(instance: ContainerInstance, engine: ModelEngine) -> None:
    """It starts no more, and drains under a name that is not in the way; without one, nothing."""
    instance.retire()
    assert engine.done == [
        ("oap-proxy", "update", "no"),
        ("oap-proxy", "rename", "oap-proxy-drains-abc"),
        ("oap-proxy-drains-abc", "kill", "QUIT"),
    ]
    instance.retire()
    assert len(engine.done) == 3


def test_a_handover(instance: ContainerInstance, engine: ModelEngine) -> None:
    """Started beside; the name passes on before the first one is told to drain."""
    assert instance.outdated() is None
    engine.add("oap-proxy-next", labels=OURS, state="created", pid=4712)
    assert "oap-proxy-next is there to take its place" in (instance.outdated() or "")
    assert instance.obstacle() is None
    assert instance.hand_over() == (True, "")
    assert instance.running()
    instance.complete()
    assert engine.done == [
        ("oap-proxy-next", "start"),
        ("oap-proxy", "update", "no"),
        ("oap-proxy", "rename", "oap-proxy-drains-abc"),
        ("oap-proxy-next", "rename", "oap-proxy"),
        ("oap-proxy-drains-abc", "kill", "QUIT"),
    ]
    assert instance.outdated() is None


def test_a_handover_that_is_taken_back(instance: ContainerInstance, engine: ModelEngine) -> None:
    """The first one keeps its name and serves on; the other one ends its calls."""
    engine.add("oap-proxy-next", labels=OURS, state="created")
    engine.ends_at_start = True
    instance.hand_over()
    assert not instance.running()
    engine.done.clear()
    instance.take_back()
    assert instance.running()
    assert engine.done == [
        ("oap-proxy-next", "update", "no"),
        ("oap-proxy-next", "rename", "oap-proxy-drains-abc"),
        ("oap-proxy-drains-abc", "kill", "QUIT"),
        ("oap-proxy", "update", "always"),
    ]
    assert instance.outdated() is None
    engine.add("oap-proxy-next", labels=OURS, says="nginx: [emerg] no")
    engine.refuses = "the docker engine says: not now"
    instance.take_back()
    assert instance.log_since(instance.mark()) == ["nginx: [emerg] no"]
    assert ("oap-proxy-next", "remove") in engine.done


@pytest.mark.parametrize(("state", "done"), [("running", ("kill", "HUP")), ("created", ("start",))])
def test_a_handover_that_was_killed(
    instance: ContainerInstance, engine: ModelEngine, state: str, done: tuple[str, ...]
) -> None:
    """The one that serves already reads what is on disk now."""
    engine.add("oap-proxy-next", labels=OURS, state=state)
    assert instance.settle() == []
    assert instance.hand_over() == (True, "")
    assert engine.done == [("oap-proxy-next", *done)]


def test_a_power_cut_in_a_handover(instance: ContainerInstance, engine: ModelEngine) -> None:
    """The engine has started the one alone that was to stay, so it takes the name."""
    before = engine.there[0]
    before.state = "exited"
    following = engine.add("oap-proxy-next", labels=OURS, state="created")
    assert instance.settle() == []
    following.state = "running"
    assert instance.settle() == ["container oap-proxy-next"]
    assert (before.name, following.name) == ("oap-proxy-drains-abc", "oap-proxy")
    assert instance.running()
    assert instance.settle() == []
    assert engine.there == [following]


def test_taken_back_without_one_before(instance: ContainerInstance, engine: ModelEngine) -> None:
    """There is nothing to keep at work."""
    engine.there.clear()
    instance.take_back()
    assert engine.done == []


def test_published_ports_are_an_obstacle(instance: ContainerInstance, engine: ModelEngine) -> None:
    """The engine gives each of them to one container."""
    engine.add("oap-proxy-next", labels=OURS, state="created", network="bridge")
    assert "the ports of oap-proxy-next are published" in (instance.obstacle() or "")


def test_a_restart_takes_the_next_one(instance: ContainerInstance, engine: ModelEngine) -> None:
    """The one before ends, and stays until the next run; a gap is what was allowed."""
    before = engine.there[0]
    engine.add("oap-proxy-next", labels=OURS, state="created", pid=4712, restart="no")
    assert instance.restart() == (True, "")
    now = engine.container("oap-proxy")
    assert now
    assert (now.pid, now.state, now.restart) == (4712, "running", "always")
    assert (before.name, before.state, before.restart) == ("oap-proxy-drains-abc", "exited", "no")
    assert instance.settle() == []
    assert engine.there == [now]


def test_a_restart_of_one_that_has_just_ended(
    instance: ContainerInstance, engine: ModelEngine
) -> None:
    """The engine refuses to kill it; that is no reason not to start what is wanted."""
    engine.there[0].state = "exited"
    assert instance.restart() == (True, "")
    assert engine.there[0].state == "running"


@pytest.mark.parametrize("name", ["oap-proxy", "oap-proxy-next"])
def test_what_a_killed_run_has_left_alone_can_be_tested_with(
    engine: ModelEngine, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The one that was to take the place, without the one that had it."""
    monkeypatch.setattr(instance_option, "Engine", lambda: engine)
    options: dict[str, str | None] = {"kind": "docker", "name": "oap-proxy"}
    engine.there[0].name = name
    assert instance_option.missing(options) == []
    engine.there.clear()
    assert instance_option.missing(options) == ["the container oap-proxy"]
    engine.silent = "nobody there"
    assert instance_option.missing(options) == ["nobody there"]


@pytest.mark.parametrize("serves", [True, False])
@pytest.mark.parametrize("running", [True, False])
def test_the_way_back_from_a_restart(
    instance: ContainerInstance, engine: ModelEngine, running: bool, serves: bool
) -> None:
    """The one before is there again, and what the other one has said is kept."""
    before = engine.there[0]
    before.state = "running" if running else "restarting"
    engine.add("oap-proxy-next", labels=OURS, state="created", says="nginx: [emerg] no")
    assert (instance.restart if running else instance.start)() == (True, "")
    found = engine.container("oap-proxy")
    assert found
    found.state = "running" if serves else "exited"
    assert (instance.restart if serves else instance.start)() == (True, "")
    assert engine.there == [before]
    assert (before.name, before.state, before.restart) == ("oap-proxy", "running", "always")
    assert instance.log_since(Mark(0, 0, 0.0)) == ["nginx: [emerg] no"]


def test_what_a_killed_run_has_left(instance: ContainerInstance, engine: ModelEngine) -> None:
    """What drained goes, what drains is told so, and one that has lost its name gets it."""
    engine.there.clear()
    engine.add("oap-proxy-next", labels=OURS)
    engine.add("oap-proxy-drains-1", labels=OURS, state="exited")
    engine.add("oap-proxy-drains-2", labels=OURS)
    ended = {**OURS, RUN: f"{os.getpid()}.1"}
    engine.add("oap-proxy-rehearsal", labels=ended)
    engine.add("test-that-was-left", labels=ended, state="exited")
    engine.add("test-of-another-run", labels=labels("oap-proxy"), state="created")
    engine.add("renamed-by-hand", labels={**OURS, NUMBER: "1"}, state="exited")
    engine.add("of-somebody-else", state="exited")
    assert instance.settle() == ["container oap-proxy-next"]
    assert ("oap-proxy-drains-2", "kill", "QUIT") in engine.done
    assert sorted(one.name for one in engine.there) == [
        "oap-proxy", "oap-proxy-drains-2", "of-somebody-else", "renamed-by-hand",
        "test-of-another-run",
    ]  # fmt: skip
    assert instance.settle() == []


def test_paused_and_stopped(
    instance: ContainerInstance, engine: ModelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both act on nothing, and each is told with what ends it."""
    assert instance.stopped() is None
    engine.there[0].state = "paused"
    assert "'docker unpause oap-proxy'" in (instance.stopped() or "")
    engine.there[0].state = "running"
    stopped = type("Process", (), {"state": "T"})()
    monkeypatch.setattr(module, "process", lambda _pid: stopped)
    assert "'kill -CONT 4711'" in (instance.stopped() or "")
    assert instance.troubles()


def test_workers_by_the_hosts_ids_and_their_own(
    instance: ContainerInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The log names a worker by its id in the container."""
    titles = [(100, "nginx: worker process"), (101, "nginx: worker process is shutting down")]
    monkeypatch.setattr(module, "children", lambda _pid: titles)
    monkeypatch.setattr(module, "_own_id", lambda pid: pid - 93)
    assert instance.workers() == {100}
    mark = instance.mark()
    died = "2026/01/01 00:00:00 [alert] 1#1: worker process 7 exited on signal 11\n"
    (tmp_path / "error.log").write_text(died, encoding="ascii")
    assert instance.given_up(mark, set())
    assert not instance.given_up(mark, {100})


def test_own_id_of_this_process() -> None:
    """Outside of a container both are one."""
    assert module._own_id(os.getpid()) == os.getpid()
    assert module._own_id(2**22 + 1) == 2**22 + 1


def test_words_of_before_the_log_was_opened(
    instance: ContainerInstance, engine: ModelEngine
) -> None:
    """They are the container's alone."""
    forced = '[error] no live upstreams, upstream: "grpc://oap_proxy_unavailable"'
    engine.there[0].says = f"nginx: [emerg] mkdir() failed\nand more\n{forced}\n"
    assert instance.log_since(Mark(0, 0, time.time())) == ["nginx: [emerg] mkdir() failed"]
    assert instance.alerts_since(instance.mark()) == []
    assert instance.altered() is None


def test_a_rehearsal_that_does_not_start(
    instance: ContainerInstance, engine: ModelEngine, tmp_path: Path
) -> None:
    """It says nothing of the configuration, in nginx's own words; and nothing is left of it."""
    (tmp_path / "nginx.conf").write_text("upstream x { server oap.invalid:1; }", encoding="ascii")
    engine.ends_at_start = True
    with (
        pytest.raises(Inconclusive, match="it did not start"),
        instance.rehearse(tmp_path / "nginx.conf"),
    ):
        pass
    assert [one.name for one in engine.there] == ["oap-proxy"]
    engine.there.clear()
    with (
        pytest.raises(Inconclusive, match="no container oap-proxy"),
        instance.rehearse(tmp_path / "nginx.conf"),
    ):
        pass


def test_a_rehearsal_has_nothing_of_the_hosts(
    instance: ContainerInstance,
    engine: ModelEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """No network, and no place of the host's to write to."""
    (tmp_path / "nginx.conf").write_text("events {}", encoding="ascii")
    kept: list[tuple[str, dict[str, Any]]] = []
    create = engine.create

    def keeps(name: str, config: dict[str, Any]) -> Container:
        kept.append((name, config))
        return create(name, config)

    monkeypatch.setattr(engine, "create", keeps)
    engine.ends_at_start = True
    with pytest.raises(Inconclusive), instance.rehearse(tmp_path / "nginx.conf"):
        pass
    ((name, config),) = kept
    assert name == "oap-proxy-rehearsal"
    host = config["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert all(bind.endswith(":ro") for bind in host["Binds"])
    assert str(tmp_path) in host["Tmpfs"]
    assert config["Labels"] == labels("oap-proxy")


@pytest.mark.parametrize(
    ("looks", "says", "ends"),
    [(3, "", False), (1, "[alert] 1#1: worker process 7 exited with fatal code 2", False),
     (1, "", True)],
    ids=["workers", "died", "ended"],
)  # fmt: skip
def test_a_rehearsal_waits_until_nginx_listens(
    engine: ModelEngine, monkeypatch: pytest.MonkeyPatch, looks: int, says: str, ends: bool
) -> None:
    """Who asks before would be refused, as if the configuration had called somebody else."""
    looked: list[int] = []

    def children(pid: int) -> list[tuple[int, str]]:
        looked.append(pid)
        return [(9, "nginx: worker process")] if len(looked) == looks and not says else []

    monkeypatch.setattr(throw_away, "children", children)
    container = engine.there[0]
    container.says = says
    container.state = "exited" if ends else "running"
    master = throw_away._master(container, container.says.splitlines)
    assert (master, len(looked)) == ((0, 0) if ends else (4711, looks))


@pytest.mark.parametrize("name", ["oap-proxy", "oap-proxy-next"])
def test_a_container_of_somebody_else(
    instance: ContainerInstance, engine: ModelEngine, name: str
) -> None:
    """It is never told anything, and every command that would need its name says so."""
    engine.there.clear()
    if name != "oap-proxy":
        engine.add("oap-proxy", labels=OURS)
    engine.add(name, labels={OWNER: "another"}, state="exited")
    assert instance.settle() == []
    for done, words in (instance.start(), instance.restart()):
        assert not done
        assert f"the container {name} is not of the proxy oap-proxy" in words
    assert not instance.hand_over()[0]
    assert instance.outdated() is None
    instance.complete()
    instance.take_back()
    assert [what for what in engine.done if what[0] == name] == []


def test_one_that_was_refused_is_not_taken_over(engine: ModelEngine, tmp_path: Path) -> None:
    """Who only reloads starts what site.yml has created no more than what site.yml was refused."""
    log = str(tmp_path / "error.log")
    reloads = ContainerInstance("oap-proxy", "nginx", log, Wanted(created=False), engine)  # type: ignore[arg-type]
    left = engine.add("oap-proxy-next", labels=OURS, state="created", image="sha256:refused")
    assert reloads.outdated() is None
    engine.there[0].state = "exited"
    assert reloads.start() == (True, "")
    assert reloads.restart() == (True, "")
    assert (left.name, left.state) == ("oap-proxy-next", "created")
    assert reloads.test(CANDIDATE)[0]
    assert engine.ran[-1]["Image"] == "sha256:one"
    # One that was started serves, where a run was killed: that is gone on with.
    left.state = "running"
    assert "is there to take its place" in (reloads.outdated() or "")


def test_the_next_one_is_gone(instance: ContainerInstance, engine: ModelEngine) -> None:
    """Somebody has removed it meanwhile: what serves keeps its name."""
    instance.complete()
    assert [one.name for one in engine.there] == ["oap-proxy"]
    assert instance.hand_over() == (
        False,
        "there is no container oap-proxy-next; 'site.yml' makes it.",
    )
