"""What would answer wrongly, or not live at all, is found while nothing has been touched.

Each of these lost calls when it was found where it serves: then a configuration serves until its
proof has failed.
"""

import pytest

from tests.faults.files import differences
from tests.faults.site import CONFIGURE, MODULE, UNIT, Site, none_lost
from tests.faults.table import Story

REHEARSAL = f"{UNIT}-rehearsal"
EVERY_CALL = "if ($request_method = POST) { return 204; }"


@pytest.mark.parametrize(
    ("block", "lines", "reason", "part"),
    [
        pytest.param("server", EVERY_CALL, "not_live", "HTTP 204", id="all-answer-204"),
        pytest.param("server", "deny all;", "fallback", "PERMISSION_DENIED", id="all-are-denied"),
        pytest.param(
            "main", "working_directory /nonexistent;", "not_live", 'chdir("/nonexistent")',
            id="workers-die",
        ),
    ],
)  # fmt: skip
def test_found_in_a_rehearsal(
    proxy: Site,
    story: Story,
    block: str,
    lines: str,
    reason: str,
    part: str,
) -> None:
    """No call is lost, --check sees it as well, and nothing is left of the throw-away nginx."""
    live = proxy.generation()
    before = proxy.machine.listing()
    workers = proxy.workers()
    wrong = {"grpc_proxy_snippets": {block: lines}}
    with proxy.load() as load:
        for arguments in ([], ["--check"]):
            failure = proxy.play(wrong, *arguments, playbook=CONFIGURE).failure()
            assert failure.result["reason"] == reason
            assert failure.message.startswith("In a rehearsal, "), failure.message
            assert part in failure.message
            told = f"Nothing was changed; generation {live} is still live."
            assert failure.message.endswith(told), failure.message
    none_lost(load)
    assert differences(before, proxy.machine.listing()) == {}
    assert proxy.generation() == live
    assert proxy.workers() == workers
    assert proxy.machine.unit(REHEARSAL, "LoadState") == {"LoadState": "not-found"}
    assert proxy.machine.status("test", "-e", f"/run/{REHEARSAL}") == 1
    story.tell(f"rehearsed, and with --check: {lines}", reason, "as before", load)


def test_what_is_right_is_rehearsed(proxy: Site) -> None:
    """A change that is right is proven twice, and the result says so."""
    run = proxy.play({"grpc_proxy_balance": "least_conn"}, playbook=CONFIGURE)
    assert run.changed() == 1
    result = run.of_module(MODULE)
    assert (result["rehearsed"], result["not_rehearsed"]) == (True, None)
    proxy.have_usual()


def test_what_a_rehearsal_cannot_see_is_told(proxy: Site) -> None:
    """A socket that a rehearsal may not open is no reason to refuse, and stays where it is."""
    held = "/run/held.sock"
    proxy.machine.run("python3", "-c", f"import socket; socket.socket(1).bind('{held}')")
    socket = {"http": f"server {{ listen unix:{held}; return 204; }}"}
    run = proxy.play({"grpc_proxy_snippets": socket}, "--check", playbook=CONFIGURE)
    try:
        assert run.changed() == 1
        result = run.of_module(MODULE)
        assert result["rehearsed"] is False
        assert f"bind() to unix:{held} failed" in result["not_rehearsed"]
        assert proxy.machine.status("test", "-S", held) == 0
    finally:
        proxy.machine.run("rm", "-f", held)


def test_a_rehearsal_that_was_killed(proxy: Site) -> None:
    """What a killed run has left on the stage does not stand in the way of the next one."""
    live = proxy.have_usual()
    place = f"/run/{REHEARSAL}"
    proxy.machine.run("mkdir", "-p", f"{place}/log")
    proxy.machine.write(f"{place}/log/error.log", "worker process 1 exited on signal 11\n")
    proxy.machine.run(
        "systemd-run", f"--unit={REHEARSAL}", "--property=RuntimeMaxSec=30", "sleep", "60"
    )
    run = proxy.play({"grpc_proxy_balance": "least_conn"}, "--check", playbook=CONFIGURE)
    assert run.changed() == 1
    assert run.of_module(MODULE)["rehearsed"] is True
    assert proxy.machine.status("test", "-e", place) == 1
    assert proxy.generation() == live
