"""Playbooks generations and rollback on a host, with calls and streams going on."""

import re
from dataclasses import dataclass
from typing import Any

import pytest

from tests.capabilities.conftest import Proxies
from tests.capabilities.deployment import VERIFY, Deployment
from tests.faults.playbook import Run, Variables
from tests.faults.site import none_lost, steady
from tests.hosts.load import Load
from tests.hosts.streams import held

PORT = 13950
HELD_PORT = 13951
ROLLBACK, GENERATIONS = "playbooks/rollback.yml", "playbooks/generations.yml"
RELOAD = "skywalking.oap_proxy.nginx_reload"
CONFIG = "skywalking.oap_proxy.nginx_config"
DEBUG = "ansible.builtin.debug"
EDIT = "# edited in the night"
SECRET = "of-the-night-shift"  # noqa: S105

# As by default: then no call is lost.
ONE: dict[str, Any] = {"grpc_proxy_worker_processes": 1}
FIRST: dict[str, Any] = {
    **ONE,
    "grpc_proxy_listen": [{"port": PORT}, {"port": HELD_PORT}],
    "grpc_proxy_oap_token": SECRET,
}
SECOND = {**ONE, "grpc_proxy_stream_timeout": "2h"}
THIRD = {**ONE, "grpc_proxy_stream_timeout": "3h"}


@dataclass
class History:
    """A proxy that was configured three times, and the ids of that."""

    proxy: Deployment
    first: str = ""
    second: str = ""
    third: str = ""

    @property
    def live(self) -> str:
        """The id that the running nginx answers with."""
        return self.proxy.machine.generation(PORT)

    def link(self, name: str) -> str:
        """Return the id that one of the tree's links leads to."""
        return self.proxy.machine.run("readlink", f"{self.proxy.root}/{name}").rpartition("/")[2]

    def back(self, to: str = "", *arguments: str, settings: Variables | None = None) -> Run:
        """Run the playbook that goes back, with the inventory of the last configuration."""
        named = {"grpc_proxy_generation": to} if to else {}
        return self.proxy.play({**(settings or THIRD), **named}, *arguments, playbook=ROLLBACK)

    def listed(self) -> dict[str, str]:
        """Return what the playbook that lists generations says of each, the youngest first."""
        run = self.proxy.play(THIRD, playbook=GENERATIONS)
        assert run.changed() == 0
        found = {}
        for line in run.of_module(DEBUG)["msg"]:
            told = re.fullmatch(r"([0-9a-f]{12})  (\d{4}-\S+\+00:00)  (.*)", line)
            assert told, line
            found[told[1]] = told[3]
        return found


@pytest.fixture(scope="module")
def configured(proxies: Proxies) -> History:
    """Three configurations, one after the other, on a tree without any of before."""
    made = History(proxies("rollback", PORT))
    made.proxy.machine.run("sh", "-c", f"systemctl stop rollback; rm -rf {made.proxy.root}")
    for name, settings in (("first", FIRST), ("second", SECOND), ("third", THIRD)):
        made.proxy.deploy(settings)
        setattr(made, name, made.live)
    assert len({made.first, made.second, made.third}) == len(made.proxy.generations())
    return made


@pytest.fixture
def history(configured: History) -> History:
    """The third is live, and the second was before it."""
    links = configured.link("current"), configured.link("previous")
    if links != (configured.third, configured.second):
        if configured.link("current") != configured.second:
            configured.proxy.deploy(SECOND)
        configured.proxy.deploy(THIRD)
    assert configured.live == configured.link("proven") == configured.third
    assert configured.link("previous") == configured.second
    return configured


def told(run: Run) -> str:
    """Return what the playbook says in the end."""
    return str(run.of_module(DEBUG)["msg"])


def test_list(history: History) -> None:
    """All are listed with their time, and which of them is what."""
    listed = history.listed()
    assert list(listed)[-1] == history.first
    assert listed == {
        history.third: "live, current, proven",
        history.second: "previous",
        history.first: "kept",
    }


def test_previous(history: History) -> None:
    """Back one step, proven, no call lost and no stream cut; once more is forth again."""
    with Load(history.proxy.target) as load, held(history.proxy.target, None) as (stream,):
        steady(load)
        run = history.back()
        assert run.changed() == 1
        steady(load)
        stream.send()
        assert stream.end() == "OK"
    none_lost(load)
    result = run.of_module(RELOAD)
    assert (result["action"], result["generation"]) == ("reloaded", history.second)
    assert not [row for row in result["proof"] if row["fault"]]
    assert history.live == history.second
    assert f"Went back to generation {history.second}" in told(run)
    assert f"{history.third} was on disk and {history.third} live" in told(run)
    listed = history.listed()
    assert (listed[history.second], listed[history.third]) == ("live, current, proven", "previous")
    assert history.back("previous").changed() == 1
    assert history.live == history.third


def test_named(history: History) -> None:
    """To one that is named; a second run has nothing to do, and the next site.yml undoes it."""
    proxy = history.proxy
    assert history.back(history.first).changed() == 1
    assert history.live == history.first
    again = history.back(history.first)
    assert again.changed() == 0
    assert f"Nothing to do, live already is generation {history.first}" in told(again)
    message = proxy.play(THIRD, playbook=VERIFY).failure().message
    assert (
        f"what is live is not what the inventory says (generation {history.third} is wanted, "
        f"{history.first} is on disk, {history.first} is live)"
    ) in message
    checked = proxy.play(THIRD, "--check").of_module(CONFIG)
    assert (checked["changed"], checked["generation"]) == (True, history.third)
    assert (checked["live"], checked["drift"]) == (history.first, [])
    assert history.live == history.first
    assert proxy.play(THIRD).changed() == 1
    assert history.live == history.third


@pytest.mark.parametrize("wrong", ["0123456789ab", "../../etc", "current", "3F9C1A20B7E4"])
def test_unknown(history: History, wrong: str) -> None:
    """One that is not there is refused; those that are there are named."""
    failure = history.back(wrong).failure()
    assert "Nothing was changed" in failure.message
    if wrong == "0123456789ab":
        assert failure.result["reason"] == "rejected"
        for there in (history.first, history.second, history.third):
            assert there in failure.message
    else:
        assert "an id of twelve hexadecimal digits" in failure.message
    assert history.live == history.third


def test_edited(history: History) -> None:
    """One that was edited is not gone back to: nobody knows what it would do."""
    machine, root = history.proxy.machine, history.proxy.root
    file = f"{root}/generations/{history.second}/nginx.conf"
    machine.run("sh", "-c", f"echo '{EDIT}' >> {file}")
    assert history.listed()[history.second] == "previous (edited since it was sealed)"
    failure = history.back().failure()
    assert failure.result["reason"] == "rejected"
    assert f"generation {history.second} was edited since it was sealed" in failure.message
    assert "Nothing was changed" in failure.message
    assert history.live == history.third
    assert history.proxy.play(SECOND).changed() == 1
    assert history.live == history.second
    assert EDIT not in machine.run("cat", file)


def test_edited_and_live(history: History) -> None:
    """An edited one that is live is told, and left."""
    machine, root = history.proxy.machine, history.proxy.root
    machine.run("sh", "-c", f"echo '{EDIT}' >> {root}/current/nginx.conf")
    checked = history.proxy.play(THIRD, "--check").of_module(CONFIG)
    edited = f"generation {history.third} was edited since it was sealed"
    assert checked["drift"] == [f"{edited} (nginx.conf)"]
    assert edited in history.proxy.play(THIRD, playbook=VERIFY).failure().message
    run = history.back()
    assert run.changed() == 1
    assert run.of_module(RELOAD)["drift"] == [edited]
    assert history.live == history.second
    assert history.proxy.play(THIRD).changed() == 1
    assert EDIT not in machine.run("cat", f"{root}/current/nginx.conf")


def test_check(history: History) -> None:
    """With --check --diff the way back is tested and shown, and not gone; no secret is in it."""
    before = history.proxy.machine.listing(history.proxy.root)
    run = history.back(history.first, "--check", "--diff")
    assert run.changed() == 1
    assert f"Would go back to generation {history.first}" in told(run)
    result = run.of_module(RELOAD)
    assert result["action"] == "none"
    files = {row["after_header"].split()[0]: row["after"] for row in result["diff"]}
    assert files["http.d/15-tokens.conf"] == "(secret, changed, not shown)\n"
    assert str(HELD_PORT) in files["http.d/70-listeners.conf"]
    assert SECRET not in str(run)
    assert history.live == history.third
    assert history.proxy.machine.listing(history.proxy.root) == before


def test_broken_inventory(history: History) -> None:
    """The inventory need not be right for the way back."""
    proxy = history.proxy
    broken = {
        "grpc_proxy_oap_group": "broken",
        "grpc_proxy_balance": "fastest",
        "grpc_proxy_lissen": [],
    }
    proxy.groups["broken"] = {"gone": {"oap_address": "oap.invalid"}}
    try:
        message = proxy.refused({"grpc_proxy_oap_group": "broken"})
        assert "gone: proxy1 cannot resolve oap.invalid" in message
        proxy.refused(broken)
        assert history.back(settings=broken).changed() == 1
        assert history.live == history.second
        assert proxy.play(broken, playbook=GENERATIONS).changed() == 0
    finally:
        del proxy.groups["broken"]


def test_not_proven(history: History) -> None:
    """Where it cannot be proven, what was live is back, and that is said."""
    machine = history.proxy.machine
    holder = machine.hold(HELD_PORT)
    try:
        with Load(history.proxy.target) as load:
            steady(load)
            failure = history.back(history.first).failure()
            steady(load)
    finally:
        machine.end(holder)
    none_lost(load)
    assert (failure.result["reason"], failure.result["rolled_back"]) == ("not_live", True)
    assert failure.result["generation"] == history.third
    assert f"another program holds 0.0.0.0:{HELD_PORT}" in failure.message
    assert f"Rolled back: generation {history.third} is live again." in failure.message
    assert history.live == history.third
    listed = history.listed()
    assert (listed[history.third], listed[history.first]) == ("live, current, proven", "kept")
    assert history.back(history.first).changed() == 1
    assert history.live == history.first
