"""What the tests do to an instance without the collection: a unit of systemd's, or a container."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.changes.on_host.commands import run

NGINX = "/usr/sbin/nginx"
LABEL = "skywalking.oap_proxy"
NUMBERED = "skywalking.oap_proxy.number"
SECONDS = 10.0
POLL_SECONDS = 0.01


@dataclass(frozen=True)
class Unit:
    """The nginx of a package, by the name of its unit."""

    name: str
    kind: str = "systemd"
    binary: str = NGINX

    def tested(self, configuration: Path) -> tuple[int, str]:
        """Return status and words of nginx's own test."""
        code, _out, words = run([NGINX, "-t", "-q", "-c", str(configuration)])
        return code, words

    def reload(self) -> None:
        """Have it read its configuration again."""
        _must(["systemctl", "reload", self.name])

    def boot(self) -> None:
        """Kill all of its processes, and start it from what is on disk."""
        _must(["systemctl", "kill", "--signal=KILL", self.name])
        until(
            lambda: run(["systemctl", "is-active", self.name])[1].strip() != "active",
            f"{self.name} does not notice that it was killed",
        )
        # Else the start would wait for the pause that the unit makes before it restarts.
        _must(["systemctl", "stop", self.name])
        _must(["systemctl", "start", self.name])

    def left(self) -> list[str]:
        """Return what the next run says that it has put right, beside the tree."""
        return []

    def rest(self) -> None:
        """Wait for what runs on by itself after a kill."""

    def strangers(self) -> list[str]:
        """Return what is there and does not serve."""
        return []


@dataclass(frozen=True)
class Contained:
    """The nginx of an image, by the name of its container."""

    name: str
    kind: str = "docker"
    binary: str = "nginx"

    @property
    def _next(self) -> str:
        return f"{self.name}-next"

    def _owned(self) -> list[dict[str, Any]]:
        ids = _must(["docker", "ps", "--all", "--quiet", f"--filter=label={LABEL}={self.name}"])
        return list(json.loads(_must(["docker", "inspect", *ids.split()]))) if ids else []

    def tested(self, configuration: Path) -> tuple[int, str]:
        """Return status and words of nginx's own test."""
        running = [one["Name"][1:] for one in self._owned() if one["State"]["Running"]]
        name = self.name if self.name in running else self._next
        code, _out, words = run(
            ["docker", "exec", name, self.binary, "-t", "-q", "-c", str(configuration)]
        )
        return code, words

    def reload(self) -> None:
        """Have it read its configuration again."""
        _must(["docker", "kill", "--signal=HUP", self.name])

    def boot(self) -> None:
        """Kill all of its containers, and start those that the engine starts at a boot."""
        owned = self._owned()
        for one in owned:
            if one["State"]["Running"]:
                _must(["docker", "kill", "--signal=KILL", one["Id"]])
        for one in owned:
            if one["HostConfig"]["RestartPolicy"]["Name"] == "always" and one["State"]["Pid"]:
                _must(["docker", "start", one["Id"]])

    def left(self) -> list[str]:
        """Return what the next run says that it has put right, beside the tree."""
        running = {one["Name"][1:]: one["State"]["Running"] for one in self._owned()}
        served = running.get(self._next) or (self._next in running and self.name not in running)
        return [f"container {self._next}"] if served and not running.get(self.name) else []

    def rest(self) -> None:
        """Wait for what runs on by itself after a kill: a test that had begun."""

        def testing() -> bool:
            return any(
                one["State"]["Running"] and NUMBERED not in one["Config"]["Labels"]
                and not one["Name"].endswith("-rehearsal")
                for one in self._owned()
            )  # fmt: skip

        until(lambda: not testing(), "a test of nginx's does not end")

    def strangers(self) -> list[str]:
        """Return what is there and does not serve, what drains left out."""
        names = {one["Name"][1:] for one in self._owned()} - {self.name}
        return sorted(name for name in names if not name.startswith(f"{self.name}-drains-"))

    def another(self) -> None:
        """Create one that is to take the place of the one that serves."""
        import docker  # noqa: PLC0415 - a host with a package has no such library

        client = docker.from_env()
        like = client.containers.get(self.name).attrs
        client.api.create_container_from_config(
            {**like["Config"], "HostConfig": like["HostConfig"]}, self._next
        )


def hands(name: str) -> Unit | Contained:
    """Return those for the proxy of a name."""
    unit = Path(f"/etc/systemd/system/{name}.service")
    return Unit(name) if unit.exists() else Contained(name)


def until(done: Callable[[], bool], wrong: str) -> None:
    """Wait for something that comes about by itself."""
    end = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < end, wrong
        time.sleep(POLL_SECONDS)


def _must(command: list[str]) -> str:
    code, out, words = run(command)
    assert code == 0, f"{' '.join(command)} ended with {code}: {words}"
    return out
