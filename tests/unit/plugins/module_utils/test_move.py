"""One nginx takes the place of another that is of another kind."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.error_log import Mark
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.instance_option import (
    from_options,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.move import Move

MARK = Mark(1, 0, 0.0)
CONFIGURATION = Path("/etc/nginx/oap-proxy/current/nginx.conf")


class Half:
    """One of the two: it notes what it is told, and answers with its name."""

    def __init__(self, name: str, runs: bool) -> None:
        self.name = name
        self.runs = runs
        self.told: list[str] = []

    def running(self) -> bool:
        """Whether it was started last."""
        return self.runs

    def start(self) -> tuple[bool, str]:
        """Run."""
        self.told.append("start")
        self.runs = True
        return True, self.name

    def stop(self) -> None:
        """Run no more."""
        self.told.append("stop")
        self.runs = False

    def reload(self) -> tuple[bool, str]:
        """Note it."""
        self.told.append("reload")
        return True, self.name

    def retire(self) -> None:
        """Run no more."""
        self.told.append("retire")
        self.runs = False

    def settle(self) -> list[str]:
        """Name itself."""
        return [self.name]

    def outdated(self) -> str:
        """Name itself."""
        return self.name

    def test(self, _configuration: Path) -> tuple[bool, str]:
        """Name itself."""
        return True, self.name

    rehearse = test

    def workers(self) -> set[int]:
        """One with the number of the letters."""
        return {len(self.name)} if self.runs else set()

    def stopped(self) -> str:
        """Name itself."""
        return self.name

    altered = stopped
    troubles = settle

    def mark(self) -> str:
        """Name itself."""
        return self.name

    def log_since(self, _mark: Mark) -> list[str]:
        """Name itself."""
        return [self.name]

    alerts_since = log_since

    def given_up(self, _mark: Mark, _before: set[int]) -> bool:
        """Only the one that was there before says so."""
        return self.name == "unit"


@pytest.fixture
def unit() -> Half:
    """What serves until now."""
    return Half("unit", runs=True)


@pytest.fixture
def container() -> Half:
    """What is to serve."""
    return Half("container", runs=False)


@pytest.fixture
def move(unit: Half, container: Half) -> Move:
    """From the one to the other."""
    return Move(unit, container, "oap-proxy")  # type: ignore[arg-type]


def seen(move: Move) -> list[object]:
    """Return everything that tells which of the two is looked at."""
    return [
        move.workers(),
        move.stopped(),
        move.altered(),
        move.troubles(),
        move.given_up(MARK, set()),
    ]


OF_UNIT = [{4}, "unit", "unit", ["unit"], True]
OF_CONTAINER = [{9}, "container", "container", ["container"], False]


def test_handed_over(move: Move, unit: Half, container: Half) -> None:
    """Beside it first, and the one before ends once the other is proven."""
    assert move.running()
    assert seen(move) == OF_UNIT
    assert "what serves as oap-proxy is to make way" in (move.outdated() or "")
    assert (move.inherits_ports, move.obstacle()) == (False, None)
    assert move.hand_over() == (True, "container")
    assert (unit.told, container.told) == ([], ["start"])
    assert seen(move) == OF_CONTAINER
    move.complete()
    assert (unit.told, container.told) == (["retire"], ["start"])
    assert move.outdated() == "container"
    move.retire()
    assert container.told == ["start", "retire"]


def test_taken_back(move: Move, unit: Half, container: Half) -> None:
    """What was not proven goes, and what served before was never told anything."""
    move.hand_over()
    move.take_back()
    assert (unit.told, container.told) == ([], ["start", "retire"])
    assert seen(move) == OF_UNIT


def test_both_run(move: Move, container: Half) -> None:
    """A run was killed: what was started reads what is on disk now."""
    container.runs = True
    assert move.hand_over() == (True, "container")
    assert container.told == ["reload"]


def test_restarted_and_back(move: Move, unit: Half, container: Half) -> None:
    """With a gap, where that is allowed: the one ends before the other begins."""
    assert move.restart() == (True, "container")
    assert (unit.told, container.told) == (["stop"], ["start"])
    assert seen(move) == OF_CONTAINER
    assert move.restart() == (True, "unit")
    assert (unit.told, container.told) == (["stop", "start"], ["start", "stop"])
    assert seen(move) == OF_UNIT


def test_nothing_serves(unit: Half, container: Half) -> None:
    """Then what is wanted is started like any other."""
    unit.runs = False
    move = Move(unit, container, "oap-proxy")  # type: ignore[arg-type]
    assert not move.running()
    assert move.start() == (True, "container")
    assert move.reload() == (True, "container")
    move.stop()
    assert (unit.told, container.told) == ([], ["start", "reload", "stop"])
    assert move.outdated() == "container"


def test_what_is_of_both_and_what_of_the_one_to_come(move: Move) -> None:
    """A configuration is tried with what is to serve, whose words tell what went wrong."""
    assert move.settle() == ["unit", "container"]
    assert move.test(CONFIGURATION) == (True, "container")
    assert move.rehearse(CONFIGURATION) == (True, "container")  # type: ignore[comparison-overlap]
    assert move.mark() == "container"  # type: ignore[comparison-overlap]
    assert move.log_since(MARK) == ["container"]
    assert move.alerts_since(MARK) == ["container"]


@pytest.mark.parametrize(
    ("kind", "before", "moves"),
    [
        ("docker", "systemd", True),
        ("systemd", "docker", True),
        ("systemd", None, False),
        ("docker", None, False),
        ("docker", "docker", False),
    ],
)
def test_the_option(kind: str, before: str | None, moves: bool) -> None:
    """There is a move only where the two are of different kinds."""

    def run(_command: list[str], **_more: bool) -> tuple[int, str, str]:
        return 0, "ActiveState=inactive\n", ""

    options = {"name": "oap-proxy", "binary": "nginx", "error_log": None, "runtime": None}
    instance = from_options({**options, "kind": kind, "moves_from": before}, run)
    assert isinstance(instance, Move) is moves
