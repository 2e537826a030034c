"""What people are told: the reason and the cause of a failure, and what a change changes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import File, identity
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.report import (
    HIDDEN,
    HIDDEN_CHANGED,
    Attempt,
    Outcome,
    TransactionError,
    difference,
    first_cause,
    only_a_restart,
    verdict,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State
from hypothesis import given
from hypothesis import strategies as st

BIND = "[emerg] 7#7: bind() to 0.0.0.0:11800 failed (98: Address already in use)"
BIND_6 = "[emerg] 7#7: bind() to [::]:11800 failed (98: Address already in use)"
UNBOUND = "[emerg] 7#7: still could not bind()"
ZONE = '[emerg] 7#7: limit_req "oap" uses the "$b" key while previously it used the "$a" key'
CRITICAL = "[crit] 7#7: *3 SSL_do_handshake() failed"
WARNING = "[warn] 7#7: *3 a client request body is buffered (98304 bytes)"

RIGHT = Row("0.0.0.0:11800", "3f9c1a20b7e4", 14, 200, True)
DEAF = Row("0.0.0.0:11800", fault="cannot connect to 127.0.0.1:11800: refused")
ODD = Row("0.0.0.0:11800", "3f9c1a20b7e4", 14, 204, fault="HTTP status 204", wrong_answer=True)
TURNED_AWAY = Row("0.0.0.0:11800", "3f9c1a20b7e4", 7, 200, fault="it is 7", wrong_answer=True)


def attempted(
    action: str = "reloaded",
    rows: Sequence[Row] = (RIGHT,),
    done: bool = True,
    words: str = "",
    lingering: bool = False,
    running: bool = True,
) -> Attempt:
    """Return an attempt that went well but for what is given."""
    return Attempt(action, done, words, list(rows), lingering, running)


# The attempt


def test_an_attempt_that_is_proven() -> None:
    """The command succeeded, every listener answers rightly, and no other worker accepts."""
    assert attempted().proven
    assert attempted().faults == []


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(),
        attempted(done=False),
        attempted(rows=[RIGHT, DEAF]),
        attempted(rows=[ODD]),
        attempted(lingering=True),
    ],
)
def test_an_attempt_that_is_not_proven(attempt: Attempt) -> None:
    """One of them is enough."""
    assert not attempt.proven


def test_faults_of_an_attempt() -> None:
    """The rows with a fault, in their order."""
    assert attempted(rows=[RIGHT, DEAF, ODD, RIGHT]).faults == [DEAF, ODD]


# The verdict


@pytest.mark.parametrize(
    ("attempt", "log", "reason", "words"),
    [
        (attempted(rows=[DEAF, ODD]), [BIND], "fallback", "HTTP status 204. Something in"),
        (attempted(rows=[TURNED_AWAY]), [], "fallback", "it is 7. The host's own probe was"),
        (attempted("started", [ODD]), [], "fallback", "grpc_proxy_snippets"),
        (attempted("started", [DEAF], done=False, words="Job failed."), [], "not_started", "Job"),
        (attempted("started", [DEAF], running=False), [CRITICAL], "not_started", "handshake"),
        (attempted("restarted", [DEAF], running=False), [BIND], "not_started", "0.0.0.0:11800;"),
        (attempted("restarted", [DEAF], done=False), [ZONE], "not_started", "nginx did not start"),
        # An engine that starts it again and again has it running in this moment.
        (attempted("started", [DEAF]), [BIND, UNBOUND], "not_started", "0.0.0.0:11800;"),
        (attempted(rows=[DEAF]), [BIND, UNBOUND], "not_live", "0.0.0.0:11800;"),
        (attempted("started", [DEAF]), [], "not_live", "cannot connect to 127.0.0.1:11800"),
        (attempted(rows=[DEAF]), [ZONE], "restart_needed", "Set grpc_proxy_allow_restart"),
        (attempted(rows=[DEAF]), [], "not_live", "refused; nginx wrote nothing of weight"),
        (attempted(rows=[DEAF]), [WARNING], "not_live", "is its master process stopped?"),
        (attempted(rows=[DEAF]), [BIND], "not_live", "another program holds 0.0.0.0:11800;"),
        (attempted(rows=[DEAF], running=False), [], "not_live", "is not live: cannot connect"),
        (attempted(lingering=True), [], "unproven", "still accept calls"),
        (attempted(lingering=True), [CRITICAL], "unproven", "SSL_do_handshake() failed."),
        (Attempt(words="cannot swap current: full."), [], "not_live", "live: cannot swap current"),
        (attempted(done=False, words="no unit."), [], "not_live", "brought live: no unit."),
    ],
)
def test_verdict(attempt: Attempt, log: list[str], reason: str, words: str) -> None:
    """One reason, and the cause in sentences."""
    found, cause = verdict(attempt, log)
    assert found == reason
    assert words in cause
    assert cause.endswith((".", "?"))


def test_a_restart_is_not_asked_for_after_one() -> None:
    """Where a restart was tried already, it is no way out, whatever the log says."""
    reason, cause = verdict(attempted("restarted", [DEAF]), [ZONE])
    assert reason == "not_live"
    assert "Set grpc_proxy_allow_restart" not in cause


def test_every_port_that_is_taken_is_named() -> None:
    """Each once, before anything else that is in the log."""
    _reason, cause = verdict(attempted(rows=[DEAF]), [CRITICAL, BIND_6, BIND, BIND])
    assert "another program holds 0.0.0.0:11800, [::]:11800; 'ss -ltnp'" in cause


@pytest.mark.parametrize(
    ("log", "only"),
    [
        ([], False),
        ([BIND, WARNING], False),
        ([WARNING, ZONE], True),
        (['[emerg] 1#1: limit_conn_zone "c" uses the "$x" key'], False),
    ],
)
def test_only_a_restart(log: list[str], only: bool) -> None:
    """Nginx says so of a zone whose key is another."""
    assert only_a_restart(log) is only


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("", "it gave no reason."),
        ("nginx: [emerg] unknown directive in x:1", "unknown directive in x:1."),
        ("nginx: [warn] low\nnginx: [emerg] high\nnginx: [emerg] next", "high."),
        ("nginx: [warn] low\nlast", "low."),
        ("2026/11/22 17:00:00 [emerg] 7#7: *3 it ended.", "it ended."),
        ("Job for the unit failed.", "Job for the unit failed."),
    ],
)
def test_first_cause(words: str, cause: str) -> None:
    """Nginx's first line of weight, without what stands before its words."""
    assert first_cause(words) == cause


@given(words=st.text())
def test_first_cause_is_one_sentence(words: str) -> None:
    """Whatever was said, what is told of it is one line and ends as a sentence."""
    cause = first_cause(words)
    assert cause.endswith(".")
    assert len(cause.splitlines()) == 1


# The results


def test_an_error_as_a_result() -> None:
    """All of it but the message, as plain values."""
    error = TransactionError("fallback", "It is wrong.", (BIND,), True, "3f9c1a20b7e4", (ODD,))
    assert str(error) == error.message == "It is wrong."
    assert error.as_result() == {
        "reason": "fallback",
        "nginx_log": [BIND],
        "rolled_back": True,
        "generation": "3f9c1a20b7e4",
        "proof": [ODD.as_result()],
        "repaired": [],
    }
    assert "wrong_answer" not in error.as_result()["proof"][0]


def test_an_error_without_more() -> None:
    """Nothing is claimed that was not told."""
    assert TransactionError("busy", "Wait.").as_result() == {
        "reason": "busy",
        "nginx_log": [],
        "rolled_back": False,
        "generation": None,
        "proof": [],
        "repaired": [],
    }


def test_an_outcome_without_more() -> None:
    """No action, no swap, no alerts; and no list is shared with another one."""
    state = State("3f9c1a20b7e4", "0f00ba400f00", None, True, "0f00ba400f00")
    one, other = Outcome(False, state), Outcome(False, state)
    assert (one.generation, one.previous) == ("3f9c1a20b7e4", "0f00ba400f00")
    assert (one.action, one.proven_ms, one.tested) == ("none", None, True)
    for name in ("proof", "diff", "drift", "repaired", "alerts"):
        getattr(one, name).append("x")
        assert getattr(other, name) == []


# The difference


def shown(old: Sequence[File], new: Sequence[File]) -> dict[str, tuple[str, str]]:
    """Return before and after of each file that differs."""
    return {
        (item["after_header"] if item["after"] else item["before_header"]).split()[0]: (
            item["before"],
            item["after"],
        )
        for item in difference("0123456789ab", old, new)
    }


def test_difference_names_its_trees() -> None:
    """Each side by path and id, and none where a file is not there."""
    new = [File("a", b"2\n"), File("new", b"")]
    rows = difference("0123456789ab", [File("a", b"1\n"), File("gone", b"x")], new)
    headers = [(row["before_header"], row["after_header"]) for row in rows]
    assert headers == [
        ("a (0123456789ab)", f"a ({identity(new)})"),
        ("gone (0123456789ab)", "(none)"),
        ("(none)", f"new ({identity(new)})"),
    ]


def test_difference_of_a_first_run() -> None:
    """Before the first run there is nothing."""
    (row,) = difference(None, [], [File("a", b"1\n")])
    assert (row["before_header"], row["before"]) == ("(none)", "")
    assert row["after"] == "# mode 0644\n1\n"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (File("a", b"1"), File("a", b"1"), {}),
        (File("a", b"1"), File("a", b"1", secret=True), {}),
        (File("a", b"1"), File("a", b"1", 0o600), ("# mode 0644\n1", "# mode 0600\n1")),
        (File("a", b"1"), File("a", b"\xff"), ("# mode 0644\n1", "# mode 0644\n\ufffd")),
        (File("a", b"1", secret=True), File("a", b"2", secret=True), (HIDDEN, HIDDEN_CHANGED)),
        # What is or was a secret is shown on no side.
        (File("a", b"1"), File("a", b"2", secret=True), (HIDDEN, HIDDEN_CHANGED)),
        (File("a", b"1", secret=True), File("a", b"2"), (HIDDEN, HIDDEN_CHANGED)),
        (None, File("a", b"2", secret=True), ("", HIDDEN)),
        (File("a", b"1", secret=True), None, (HIDDEN, "")),
    ],
)
def test_difference_of_a_file(
    old: File | None, new: File | None, expected: dict[str, str] | tuple[str, str]
) -> None:
    """Content and mode of what changes; secrets on neither side."""
    found = shown([old] if old else [], [new] if new else [])
    assert found == ({"a": expected} if expected else {})


TREES = st.lists(
    st.builds(
        File,
        st.sampled_from(["nginx.conf", "tls/key.pem", "http.d/a.conf"]),
        st.sampled_from([b"SECRET-1", b"SECRET-2"]),
        st.sampled_from([0o600, 0o644]),
        st.just(True),
    ),
    unique_by=lambda item: item.path,
)


@given(old=TREES, new=TREES)
def test_no_secret_is_ever_shown(old: list[File], new: list[File]) -> None:
    """Every file that differs has its row, and no row has a secret's content."""
    rows = difference("0123456789ab", old, new)
    assert "SECRET" not in str(rows)
    was, is_now = {item.path: item for item in old}, {item.path: item for item in new}
    differing = [path for path in was.keys() | is_now.keys() if was.get(path) != is_now.get(path)]
    assert len(rows) == len(differing)
