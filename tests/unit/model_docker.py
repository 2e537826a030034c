"""A docker engine in memory: what containers there are, and what was done to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.engine import EngineError


@dataclass
class Container:
    """One container, as the library docker shows it."""

    engine: ModelEngine
    name: str
    state: str = "running"
    image: str = "sha256:one"
    labels: dict[str, str] = field(default_factory=dict)
    pid: int = 4711
    network: str = "host"
    says: str = ""
    status_code: int = 0
    config: dict[str, Any] = field(default_factory=dict)
    restart: str = "always"

    @property
    def id(self) -> str:
        """An id of its own."""
        return f"id-of-{id(self)}"

    @property
    def short_id(self) -> str:
        """A short one."""
        return "abc"

    @property
    def status(self) -> str:
        """The state in a word."""
        return self.state

    @property
    def attrs(self) -> dict[str, Any]:
        """What the engine tells."""
        running = self.state in {"running", "restarting", "paused"}
        return {
            "Image": self.image,
            "State": {
                "Running": running,
                "Restarting": self.state == "restarting",
                "Paused": self.state == "paused",
                "Pid": self.pid if running else 0,
            },
            "HostConfig": {
                "NetworkMode": self.network,
                "Binds": ["/etc/nginx/oap-proxy:/etc/nginx/oap-proxy:ro", "/var/log/x:/var/log/x"],
                "Tmpfs": {"/run/oap-proxy": ""},
            },
        }

    def _did(self, *what: Any) -> None:
        self.engine.done.append((self.name, *what))
        if self.engine.refuses:
            raise EngineError(self.engine.refuses)

    def start(self) -> None:
        """Run it."""
        self._did("start")
        self.state = "exited" if self.engine.ends_at_start else "running"

    def stop(self, timeout: int) -> None:
        """End it."""
        self._did("stop", timeout)
        self.state = "exited"

    def kill(self, signal: str) -> None:
        """Send a signal."""
        self._did("kill", signal)
        if self.state == "exited":
            raise EngineError(f"the docker engine says: {self.name} is not running")
        if signal in {"TERM", "QUIT", "KILL"}:
            self.state = "exited"

    def update(self, restart_policy: dict[str, str]) -> None:
        """Change whether it is started again."""
        self._did("update", restart_policy["Name"])
        self.restart = restart_policy["Name"]

    def rename(self, name: str) -> None:
        """Give it another name, which nobody may have."""
        self._did("rename", name)
        assert self.engine.container(name) is None
        self.name = name

    def remove(self, force: bool, v: bool) -> None:
        """Take it away."""
        assert force
        assert v
        self._did("remove")
        if self in self.engine.there:
            self.engine.there.remove(self)

    def wait(self, timeout: int) -> dict[str, int]:
        """Wait for its end."""
        assert timeout
        return {"StatusCode": self.status_code}

    def reload(self) -> None:
        """Look again."""

    def logs(self, **_of: Any) -> bytes:
        """Return what it has said."""
        return self.says.encode()


@dataclass
class ModelEngine:
    """What :class:`engine.Engine` is to those that use it."""

    there: list[Container] = field(default_factory=list)
    done: list[tuple[Any, ...]] = field(default_factory=list)
    silent: str = ""
    """Why it does not answer."""
    refuses: str = ""
    """Why it does nothing."""
    ends_at_start: bool = False
    ran: list[dict[str, Any]] = field(default_factory=list)
    result: tuple[int, str] = (0, "")
    lacks: str = ""
    """Programs that no image has."""
    networks: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, dict[str, Any]] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, **about: Any) -> Container:
        """Have one more container."""
        self.there.append(Container(self, name, **about))
        return self.there[-1]

    def _answer(self) -> None:
        if self.silent:
            raise EngineError(self.silent)

    def info(self) -> dict[str, Any]:
        """See Engine."""
        self._answer()
        return self.told

    def container(self, name: str) -> Container | None:
        """See Engine."""
        self._answer()
        return next((one for one in self.there if one.name == name), None)

    def own(self, name: str, owner: str) -> Container | None:
        """See Engine."""
        found = self.container(name)
        if found and found.labels.get("skywalking.oap_proxy") != owner:
            raise EngineError(f"the container {name} is not of the proxy {owner}")
        return found

    def owned(self, owner: str) -> list[Container]:
        """See Engine."""
        self._answer()
        return [one for one in self.there if one.labels.get("skywalking.oap_proxy") == owner]

    def image(self, reference: str) -> dict[str, Any] | None:
        """See Engine."""
        self._answer()
        return self.images.get(reference)

    def network(self, name: str) -> dict[str, Any]:
        """See Engine."""
        self._answer()
        return self.networks.get(name, {})

    def create(self, name: str, config: dict[str, Any]) -> Container:
        """See Engine."""
        self._answer()
        return self.add(name, state="created", config=config)

    def once(self, config: dict[str, Any]) -> tuple[int, str]:
        """See Engine."""
        self._answer()
        self.ran.append(config)
        (program,) = config["Entrypoint"]
        if program in self.lacks.split():
            raise EngineError(f"no {program} in there")
        return self.result
