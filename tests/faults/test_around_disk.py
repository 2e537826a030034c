"""The disk takes nothing, or no more."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.around import CHANGE, plainly
from tests.faults.fault import Fault, undergo
from tests.faults.site import (
    CONFIGURE,
    MODULE,
    PORT,
    ROOT,
    UNIT,
    USUAL,
    Site,
    listen,
    none_lost,
)
from tests.faults.table import Story

pytestmark = pytest.mark.nginx(USUAL, container=True)
TAKEN = 11801
NO_ROOM = "No space left on device"
LOGS = f"/var/log/{UNIT}"
ROOM = ("Make room or mend the permissions", "then run again")
# Lines of sh: the tree on a small file system of its own.
ON_ITS_OWN = f"""\
cp -a {ROOT} /root/tree
mount -t tmpfs -o mode=0755 tmpfs {ROOT}
cp -a /root/tree/. {ROOT}/
"""
BACK = f"umount {ROOT}\nrm -r /root/tree"
# The directory, subdirectories and files of the next generation, and nothing beyond.
INODES = f"$(($(df --output=iused {ROOT} | tail -n 1) + $(find {ROOT}/current/ | wc -l)))"
BYTES = f"$(($(df --output=used -k {ROOT} | tail -n 1)))k"
READ_ONLY = Fault(
    "tree read-only",
    CHANGE,
    "rejected",
    (f"cannot write below {ROOT}", "Read-only file system", "is still live", *ROOM),
    unchanged="What was live was not touched",
    cause=f"mount --bind {ROOT} {ROOT}\nmount -o remount,ro,bind {ROOT}",
    mend=f"umount {ROOT}",
    plain=None,
)


def anew(unit: str) -> str:
    """Return the line of sh that starts a unit of systemd anew."""
    return f"systemctl restart {unit}\n"


def container_anew(name: str) -> str:
    """Return the lines of sh that start a container anew, which sees what is mounted then."""
    return (
        f"docker restart --time=1 {name}\n"
        f"until ss -Htln 'sport = :{PORT}' | grep -q .; do sleep 0.05; done\n"
    )


def logs_full(unit: str, restart: Callable[[str], str] = anew) -> str:
    """Return the lines of sh after which nothing can be logged any more."""
    logs = f"/var/log/{unit}"
    return (
        f"mount -t tmpfs -o size=64k,mode=$(stat -c %a {logs}) tmpfs {logs}\n"
        f"head -c 1M /dev/zero > {logs}/filler 2>/dev/null || true\n"
        f"{restart(unit)}"
    )


def logs_back(unit: str, restart: Callable[[str], str] = anew) -> str:
    """Return the lines of sh that end that."""
    return f"umount --lazy /var/log/{unit}\n{restart(unit) if unit == UNIT else ''}"


def leave_alone(proxy: Site) -> None:
    """Have the usual generation on disk alone: then what is wanted must be staged."""
    live = proxy.have_usual()
    proxy.machine.run(
        "find", f"{ROOT}/generations", "-mindepth", "1", "-maxdepth", "1",
        "-not", "-name", live, "-exec", "rm", "-r", "{}", "+",
    )  # fmt: skip
    proxy.machine.run("rm", "-f", f"{ROOT}/previous")


@pytest.mark.parametrize(
    "fault",
    [
        READ_ONLY,
        replace(
            READ_ONLY,
            name="disk full while staging",
            says=(f"cannot write below {ROOT}", NO_ROOM, "is still live", *ROOM),
            cause=f"{ON_ITS_OWN}mount -o remount,size={BYTES} {ROOT}",
            mend=BACK,
        ),
        replace(
            READ_ONLY,
            name="disk full while swapping",
            reason="not_live",
            says=(f"cannot swap {ROOT}/current", NO_ROOM, *ROOM),
            rolled_back=True,
            cause=f"{ON_ITS_OWN}mount -o remount,nr_inodes={INODES} {ROOT}",
            mend=BACK,
        ),
        # Without nginx's word the whole time of the proof is waited.
        Fault(
            "disk of the logs full, port of another program",
            listen({"port": PORT}, {"port": TAKEN}),
            "not_live",
            (f"the file system of {LOGS} is full", "Make room"),
            rolled_back=True,
            cause=logs_full(UNIT),
            mend=logs_back(UNIT),
            holds=(TAKEN,),
            plain=logs_full("plain"),
            after=logs_back("plain"),
            contained={
                "cause": logs_full(UNIT, container_anew),
                "mend": logs_back(UNIT, container_anew),
            },
        ),
    ],
    ids=lambda fault: fault.name,
)
def test_row(proxy: Site, story: Story, fault: Fault) -> None:
    """Refused, nothing lost, nothing left behind; the same again, and healed when there is room."""
    leave_alone(proxy)
    undergo(proxy, story, fault)


def test_logs_full(proxy: Site, story: Story) -> None:
    """A change comes live and is proven while nothing can be logged; a warning says so."""
    live = proxy.have_usual()
    restart = container_anew if proxy.image else anew
    proxy.machine.run("sh", "-euc", logs_full(UNIT, restart))
    try:
        with proxy.load() as load:
            run = proxy.play(CHANGE, playbook=CONFIGURE)
        assert run.changed() == 1
        warnings = run.of_module(MODULE)["warnings"]
        assert any(f"the file system of {LOGS} is full" in one for one in warnings), warnings
        assert proxy.generation() == proxy.current() != live
        none_lost(load)
        told = plainly(proxy, logs_full("plain"), logs_back("plain"))
        story.tell("disk of the logs full", "none: a warning", "the new one", load, told)
    finally:
        proxy.machine.run("sh", "-euc", logs_back(UNIT, restart))
    run = proxy.play(CHANGE, playbook=CONFIGURE)
    assert run.changed() == 0
    assert not any("is full" in one for one in run.of_module(MODULE).get("warnings", ()))
