"""Where the access log goes, and how much of it is kept."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.access_log import (
    TARGETS,
    read_access_log,
)
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.reader import Reader
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.inventories import TEXTS, clean

KNOWN = ["jvm", "keep_alive", "others", "shop"]


def log(**given: Any) -> tuple[dict[str, Any], list[str]]:
    """Read a grpc_proxy_access_log; return what it says, and the complaints."""
    reader = Reader("proxy1")
    return read_access_log(reader, given, KNOWN, "oap-proxy"), reader.complaints


def test_nothing_set() -> None:
    """A file, and a sample of what every agent sends all the time."""
    assert log() == (
        {
            "to": "file",
            "syslog": "",
            "journal": "unix:/dev/log",
            "tag": "oap_proxy",
            "sample": {"jvm": "1", "keep_alive": "1"},
        },
        [],
    )
    assert log(sample={})[0]["sample"] == log(sample=None)[0]["sample"] == {}


@pytest.mark.parametrize("target", ["file", "stdout", "off"])
def test_targets(target: str) -> None:
    """Each by its name."""
    found, complaints = log(to=target)
    assert (found["to"], complaints) == (target, [])


def test_a_bare_off() -> None:
    """YAML reads it as false."""
    found, complaints = log(to=False)
    assert (found["to"], complaints) == ("off", [])


@pytest.mark.parametrize("target", ["on", True, None, 0, "", ["file"], "/var/log/x", "file; }"])
def test_targets_that_do_not_do(target: Any) -> None:
    """There are four."""
    assert log(to=target)[1] == [
        f"proxy1: grpc_proxy_access_log.to is {target!r}; choose one of {', '.join(TARGETS)}."
    ]


@pytest.mark.parametrize(
    ("server", "written"),
    [
        ("10.0.0.9:514", "10.0.0.9:514"),
        ("[fd00::1]:514", "[fd00::1]:514"),
        ("[FD00:0::1]:514", "[fd00::1]:514"),
        ("unix:/dev/log", "unix:/dev/log"),
        ("unix:/run/systemd/journal/dev-log", "unix:/run/systemd/journal/dev-log"),
    ],
)
def test_servers(server: str, written: str) -> None:
    """Host and port, or a socket."""
    found, complaints = log(to="syslog", syslog_server=server)
    assert (found["syslog"], complaints) == (written, [])


@pytest.mark.parametrize(
    "server",
    [
        "logs.example:514",
        "10.0.0.9",
        "10.0.0.9:",
        ":514",
        "10.0.0.9:0",
        "10.0.0.9:65536",
        "10.0.0.9:99999",
        "10.0.0.9:514,tag=x",
        "10.0.0.9:514; }",
        "10.0.0.9:514\n",
        "fd00::1:514",
        "[fd00::1:514",
        "[10.0.0.9]:514",
        "[fd00::1%eth0]:514",
        "unix:dev/log",
        "unix:",
        "unix:/dev/log x",
        "unix:514",
        514,
        True,
        ["10.0.0.9:514"],
        {"host": "10.0.0.9"},
    ],
)
def test_servers_that_do_not_do(server: Any) -> None:
    """Told with both forms that do."""
    found, complaints = log(to="syslog", syslog_server=server)
    assert found["syslog"] == ""
    assert complaints == [
        f"proxy1: grpc_proxy_access_log.syslog_server is {server!r}; give ADDRESS:PORT or "
        "unix:/dev/log."
    ]


@pytest.mark.parametrize("server", [None, ""])
def test_no_server(server: Any) -> None:
    """A syslog needs one."""
    assert log(to="syslog", syslog_server=server)[1] == [
        "proxy1: grpc_proxy_access_log.syslog_server is missing; "
        "give ADDRESS:PORT or unix:/dev/log."
    ]


def test_a_server_for_nothing() -> None:
    """One that nothing would use is told."""
    assert log(syslog_server="10.0.0.9:514")[1] == [
        "proxy1: grpc_proxy_access_log.syslog_server is '10.0.0.9:514'; it is used with to: "
        "syslog only."
    ]


@pytest.mark.parametrize(
    ("percent", "written"),
    [(0, "0"), (1, "1"), ("10", "10"), (0.5, "0.5"), ("12.34", "12.34"), (1.0, "1.0")],
)
def test_samples(percent: Any, written: str) -> None:
    """A percentage of the calls of one kind, or of one service."""
    found, complaints = log(sample={"jvm": percent, "shop": percent})
    assert (found["sample"], complaints) == ({"jvm": written, "shop": written}, [])


@pytest.mark.parametrize("percent", [100, "100"])
def test_all_of_it(percent: Any) -> None:
    """All of it is no sample."""
    assert log(sample={"jvm": percent})[0]["sample"] == {}


@pytest.mark.parametrize(
    "percent", [101, -1, "1%", "half", None, "", True, 0.123, "1e1", "5; }", "5\n", [5], "\u0661"]
)
def test_samples_that_do_not_do(percent: Any) -> None:
    """The kind is named."""
    assert log(sample={"jvm": percent})[1] == [
        f"proxy1: grpc_proxy_access_log.sample.jvm is {percent!r}; give a percentage from 0 to "
        "100, such as 0.5 or 10."
    ]


@pytest.mark.parametrize("kind", ["jvms", "", 7, None, "a b"])
def test_samples_of_no_kind(kind: Any) -> None:
    """A kind that is none is told with those that there are."""
    assert log(sample={kind: 5})[1] == [
        f"proxy1: grpc_proxy_access_log.sample.{kind} is 5; choose among {', '.join(KNOWN)}."
    ]


@pytest.mark.parametrize("sample", [5, "jvm=5", ["jvm"]])
def test_samples_that_are_no_dictionary(sample: Any) -> None:
    """A percentage belongs to a kind."""
    assert log(sample=sample)[1] == [
        f"proxy1: grpc_proxy_access_log.sample is {sample!r}; give a dictionary."
    ]


@given(text=TEXTS | st.builds("{}:514".format, TEXTS) | st.builds("unix:/{}".format, TEXTS))
def test_no_text_passes(text: str) -> None:
    """Either it is complained about, or what is read of it is clean."""
    for given_value in ({"to": text}, {"to": "syslog", "syslog_server": text}):
        found, complaints = log(**given_value)
        assert complaints or (clean(found["to"]) and clean(found["syslog"]))
    found, complaints = log(sample={"jvm": text})
    assert complaints or all(clean(value) for value in found["sample"].values())
