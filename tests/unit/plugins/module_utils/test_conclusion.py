"""How a module ends: one result with its warnings, or one failure with its reason."""

from __future__ import annotations

from typing import Any, Callable

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import conclusion
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.conclusion import conclude
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    Outcome,
    TransactionError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State

ONE, TWO = "3f9c1a20b7e4", "91b0c7d2e6aa"


class Module:
    """What AnsibleModule is told, in its order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []

    def warn(self, warning: str) -> None:
        """Show a warning."""
        self.said.append(("warn", warning))

    def exit_json(self, **kwargs: Any) -> None:
        """End well."""
        self.said.append(("exit", kwargs))

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        """End with a failure."""
        self.said.append(("fail", {"msg": msg, **kwargs}))


@pytest.fixture
def module() -> Module:
    """A module that has said nothing yet."""
    return Module()


class Clock:
    """A clock that work alone moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that the end of a module looks at."""
    found = Clock()
    monkeypatch.setattr(conclusion, "time", found)
    return found


def outcome(**found: Any) -> Outcome:
    """Return what came of a run, a change but for what is given."""
    return Outcome(**{"changed": True, "state": State(ONE, TWO, TWO, True, TWO), **found})


def refusing(error: Exception) -> Callable[[], Outcome]:
    """Return work that ends with an error."""

    def work() -> Outcome:
        raise error

    return work


@pytest.mark.parametrize("changed", [True, False])
def test_success(module: Module, changed: bool) -> None:
    """One result, with all that an outcome tells, and nothing beside it."""
    told = outcome(changed=changed, action="reloaded", proof=[Row("0.0.0.0:1", ONE)])
    conclude(module, lambda: told)
    ((kind, result),) = module.said
    assert (kind, result.pop("changed"), result.pop("duration_ms")) == ("exit", changed, 0.0)
    assert result == told.as_result()
    assert (result["generation"], result["proof"][0]["listener"]) == (ONE, "0.0.0.0:1")


def test_warnings_come_first(module: Module) -> None:
    """What was found on the host, then what a person should read, each once and in its order."""
    conclude(module, lambda: outcome(drift=["b differs", "a differs"], alerts=["Mind d.", "Or c."]))
    kinds = [kind for kind, _told in module.said]
    assert kinds == ["warn", "warn", "warn", "warn", "exit"]
    assert [told for _kind, told in module.said[:-1]] == [
        "found on the host: b differs.",
        "found on the host: a differs.",
        "Mind d.",
        "Or c.",
    ]
    assert module.said[-1][1]["drift"] == ["b differs", "a differs"]


def test_what_one_module_returns_beside_the_others(module: Module) -> None:
    """It is made of the outcome, stands beside all else, and is told in the place of its like."""
    told = outcome(repaired=["x"])
    conclude(module, lambda: told, lambda given: {"same": given is told, "repaired": ["y"]})
    ((_kind, result),) = module.said
    assert (result["same"], result["repaired"], result["generation"]) == (True, ["y"], ONE)


def test_alerts_that_are_found_last_are_shown(module: Module) -> None:
    """What a module finds while it tells its own part is a warning like any other."""

    def more(given: Outcome) -> dict[str, Any]:
        given.alerts.append("Late.")
        given.drift.append("more differs")
        return {}

    conclude(module, outcome, more)
    kinds = [told for kind, told in module.said if kind == "warn"]
    assert kinds == ["found on the host: more differs.", "Late."]


def test_failure(module: Module) -> None:
    """One failure, with its reason and all that is known, and no result after it."""
    row = Row("0.0.0.0:1", TWO, fault="it is wrong")
    error = TransactionError("fallback", "It is wrong.", ["[emerg] x"], True, TWO, [row])
    asked: list[Outcome] = []

    def more(given: Outcome) -> dict[str, Any]:
        asked.append(given)
        return {}

    conclude(module, refusing(error), more)
    assert module.said == [
        (
            "fail",
            {
                "msg": "It is wrong.",
                "duration_ms": 0.0,
                "reason": "fallback",
                "nginx_log": ["[emerg] x"],
                "rolled_back": True,
                "generation": TWO,
                "proof": [row.as_result()],
                "repaired": [],
            },
        )
    ]
    assert asked == []


@pytest.mark.parametrize("error", [ValueError("a fault"), OSError("a disk")])
def test_what_nobody_foresaw_is_not_hidden(module: Module, error: Exception) -> None:
    """An error of another kind is neither a result nor a failure with a reason."""
    with pytest.raises(type(error)) as caught:
        conclude(module, refusing(error))
    assert (caught.value, module.said) == (error, [])


def test_the_duration_of_a_success(module: Module, clock: Clock) -> None:
    """In milliseconds to the thousandth, with what the module tells beside the others."""

    def work() -> Outcome:
        clock.now += 1.5
        return outcome()

    def more(_outcome: Outcome) -> dict[str, Any]:
        clock.now += 0.0123456
        return {}

    conclude(module, work, more)
    assert module.said[-1][1]["duration_ms"] == 1512.346


def test_the_duration_of_a_failure(module: Module, clock: Clock) -> None:
    """It is told as for a success."""

    def work() -> Outcome:
        clock.now += 20.0004567
        raise TransactionError("not_live", "It is not live.")

    conclude(module, work)
    assert module.said[-1][1]["duration_ms"] == 20000.457
