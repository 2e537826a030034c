"""What is wrong in an inventory or with a host is said in words, before anything is written."""

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import bad_values
from tests.faults.bad_values import Case
from tests.faults.files import differences
from tests.faults.machine import EVERYTHING, Machine
from tests.faults.playbook import Failure, Hosts, Run, Variables, inventory, play
from tests.faults.site import GENERATION, VERIFY, Site, none_lost
from tests.faults.table import Story
from tests.hosts.spec import Lab

CASES = bad_values.cases()
UNRESOLVABLE = "bad-unresolvable"
NO_SYSTEMD = "bad-no-systemd"
# Everything that judges a value runs before the first task that changes something.
JUDGES = ("Refuse what is not in the specification", "Refuse what cannot work")
PIN = "/etc/apt/preferences.d/no-h2"
OAPS = {"oap1": {"oap_address": "192.0.2.11"}}

# Stand-ins for an nginx that cannot be a gRPC proxy: they print what `nginx -V` would.
STAND_IN = """\
#!/bin/sh
# A stand-in for nginx: it tells a version and a build, and does nothing else.
printf '%s\\n' '{version}' 'configure arguments: {arguments}' >&2
"""
UNFIT = {
    "old": (
        STAND_IN.format(version="nginx version: nginx/1.10.3", arguments="--with-http_v2_module"),
        "it is 1.10.3; gRPC came with 1.13.10",
    ),
    "no-grpc": (
        STAND_IN.format(
            version="nginx version: nginx/1.28.0",
            arguments="--with-http_v2_module --without-http_grpc_module",
        ),
        "it lacks http_grpc_module",
    ),
    "no-http2": (
        STAND_IN.format(version="nginx version: nginx/1.28.0", arguments="--with-http_ssl_module"),
        "it lacks http_v2_module",
    ),
    "silent": ("#!/bin/sh\n# A stand-in for nginx.\n", "it does not tell its version"),
}


@dataclass(frozen=True)
class Refused:
    """One run over all cases, and what it changed on the hosts, which must be nothing."""

    run: Run
    written: dict[str, dict[str, tuple[str, str]]]


def _inventory(path: Path, bare: Machine, without_systemd: Machine) -> Path:
    proxies: dict[str, Variables] = {}
    groups: dict[str, Hosts] = {}
    for name, case in CASES.items():
        group = str(case.settings.get("grpc_proxy_oap_group", f"oaps-{name}"))
        proxies[name] = {
            "grpc_proxy_oap_group": group,
            **case.settings,
            "ansible_host": bare.name,
        }
        if case.oaps is not None:
            groups[group] = case.oaps
    proxies[UNRESOLVABLE] = {"grpc_proxy_oap_group": "unresolvable", "ansible_host": bare.name}
    groups["unresolvable"] = {"far-oap": {"oap_address": "oap.invalid"}}
    proxies[NO_SYSTEMD] = {"ansible_host": without_systemd.name}
    groups["skywalking_oap"] = OAPS
    return inventory(path, proxies, groups)


@pytest.fixture(scope="module")
def refused(
    bare: Machine, without_systemd: Machine, tmp_path_factory: pytest.TempPathFactory
) -> Refused:
    """One run of site.yml on a bare host under many names, each with something wrong."""
    hosts = (bare, without_systemd)
    before = {host.name: host.listing(*EVERYTHING) for host in hosts}
    run = play(_inventory(tmp_path_factory.mktemp("bad") / "inventory.yml", *hosts))
    written = {
        host.name: differences(before[host.name], host.listing(*EVERYTHING)) for host in hosts
    }
    return Refused(run, written)


def judged(failure: Failure) -> bool:
    """Whether a host failed at a task that only judges."""
    return any(judge in failure.task for judge in JUDGES)


@pytest.mark.parametrize("name", CASES)
def test_bad_value_is_refused_by_host_and_variable(refused: Refused, name: str) -> None:
    """Each wrong value has a line with its host, its variable and what would do."""
    case: Case = CASES[name]
    failure = refused.run.failure(name)
    missing = [one for one in case.complaints if not one.is_told(failure.message)]
    assert not missing, f"not told: {missing}\ntold: {failure.message}"
    assert judged(failure), failure.task


def test_verify_refuses_the_same(bare: Machine, tmp_path: Path) -> None:
    """The other entry point says the same of the same inventory."""
    names = [name for name in CASES if "listen-" in name]
    path = inventory(
        tmp_path / "inventory.yml",
        {name: {**CASES[name].settings, "ansible_host": bare.name} for name in names},
        {"skywalking_oap": OAPS},
    )
    run = play(path, VERIFY)
    silent = {
        name: failure.message
        for name in names
        for failure in [run.failure(name)]
        if not judged(failure)
        or not all(one.is_told(failure.message) for one in CASES[name].complaints)
    }
    assert silent == {}


def test_every_variable_is_tried_with_hostile_text() -> None:
    """The cases hold every variable that there is: none can be added without one."""
    tried = {one.variable.replace("[0]", "") for case in CASES.values() for one in case.complaints}
    known = bad_values.variables("grpc_proxy").keys()
    settable = {name for name in known if not bad_values.is_deep(name)}
    assert settable >= bad_values.RAW
    assert settable | set(bad_values.oap_variables()) <= tried
    assert {"oap_address", "oap_port", "oap_weight", "oap_state"} <= set(bad_values.oap_variables())


def test_unresolvable_name_is_refused(refused: Refused) -> None:
    """A name that nginx could not resolve when it starts is told, with the reason."""
    message = refused.run.failure(UNRESOLVABLE).message
    for part in (UNRESOLVABLE, "far-oap", "oap.invalid", "oap_address", "next boot"):
        assert part in message


def test_host_without_systemd_is_refused(refused: Refused) -> None:
    """A host that systemd has not started is told so."""
    failure = refused.run.failure(NO_SYSTEMD)
    assert failure.message.startswith(f"{NO_SYSTEMD}: grpc_proxy_install is package")
    assert "systemd" in failure.message
    assert "Nothing was changed" in failure.message


def test_nothing_was_written(refused: Refused, story: Story) -> None:
    """After all of that the hosts are as they were: no package, no file, no unit."""
    assert set(refused.run.failures) == {*CASES, UNRESOLVABLE, NO_SYSTEMD}
    assert refused.written == {name: {} for name in refused.written}
    assert len(refused.written) == 2
    story.tell(f"{len(refused.run.failures)} bad inventories", "refused", "nothing, as before")


def test_no_h2_to_be_had(hosts: Lab, pinned: Machine, tmp_path: Path, story: Story) -> None:
    """Without python3-h2 nothing is left; once it is to be had, the same run works."""
    pinned.write(PIN, "Package: python3-h2\nPin: version *\nPin-Priority: -1\n")
    before = pinned.listing("/etc")
    oaps = {host.name: {"oap_address": host.address} for host in hosts.of_kind("oap")}
    path = inventory(
        tmp_path / "inventory.yml",
        {"proxy": {"ansible_host": pinned.name}},
        {"skywalking_oap": oaps},
    )
    message = play(path).failure("proxy").message
    for part in ("proxy: cannot install", "python3-h2", "No configuration was written"):
        assert part in message
    story.tell("no python3-h2 to be had", "cannot install", "nothing, as before")
    assert differences(before, pinned.listing("/etc")) == {}
    assert pinned.status("dpkg-query", "--show", "nginx") != 0

    pinned.run("rm", PIN)
    assert play(path).changed("proxy") > 0
    assert GENERATION.fullmatch(pinned.generation())
    assert pinned.unit("nginx.service", "LoadState", "ActiveState", "UnitFileState") == {
        "LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"
    }  # fmt: skip


def test_mask_of_a_killed_run(pinned: Machine, tmp_path: Path, hosts: Lab, story: Story) -> None:
    """A mask that a killed run left on nginx.service is taken away; a person's mask stays."""
    oaps = {host.name: {"oap_address": host.address} for host in hosts.of_kind("oap")}
    path = inventory(
        tmp_path / "inventory.yml",
        {"proxy": {"ansible_host": pinned.name}},
        {"skywalking_oap": oaps},
    )
    play(path).changed("proxy")
    pinned.run("systemctl", "enable", "nginx.service")
    pinned.run("ln", "-s", "../../../dev/null", "/etc/systemd/system/nginx.service")
    pinned.run("systemctl", "daemon-reload")
    assert pinned.unit("nginx.service", "LoadState") == {"LoadState": "masked"}
    assert play(path).changed("proxy") == 1
    assert pinned.unit("nginx.service", "LoadState", "ActiveState", "UnitFileState") == {
        "LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"
    }  # fmt: skip
    story.tell("mask of a killed run on nginx.service", "- (taken away)", "the usual one")

    pinned.run("systemctl", "mask", "nginx.service")
    assert play(path).changed("proxy") == 0
    assert pinned.unit("nginx.service", "LoadState") == {"LoadState": "masked"}
    pinned.run("systemctl", "unmask", "nginx.service")


def test_hostile_binary_is_refused(pinned: Machine, tmp_path: Path) -> None:
    """The path of nginx reaches the unit: what is no path of a program is told by its variable."""
    values = {
        "absent": "/opt/nginx/sbin/nginx",
        "directory": "/usr/sbin",
        **{
            ending: bad_values.hostile("nginx_package_binary", "/usr/sbin/nginx", ending)
            for ending in bad_values.ENDINGS
        },
    }
    proxies = {
        f"bad-binary-{name}": {
            "nginx_package_binary": value,
            "grpc_proxy_name": f"oap-{name}",
            "ansible_host": pinned.name,
        }
        for name, value in values.items()
    }
    path = inventory(tmp_path / "inventory.yml", proxies, {"skywalking_oap": OAPS})
    before = pinned.listing("/etc")
    run = play(path)
    assert differences(before, pinned.listing("/etc")) == {}
    silent = {
        name: message
        for name in proxies
        if not {name, "nginx_package_binary"} <= _words(message := run.failure(name).message)
    }
    assert silent == {}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\w-]+", text))


def test_unfit_nginx_is_refused(proxy: Site, story: Story) -> None:
    """An nginx that cannot be a gRPC proxy is told by what it lacks, and gets no configuration."""
    live = proxy.generation()
    proxies: dict[str, Variables] = {}
    for name, (stand_in, _reason) in UNFIT.items():
        binary = f"/usr/local/sbin/stand-in-{name}"
        proxy.machine.write(binary, stand_in, "0755")
        proxies[name] = {"grpc_proxy_name": f"oap-{name}", "nginx_package_binary": binary}
    before = proxy.machine.listing()
    with proxy.load() as load:
        run = proxy.play_on(proxies)
    for name, (_stand_in, reason) in UNFIT.items():
        message = run.failure(name).message
        binary = f"/usr/local/sbin/stand-in-{name}"
        for part in (f"{name}: {binary}", reason, "The configuration was not touched"):
            assert part in message
    assert differences(before, proxy.machine.listing()) == {}
    assert proxy.generation() == live
    none_lost(load)
    story.tell(f"{len(UNFIT)} stand-ins for an unfit nginx", "cannot be a proxy", "as before", load)
