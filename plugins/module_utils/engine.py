# Copyright: The skywalking.oap_proxy authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The docker engine of a host: its containers by name, and containers that run once."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.processes import process

try:
    import docker
    from docker.errors import APIError, DockerException, NotFound

    DOCKER_IMPORT_ERROR = None
except ImportError:  # pragma: no cover
    DOCKER_IMPORT_ERROR = traceback.format_exc()

    # So that the names can be caught where the library is not there.
    class DockerException(Exception):  # type: ignore[no-redef]
        """Stands in for the library's."""

    APIError = NotFound = DockerException  # type: ignore[misc,assignment]

OWNER = "skywalking.oap_proxy"
"""The label of every container of ours; its value is the name of the proxy."""
NUMBER = "skywalking.oap_proxy.number"
"""The label that counts the containers that one proxy has had."""
RUN = "skywalking.oap_proxy.run"
"""The label of a container that a run has for itself: the process, and when it began."""

_SECONDS = 60


class EngineError(Exception):
    """The engine does not answer, or has refused; a sentence without its full stop."""


@contextmanager
def said() -> Iterator[None]:
    """Turn what the library raises into a sentence.

    :raises EngineError: with the engine's own words where it has some.
    """
    try:
        yield
    except APIError as error:
        words = str(getattr(error, "explanation", None) or error).strip().rstrip(".")
        raise EngineError(f"the docker engine says: {words}") from error
    except (DockerException, OSError) as error:  # OSError: what requests raises as well
        raise EngineError(f"the docker engine does not answer: {_innermost(error)}") from error


def _innermost(error: BaseException) -> str:
    """Return the words of what has caused it: those around it name Python's objects."""
    while error.__context__ is not None:
        error = error.__context__
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


class Engine:
    """The engine of this host, by its socket or as the environment says.

    :param client: of the library docker; made when it is needed first where there is none.
    """

    def __init__(self, client: Any = None) -> None:
        self._client = client

    @property
    def client(self) -> Any:
        """The library's client.

        :raises EngineError: when the library is missing, or nothing answers.
        """
        if self._client is None:
            if DOCKER_IMPORT_ERROR:
                raise EngineError("python3-docker is missing on the host")
            with said():
                self._client = docker.from_env(timeout=_SECONDS)
        return self._client

    def info(self) -> dict[str, Any]:
        """Return what the engine tells of itself.

        :raises EngineError: when it does not answer.
        """
        with said():
            return dict(self.client.info())

    def container(self, name: str) -> Any:
        """Return the container of a name as it is now, or None.

        :raises EngineError: when the engine does not answer.
        """
        with said():
            try:
                return self.client.containers.get(name)
            except NotFound:
                return None

    def own(self, name: str, owner: str) -> Any:
        """Return the container of a name as it is now, or None.

        :raises EngineError: when the engine does not answer, and when it is somebody else's.
        """
        found = self.container(name)
        if found is not None and found.labels.get(OWNER) != owner:
            raise EngineError(
                f"the container {name} is not of the proxy {owner}, which needs that name: rename "
                "it, or take another grpc_proxy_name"
            )
        return found

    def owned(self, owner: str) -> list[Any]:
        """Return all containers that bear a proxy's label, running or not.

        :raises EngineError: when the engine does not answer.
        """
        with said():
            found = self.client.containers.list(
                all=True, filters={"label": f"{OWNER}={owner}"}, ignore_removed=True
            )
        return list(found)

    def image(self, reference: str) -> dict[str, Any] | None:
        """Return what the engine knows of an image that it has; None where it has not.

        :raises EngineError: when the engine does not answer.
        """
        with said():
            try:
                return dict(self.client.api.inspect_image(reference))
            except NotFound:
                return None

    def network(self, name: str) -> dict[str, Any]:
        """Return what the engine knows of a network; nothing where it has none of that name.

        :raises EngineError: when the engine does not answer.
        """
        with said():
            try:
                return dict(self.client.api.inspect_network(name))
            except NotFound:
                return {}

    def create(self, name: str | None, config: Mapping[str, Any]) -> Any:
        """Create a container from the engine's own description of one.

        :raises EngineError: when the engine refuses.
        """
        with said():
            made = self.client.api.create_container_from_config(dict(config), name)
            return self.client.containers.get(made["Id"])

    def once(self, config: Mapping[str, Any]) -> tuple[int, str]:
        """Run a container to its end and remove it; return its exit status and all it said.

        :raises EngineError: when the engine refuses.
        """
        container = self.create(None, config)
        try:
            with said():
                container.start()
                status = int(container.wait(timeout=_SECONDS)["StatusCode"])
                text = container.logs(stdout=True, stderr=True)
        finally:
            with said():
                container.remove(force=True, v=True)
        return status, text.decode(errors="replace").strip()


def labels(owner: str) -> dict[str, str]:
    """Return the labels of a container that ends with this run, or after it was killed."""
    pid = os.getpid()
    return {OWNER: owner, RUN: f"{pid}.{process(pid).started}"}


def is_over(labelled: Mapping[str, str]) -> bool:
    """Tell from its labels whether the run has ended that a container was there for."""
    pid, _point, started = labelled.get(RUN, "0.0").partition(".")
    return process(int(pid)).started != int(started) or started == "0"


def bare(image: str, command: list[str], owner: str) -> dict[str, Any]:
    """Describe a container that may do nothing but run a command of an image.

    :param owner: the proxy for which.
    """
    return {
        "Image": image,
        "Entrypoint": command[:1],
        "Cmd": command[1:],
        "Labels": labels(owner),
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": True,
        },
    }
