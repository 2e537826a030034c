"""The docker engine: a connection to it, and whether it reaches an image registry."""

import functools

import docker
import requests
from docker.errors import APIError, DockerException

from tests.hosts.progress import LabError, say

REGISTRY_SECONDS = 8


def connect(timeout: int = 120) -> docker.DockerClient:
    """Return a client of the engine that answers on this machine."""
    try:
        client = docker.from_env(timeout=timeout)
        client.ping()
    except (DockerException, requests.RequestException) as error:
        raise LabError(
            f"no docker engine answers ({error}); run tests/hosts/bootstrap.sh as root"
        ) from error
    return client


@functools.cache
def registry_has(image: str) -> bool:
    """Whether the engine reaches an image registry that has this image."""
    try:
        connect(timeout=REGISTRY_SECONDS).api.inspect_distribution(image)
    except (APIError, requests.RequestException) as error:
        say(f"no registry with {image} within reach, building it instead ({_short(error)})")
        return False
    return True


def _short(error: Exception) -> str:
    text = str(getattr(error, "explanation", None) or error)
    return text if len(text) < 120 else text[:117] + "..."
