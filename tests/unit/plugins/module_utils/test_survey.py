"""What is found on a host: who is asked what is live, and each sentence of where things differ."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.expectation import (
    PROOF_FILE,
    Expectation,
    Listener,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    GenerationError,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.proof import Prover, Row
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.survey import State, Survey

from tests.unit.model_nginx import ModelNginx, complete, configuration, expecting

PLAIN = expecting()
OLD, NEW = complete(configuration("old"), PLAIN), complete(configuration("new"), PLAIN)
STRANGE = "0123456789ab"
"""An id that no generation on disk has."""


class Host(Prover):
    """A host where nothing runs, and listeners of which some tell an id, by their port."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.nginx = ModelNginx(root)
        self.tree = self.nginx.tree
        self.survey = Survey(self.tree, self.nginx, self)
        self.ids: dict[int, str] = {}
        self.asked: list[int] = []

    def live(self, expectation: Expectation) -> str | None:
        """See Prover."""
        (listener,) = expectation.listeners
        self.asked.append(listener.port)
        return self.ids.get(listener.port)

    def stage(self, files: list[File]) -> str:
        """Seal files as a generation; return its id."""
        with self.tree.lock():
            return self.tree.stage(files)

    def listening(self, port: int, words: str = "") -> str:
        """Seal a generation that listens on this port; return its id."""
        return self.stage(complete(configuration(words or str(port)), at(port)))

    def drift(self, *found: str | bool | None, rows: Sequence[Row] = (), files: Any = ()) -> Any:
        """Return what differs where that was found."""
        return self.survey.drift(State(*found), rows, files)  # type: ignore[arg-type]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host without any generation."""
    return Host(tmp_path / "oap-proxy")


def at(port: int) -> Expectation:
    """Return what a configuration with one listener, on this port, must answer."""
    return expecting(Listener("0.0.0.0", port))


# What a generation says of itself


def test_a_generation_tells_what_it_must_answer(host: Host) -> None:
    """What was sealed as its proof.json is read back, with the secrets of its files."""
    told = host.survey.expectation(host.stage(OLD))
    assert told == Expectation(PLAIN.listeners, PLAIN.methods, ("tls/key.pem",))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"\xff\xfe\xfd",
        b"null",
        b"[]",
        b"{}",
        b'{"listeners": [], "methods": []}',
        b'{"listeners": [], "methods": [], "secrets": null}',
        b'{"listeners": 1, "methods": [], "secrets": []}',
        b'{"listeners": [{"port": 1}], "methods": [], "secrets": []}',
        b'{"listeners": [{"address": "::", "port": 0}], "methods": [], "secrets": []}',
        b'{"listeners": [{"address": "::", "port": 1, "x": 1}], "methods": [], "secrets": []}',
        b'{"listeners": [], "methods": [1], "secrets": []}',
        b'{"listeners": [], "methods": "/a/b", "secrets": []}',
        b'{"listeners": [], "methods": [], "secrets": "tls/key.pem"}',
        b'{"listeners": [], "methods": [], "secrets": [1]}',
        b'{"listeners": [{"address": "::1", "port": 1.0}], "methods": [], "secrets": []}',
        b"[" * 200_000,
    ],
)
def test_a_damaged_proof_says_nothing(host: Host, content: bytes) -> None:
    """Whatever stands in its place, it tells nothing, and every file counts as a secret."""
    generation = host.stage(OLD)
    (host.tree.path(generation) / PROOF_FILE).write_bytes(content)
    assert host.survey.expectation(generation) is None
    assert {item.secret for item in host.survey.files(generation)} == {True}


@pytest.mark.parametrize("put", [Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_a_proof_that_is_no_file_says_nothing(host: Host, put: Callable[[Path], None]) -> None:
    """A directory or a link that leads nowhere in its place is as good as none."""
    generation = host.stage(OLD)
    (host.tree.path(generation) / PROOF_FILE).unlink()
    put(host.tree.path(generation) / PROOF_FILE)
    assert host.survey.expectation(generation) is None


def test_no_generation_says_nothing(host: Host) -> None:
    """None, and one that is not on disk, have neither a proof nor files."""
    assert (host.survey.expectation(None), host.survey.files(None)) == (None, [])
    assert (host.survey.expectation(STRANGE), host.survey.files(STRANGE)) == (None, [])
    assert not host.tree.root.exists()


def test_files_that_are_secret_are_marked(host: Host) -> None:
    """Those that the proof.json names, and no others."""
    files = host.survey.files(host.stage(OLD))
    assert {item.path for item in files} == {item.path for item in OLD}
    assert [item.path for item in files if item.secret] == ["tls/key.pem"]


# Who is asked what is live


def test_the_order_in_which_places_are_asked(host: Host) -> None:
    """The proven, the disk's, the one before, the others from the newest, then the wanted."""
    names = {port: host.listening(port) for port in range(1, 7)}
    host.tree.note_proven(names[2])
    host.tree.note_proven(names[4])
    host.tree.swap(names[1])
    order = [4, 1, 2, 6, 5, 3, 9]
    assert host.survey.live(at(9)) is None
    assert host.asked == order
    assert host.survey.live() is None
    assert host.asked == [*order, *order[:-1]]


@pytest.mark.parametrize("answering", [2, 3, 1, 9])
def test_the_first_that_tells_an_id_is_believed(host: Host, answering: int) -> None:
    """Nobody is asked after it, whatever the others would say."""
    order = [2, 3, 1, 9]
    for port in (1, 2, 3):
        host.listening(port)
    host.tree.note_proven(host.tree.generations()[1])
    after = order[order.index(answering) :]
    host.ids = {port: f"{port}" * 12 for port in after}
    assert host.survey.live(at(9)) == str(answering) * 12
    assert host.asked == order[: order.index(answering) + 1]


def test_a_place_is_asked_once(host: Host) -> None:
    """Generations that listen in one place, and the wanted one with them, are one question."""
    one = host.listening(1)
    host.listening(1, "other words")
    host.tree.swap(one)
    host.tree.note_proven(one)
    wanted = Expectation(at(1).listeners, at(1).methods, ("tls/key.pem",))
    assert host.survey.live(wanted) is None
    assert host.asked == [1]


def test_who_cannot_tell_where_it_listens_is_passed_over(host: Host) -> None:
    """A generation without its proof.json keeps nobody else from being asked."""
    names = [host.listening(port) for port in (1, 2)]
    host.tree.note_proven(names[0])
    (host.tree.path(names[0]) / PROOF_FILE).unlink()
    host.ids = {2: names[1]}
    assert host.survey.live() == names[1]
    assert host.asked == [2]


# What was found


def test_a_bare_host(host: Host) -> None:
    """Where nothing is, nothing is found and nothing is made; the wanted place is asked."""
    assert host.survey.look(STRANGE, at(9)) == State(STRANGE, None, None, False, None)
    assert host.asked == [9]
    assert not host.tree.root.exists()


@pytest.mark.parametrize(
    ("proven", "live", "disk", "before"),
    [
        ("p", "l", "d", "p"),
        ("p", None, None, "p"),
        (None, "l", "d", "l"),
        (None, "l", None, "l"),
        (None, None, "d", "d"),
        (None, "gone", "d", "d"),
        (None, "gone", None, None),
        ("p", "gone", "d", "p"),
        (None, None, None, None),
    ],
)
def test_what_is_gone_back_to(
    host: Host, proven: str | None, live: str | None, disk: str | None, before: str | None
) -> None:
    """The proven one, else the live, else the disk's: the first that is still on disk."""
    names: dict[str | None, str] = {word: host.listening(1, word) for word in "pld"}
    names["gone"] = STRANGE
    if proven:
        host.tree.note_proven(names[proven])
    if disk:
        host.tree.swap(names[disk])
    host.ids = {1: names[live]} if live else {}
    found = host.survey.look(STRANGE, at(1))
    assert found == State(
        STRANGE, names.get(disk), names.get(live), running=False, before=names.get(before)
    )


def test_whether_it_runs_is_told(host: Host) -> None:
    """Whether the instance runs is the instance's word, not the listeners'."""
    host.tree.swap(host.stage(OLD))
    assert host.survey.look(STRANGE, at(1)).running is False
    host.nginx.start()
    assert host.survey.look(STRANGE, at(1)).running is True


def test_nobody_is_asked_beside_a_stranger(host: Host) -> None:
    """What is not ours in the place of a link is refused before any listener is asked."""
    host.stage(OLD)
    host.tree.proven_link.mkdir()
    with pytest.raises(GenerationError, match="proven is no link"):
        host.survey.look(STRANGE, at(1))
    assert host.asked == []


# Whether there is something to do


def test_what_holds(host: Host) -> None:
    """It runs, disk and live are what is wanted, and nothing was edited; each of them counts."""
    one, other = host.stage(OLD), host.stage(NEW)
    assert host.survey.holds(State(one, one, one, True, None))
    assert not host.survey.holds(State(one, one, one, False, one))
    assert not host.survey.holds(State(one, other, one, True, one))
    assert not host.survey.holds(State(one, one, other, True, one))
    assert not host.survey.holds(State(one, one, None, True, one))
    assert not host.survey.holds(State(one, other, other, True, one))
    (host.tree.path(one) / "nginx.conf").write_text("by hand")
    assert not host.survey.holds(State(one, one, one, True, one))
    assert host.survey.holds(State(other, other, other, True, other))


def test_what_is_proven(host: Host) -> None:
    """What is wanted is what was proven last; that it is live or was proven once is not enough."""
    one, other = host.stage(OLD), host.stage(NEW)
    state = State(one, one, one, True, other)
    assert not host.survey.proven(state)
    host.tree.note_proven(one)
    assert host.survey.proven(state)
    host.tree.note_proven(other)
    assert not host.survey.proven(state)


# Where things differ


@pytest.fixture
def pair(host: Host) -> tuple[str, str]:
    """The ids of two generations on disk, the first of them current and proven."""
    one, other = host.stage(OLD), host.stage(NEW)
    host.tree.swap(one)
    host.tree.note_proven(one)
    return one, other


WRONG = Row("0.0.0.0:1", fault="one is wrong")
RIGHT = Row("0.0.0.0:2")
SILENT = Row("0.0.0.0:3", fault="three is silent")
DEAD = "nginx does not run"
UNTOLD = "no listener tells which generation is live"


def test_nothing_differs(host: Host, pair: tuple[str, str]) -> None:
    """What is on disk is live, whether or not it is wanted, and every listener is right."""
    one, other = pair
    for wanted in pair:
        assert host.drift(wanted, one, one, True, one, rows=[RIGHT]) == []
    host.tree.clear()
    assert host.drift(other, None, None, False, None) == []


def test_each_difference_alone(host: Host, pair: tuple[str, str]) -> None:
    """Each state that differs in one thing is told by one sentence."""
    one, other = pair
    assert host.drift(one, one, None, False, one) == [DEAD]
    assert host.drift(one, one, None, True, one) == [UNTOLD]
    apart = f"generation {other} is live, while {one} is on disk"
    assert host.drift(one, one, other, True, one) == [apart]
    assert host.drift(one, one, one, True, one, rows=[WRONG, RIGHT, SILENT]) == [
        "one is wrong",
        "three is silent",
    ]
    host.tree.note_proven(other)
    killed = f"generation {one} is live and not proven: a run was killed"
    assert host.drift(one, one, one, True, one) == [killed]
    assert host.drift(other, one, one, True, one) == []
    host.tree.clear()
    assert host.drift(one, None, None, True, None) == [UNTOLD]
    another = f"another nginx answers with generation {one}"
    assert host.drift(one, None, one, False, one) == [another]


@pytest.mark.parametrize("target", ["generations/0123456789ab", "/etc", "generations"])
def test_a_current_that_leads_to_no_generation(
    host: Host, pair: tuple[str, str], target: str
) -> None:
    """A link that stands there and names no generation is told; one that is not there is none."""
    one, _other = pair
    host.tree.clear()
    state = State(one, None, None, False, None)
    assert host.survey.drift(state, []) == []
    host.tree.current_link.symlink_to(target)
    assert host.survey.drift(state, []) == [f"{host.tree.current_link} leads to no generation"]


def test_what_was_edited_is_named(host: Host, pair: tuple[str, str]) -> None:
    """Changed, opened, removed and added: each by its path in order, none that is as it was."""
    one, _other = pair
    place = host.tree.path(one)
    (place / "tls/key.pem").chmod(0o644)
    (place / "nginx.conf").write_text("by hand")
    (place / "http.d/10-upstreams.conf").unlink()
    (place / "added.conf").write_text("")
    state = State(one, one, one, True, one)
    names = "added.conf, http.d/10-upstreams.conf, nginx.conf, tls/key.pem"
    edited = f"generation {one} was edited since it was sealed"
    assert host.survey.drift(state, [], OLD) == [f"{edited} ({names})"]
    assert host.survey.drift(state, []) == [edited]


def test_what_was_edited_is_not_named_where_another_is_wanted(
    host: Host, pair: tuple[str, str]
) -> None:
    """How files were that are not wanted any more, nobody knows."""
    one, other = pair
    (host.tree.path(one) / "nginx.conf").write_text("by hand")
    state = State(other, one, one, True, one)
    assert host.survey.drift(state, [], NEW) == [f"generation {one} was edited since it was sealed"]


def test_a_marker_that_was_edited_is_told(host: Host, pair: tuple[str, str]) -> None:
    """The file that holds the id counts like any other."""
    one, _other = pair
    (host.tree.path(one) / GENERATION_FILE).write_text("by hand")
    edited = f"generation {one} was edited since it was sealed"
    assert host.drift(one, one, one, True, one) == [edited]
    named = host.drift(one, one, one, True, one, files=complete(OLD, PLAIN))
    assert named == [f"{edited} ({GENERATION_FILE})"]


def test_a_file_of_any_name_is_told(host: Host, pair: tuple[str, str]) -> None:
    """Also of one that is no text."""
    one, _other = pair
    (host.tree.path(one) / os.fsdecode(b"\xff")).write_bytes(b"")
    assert host.drift(one, one, one, True, one) == [
        f"generation {one} was edited since it was sealed"
    ]


def test_differences_together(host: Host, pair: tuple[str, str]) -> None:
    """Disk first, then the process, then what is live, then the listeners one by one."""
    one, other = pair
    (host.tree.path(one) / "nginx.conf").write_text("by hand")
    edited = f"generation {one} was edited since it was sealed"
    another = f"another nginx answers with generation {other}"
    apart = f"generation {other} is live, while {one} is on disk"
    rows = [SILENT, RIGHT, WRONG]
    faults = ["three is silent", "one is wrong"]
    dead = host.drift(one, one, other, False, one, rows=rows, files=OLD)
    assert dead == [f"{edited} (nginx.conf)", DEAD, another, apart, *faults]
    assert host.drift(one, one, None, True, one, rows=rows) == [edited, UNTOLD, *faults]
    host.tree.clear()
    host.tree.current_link.symlink_to("nowhere")
    lost = f"{host.tree.current_link} leads to no generation"
    assert host.drift(one, None, other, False, one, rows=rows) == [lost, another, *faults]
    assert host.drift(one, None, None, True, one) == [lost, UNTOLD]


def test_an_edited_generation_is_not_said_to_be_unproven(host: Host, pair: tuple[str, str]) -> None:
    """That a run was killed is said of what is otherwise as wanted alone."""
    one, other = pair
    host.tree.note_proven(other)
    (host.tree.path(one) / "nginx.conf").write_text("by hand")
    (told,) = host.drift(one, one, one, True, one)
    assert "was edited" in told


def test_nothing_is_changed_by_looking(host: Host, pair: tuple[str, str]) -> None:
    """Neither a file nor a link nor a time on disk, and the instance is told nothing."""

    def everything() -> list[tuple[str, int]]:
        paths = sorted(host.tree.root.rglob("*"))
        return [(str(path), os.lstat(path).st_mtime_ns) for path in paths]

    (host.tree.path(pair[0]) / "nginx.conf").write_text("by hand")
    before = everything()
    state = host.survey.look(pair[1], PLAIN)
    host.survey.drift(state, [WRONG], NEW)
    host.survey.files(pair[0])
    assert (everything(), host.nginx.verbs()) == (before, [])
