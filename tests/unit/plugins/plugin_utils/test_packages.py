"""Where the package nginx comes from, as people say it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.inventories import SETTINGS, complaint, reading
from tests.unit.plugins.plugin_utils.test_pgp import FINGERPRINT, KEY

ORG = "nginx.org"


def package(**settings: Any) -> dict[str, Any]:
    """Return what the role nginx_package is told."""
    found = reading(**{f"grpc_proxy_package_{name}": value for name, value in settings.items()})
    assert found["complaints"] == []
    told: dict[str, Any] = found["package"]
    return told


def refused(**settings: Any) -> str:
    """Return the one complaint."""
    return complaint(**{f"grpc_proxy_package_{name}": value for name, value in settings.items()})


def test_distribution() -> None:
    """Without a word it is the distribution's, whatever else is set for the day it is not."""
    assert package(channel="mainline", repository="https://mirror.example/n")["repository"] == ""
    assert (package()["version"], package()["hold"]) == ("", False)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({}, "https://nginx.org/packages/debian"),
        ({"channel": "mainline"}, "https://nginx.org/packages/mainline/debian"),
        (
            {"channel": "mainline", "repository": "http://10.0.0.1:8080/nginx/"},
            "http://10.0.0.1:8080/nginx/",
        ),
        ({"repository": "http://[fd00::1]/nginx"}, "http://[fd00::1]/nginx"),
    ],
)
def test_repository(settings: dict[str, Any], url: str) -> None:
    """It is nginx.org's for the channel, or a mirror of one's own."""
    assert package(source=ORG, **settings)["repository"] == url


@pytest.mark.parametrize(
    "repository",
    [
        "ftp://mirror.example/nginx", "mirror.example", "https://", "https://-x/", "file:///srv",
        "https://user:word@mirror.example/nginx", "https://mirror.example/nginx debian",
        "https://mirror.example/\nSigned-By: /tmp/key", "https://mirror.example/$x", None, 1,
    ],
)  # fmt: skip
def test_no_repository(repository: Any) -> None:
    """What is no address of http or https is refused, and so is one with a password."""
    assert "grpc_proxy_package_repository is" in refused(source=ORG, repository=repository)


@pytest.mark.parametrize("version", ["1.30.4", "1.30.4-1~bookworm", "1.22.1-9+deb12u3", ""])
def test_version(version: str) -> None:
    """A version of nginx, or of its package."""
    assert package(version=version)["version"] == version


@pytest.mark.parametrize(
    "version", ["latest", "1.30.*", "1.30.4 ", "=1.30.4", "1.30.4\n", "v1", []]
)
def test_no_version(version: Any) -> None:
    """What would be something else to apt, or a pattern, is refused."""
    assert "give a version such as" in refused(version=version)


def test_key() -> None:
    """Text is taken with its fingerprint; what is to be fetched is judged when it is there."""
    assert package(source=ORG, key=KEY, fingerprints=[FINGERPRINT])["key"] == KEY
    assert package(source=ORG)["key"] == "https://nginx.org/keys/nginx_signing.key"
    told = refused(source=ORG, key=KEY)
    assert f"grpc_proxy_package_key has the fingerprint {FINGERPRINT}" in told


@pytest.mark.parametrize("key", ["", "/etc/apt/key.asc", "mDMEawPsuRYJ", None, 1, []])
def test_no_key(key: Any) -> None:
    """What is neither text of a key nor an address is refused."""
    assert "give the text of a PGP PUBLIC KEY BLOCK" in refused(key=key)


def test_private_key() -> None:
    """A private key is refused, and not shown."""
    told = refused(key=KEY.replace("PUBLIC", "PRIVATE"))
    assert "(not shown)" in told
    assert KEY.splitlines()[2] not in told


@pytest.mark.parametrize(
    ("fingerprints", "where"),
    [
        ([], ""), (None, ""), (FINGERPRINT, ""), ([FINGERPRINT[:-1]], "[0]"),
        ([FINGERPRINT, "x" * 40], "[1]"), ([FINGERPRINT + "\n"], "[0]"), ([1], "[0]"),
    ],
)  # fmt: skip
def test_no_fingerprints(fingerprints: Any, where: str) -> None:
    """Whole fingerprints are wanted, and one at least."""
    told = refused(fingerprints=fingerprints)
    assert f"grpc_proxy_package_fingerprints{where} is" in told


def test_fingerprints_are_told_as_they_are_compared() -> None:
    """However they are written."""
    spaced = f"{FINGERPRINT[:4]} {FINGERPRINT[4:]}".lower()
    assert package(fingerprints=[spaced])["fingerprints"] == [FINGERPRINT]
    assert len(SETTINGS["grpc_proxy_package_fingerprints"]) == 3


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"source": "debian"}, "choose one of distribution, nginx.org"),
        ({"channel": "edge"}, "choose one of stable, mainline"),
        ({"hold": "perhaps"}, "give true or false"),
    ],
)
def test_choices(settings: dict[str, Any], remedy: str) -> None:
    """What there is to choose is told."""
    assert remedy in refused(**settings)
