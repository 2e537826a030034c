"""What ``nginx -V`` prints, as distributions build it, and builds that will not do."""

from __future__ import annotations

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.nginx_build import read_build

DEBIAN = """\
nginx version: nginx/1.22.1
built with OpenSSL 3.0.8 7 Feb 2023 (running with OpenSSL 3.0.15 3 Sep 2024)
TLS SNI support enabled
configure arguments: --prefix=/usr/share/nginx --with-pcre-jit --with-http_ssl_module \
--with-http_v2_module --with-stream=dynamic --with-mail=dynamic
"""


def test_debian() -> None:
    """Debian's nginx will do."""
    assert read_build(DEBIAN) == {
        "version": "1.22.1",
        "user": "www-data",
        "group": "",
        "with": ["http_ssl_module", "http_v2_module"],
        "without": [],
        "missing": [],
    }


@pytest.mark.parametrize("text", ["", "bash: nginx: command not found", "nginx version: nginx"])
def test_no_version(text: str) -> None:
    """What tells no version is no nginx."""
    assert read_build(text) == {
        "version": "",
        "user": "www-data",
        "group": "",
        "with": [],
        "without": [],
        "missing": ["it does not tell its version"],
    }


@pytest.mark.parametrize(
    ("argument", "user"),
    [
        ("--user=nginx --group=nginx", "nginx"),
        ("--user=_http", "_http"),
        # What would be something else in a configuration is no user.
        ("--user=a;b", "www-data"),
        ("--user='a b'", "www-data"),
        ("--http-user=other", "www-data"),
    ],
)
def test_user(argument: str, user: str) -> None:
    """The workers' user is that of the build; Debian's builds name none."""
    assert read_build(DEBIAN.replace("--with-pcre-jit", argument))["user"] == user
    assert read_build(f"{DEBIAN.rstrip()} {argument}")["user"] == user


def test_no_nginx() -> None:
    """Where there is none, that is said."""
    assert read_build(None)["missing"] == ["it is not there"]


@pytest.mark.parametrize(
    ("version", "old"),
    [
        ("1.13.9", True),
        ("1.9.99", True),
        ("0.99.99", True),
        ("1.13.10", False),
        ("1.14.0", False),
        ("2.0.0", False),
        ("1.31.4", False),
    ],
)
def test_floor(version: str, old: bool) -> None:
    """The first version with gRPC is the floor, compared by numbers."""
    found = read_build(DEBIAN.replace("1.22.1", version))
    expected = [f"it is {version}; gRPC came with 1.13.10"] if old else []
    assert (found["version"], found["missing"]) == (version, expected)


@pytest.mark.parametrize("name", ["openresty", "freenginx", "angie"])
def test_relatives(name: str) -> None:
    """Relatives of nginx tell their version the same way."""
    text = DEBIAN.replace("nginx/1.22.1", f"{name}/1.27.1.2")
    assert read_build(text)["version"] == "1.27.1"


def test_modules_that_lack() -> None:
    """Every module that is needed and lacks is named, with what the version lacks first."""
    text = DEBIAN.replace("1.22.1", "1.12.0").replace(
        "--with-http_v2_module", "--without-http_grpc_module --without-http_map_module"
    )
    assert read_build(text) == {
        "version": "1.12.0",
        "user": "www-data",
        "group": "",
        "with": ["http_ssl_module"],
        "without": ["http_grpc_module", "http_map_module"],
        "missing": [
            "it is 1.12.0; gRPC came with 1.13.10",
            "it lacks http_v2_module",
            "it lacks http_grpc_module",
            "it lacks http_map_module",
        ],
    }


def test_a_module_that_is_loaded() -> None:
    """A module that is built to be loaded is there."""
    dynamic = DEBIAN.replace("--with-http_v2_module", "--with-http_v2_module=dynamic")
    assert read_build(dynamic)["missing"] == []
    assert "http_v2_module" in read_build(dynamic)["with"]


def test_modules_that_nobody_needs() -> None:
    """A module left out that no configuration of ours uses is told, and does not matter."""
    text = DEBIAN.strip() + " --without-http_uwsgi_module --without-http_uwsgi_module\n"
    found = read_build(text)
    assert (found["without"], found["missing"]) == (["http_uwsgi_module"], [])


def test_user_and_group() -> None:
    """Where a build names both, the group need not be called like the user."""
    build = read_build(DEBIAN.replace("--with-pcre-jit", "--user=nobody --group=users"))
    assert (build["user"], build["group"]) == ("nobody", "users")
    assert read_build(DEBIAN.replace("--with-pcre-jit", "--group=users"))["group"] == ""
