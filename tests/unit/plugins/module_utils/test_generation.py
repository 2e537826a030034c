"""Generations on a real file system: names, sealing, swapping, and runs killed anywhere."""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils import (
    generation as generation_module,
)
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    ID_PATTERN,
    Busy,
    File,
    GenerationError,
    Tree,
    check,
    generation_conf,
    identity,
    write,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.unit.killing import Killed, killed_at

SOME = [
    File("nginx.conf", b"events {}\n"),
    File("http.d/10-a.conf", b"\x00\xff not text\n", 0o640),
    File("http.d/deep/b.conf", b""),
    File("tls/key.pem", b"PRIVATE", 0o600, secret=True),
]
OTHER = [File("nginx.conf", b"events { worker_connections 64; }\n")]
THIRD = [File("nginx.conf", b"# third\n")]

NAMES = st.sampled_from("abcé.-_0") | st.text("ab/ \\\n*'\"$;é", min_size=1, max_size=4)
PATHS = (
    st.lists(NAMES, min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda path: path not in {GENERATION_FILE, "."})
)
# Whoever runs the tests may read what they write.
MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o400)


def fits(files: list[File]) -> bool:
    """Tell whether a set of files may form one generation."""
    try:
        check(files)
    except GenerationError:
        return False
    return not any(item.path.startswith(f"{GENERATION_FILE}/") for item in files)


FILES = st.lists(
    st.builds(File, PATHS, st.binary(max_size=30), MODES),
    max_size=5,
    unique_by=lambda item: item.path,
).filter(fits)


@contextmanager
def new_tree() -> Iterator[Tree]:
    """A tree in a directory of its own, for one example of Hypothesis."""
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)  # many examples, none cut by a crash
        tree = Tree(place)
        with tree.lock():
            yield tree


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    """A tree whose lock is held."""
    found = Tree(str(tmp_path / "etc" / "oap-proxy"))
    with found.lock():
        yield found


def live(tree: Tree, files: list[File]) -> str:
    """Stage files and point to them."""
    generation = tree.stage(files)
    tree.swap(generation)
    return generation


def snapshot(root: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a directory: mode and content, or where a link points."""
    found = {}
    for path in sorted(root.rglob("*")):
        state = path.lstat()
        if path.is_symlink():
            content = str(path.readlink()).encode()
        else:
            content = path.read_bytes() if path.is_file() else b""
        found[path.relative_to(root).as_posix()] = (state.st_mode, content)
    return found


# The id


@given(files=FILES, data=st.data())
def test_identity_is_independent_of_order(files: list[File], data: st.DataObject) -> None:
    """The same files in another order are the same generation."""
    assert ID_PATTERN.match(identity(files))
    assert identity(data.draw(st.permutations(files))) == identity(files)


@given(files=FILES.filter(bool), data=st.data())
def test_identity_holds_every_byte_mode_and_path(files: list[File], data: st.DataObject) -> None:
    """Whatever is changed in whichever file, the id is another."""
    index = data.draw(st.integers(0, len(files) - 1))
    item = files[index]
    change = data.draw(st.sampled_from(["content", "mode", "path", "less", "more"]))
    changed = list(files)
    if change == "content":
        content = data.draw(st.binary(max_size=30).filter(lambda given: given != item.content))
        changed[index] = replace(item, content=content)
    elif change == "mode":
        changed[index] = replace(item, mode=item.mode ^ (1 << data.draw(st.integers(0, 8))))
    elif change == "path":
        taken = {other.path for other in files}
        path = data.draw(PATHS.filter(lambda given: given not in taken))
        changed[index] = replace(item, path=path)
    elif change == "less":
        del changed[index]
    else:
        changed.append(File("another", b""))
    assert identity(changed) != identity(files)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ([File("a", b"bc")], [File("ab", b"c")]),
        ([File("a", b""), File("b", b"")], [File("a", b"1:b")]),
        ([File("a", b"644")], [File("a644", b"")]),
        ([File("a", b"1:b3:6441:c"), File("b", b"c")], [File("a", b"1:b3:6441:c1:b3:6441:c")]),
    ],
)
def test_identity_keeps_fields_apart(one: list[File], two: list[File]) -> None:
    """No byte can move from one field, or one file, to the next unseen."""
    assert identity(one) != identity(two)


def fed(files: list[File]) -> bytes:
    """Return the bytes that the hash of these files is taken of; hold that it is their id."""
    real = hashlib.sha256
    seen: list[bytes] = []

    class Listening:
        def __init__(self) -> None:
            self.digest = real()

        def update(self, part: bytes) -> None:
            seen.append(part)
            self.digest.update(part)

        def hexdigest(self) -> str:
            return self.digest.hexdigest()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "sha256", Listening)
        found = identity(files)
    whole = b"".join(seen)
    assert found == real(whole).hexdigest()[:12]
    return whole


def fields(whole: bytes) -> list[bytes]:
    """Read back what a hash was fed: fields, each preceded by its length and a colon."""
    found = []
    while whole:
        length, _colon, rest = whole.partition(b":")
        found.append(rest[: int(length)])
        assert len(found[-1]) == int(length)
        whole = rest[int(length) :]
    return found


def told(files: list[File]) -> list[tuple[str, int, bytes]]:
    """Return all of a set of files that its id stands for."""
    return sorted((item.path, item.mode, item.content) for item in files)


# Of these few characters lengths, modes, paths and contents are made alike.
ALIKE = st.text("0146:a", min_size=1, max_size=6)
ALIKE_FILES = st.lists(
    st.builds(File, ALIKE, ALIKE.map(str.encode) | st.just(b""), st.sampled_from([0, 4, 0o14])),
    max_size=3,
    unique_by=lambda item: item.path,
)


@given(files=FILES | ALIKE_FILES)
@example(files=[])
def test_what_the_id_is_taken_of_can_be_read_back(files: list[File]) -> None:
    """Path, mode and bytes of every file come out as they went in: so no two sets feed the same."""
    read = fields(fed(files))
    rows = zip(read[::3], read[1::3], read[2::3])
    assert [(path.decode(), int(mode, 8), content) for path, mode, content in rows] == told(files)
    assert len(read) == 3 * len(files)


@given(one=ALIKE_FILES, two=ALIKE_FILES)
def test_two_sets_of_files_never_feed_the_same(one: list[File], two: list[File]) -> None:
    """They feed the same bytes, and have the same id, where they are the same, and only there."""
    same = told(one) == told(two)
    assert (fed(one) == fed(two)) is same
    assert (identity(one) == identity(two)) is same


@given(parts=st.lists(st.text("01:a", max_size=4), min_size=3, max_size=5), data=st.data())
def test_bytes_that_move_are_seen(parts: list[str], data: st.DataObject) -> None:
    """Between a path and its content, or two files: one row of letters, cut in two places."""
    cuts = st.lists(st.integers(1, len(parts) - 1), min_size=2, max_size=2, unique=True)
    for mark, in_path in (("644", True), ("b644", False)):
        sets = []
        for cut in data.draw(cuts):
            before, after = mark.join(parts[:cut]), mark.join(parts[cut:]).encode()
            one = [File("p" + before, after)]
            sets.append(one if in_path else [File("a", before.encode()), File("b", after)])
        assert identity(sets[0]) != identity(sets[1])


@given(files=FILES.filter(bool), data=st.data())
def test_a_single_bit_is_seen(files: list[File], data: st.DataObject) -> None:
    """One bit of a content, at whichever place, one of a mode, one letter of a path."""
    index = data.draw(st.integers(0, len(files) - 1))
    item = files[index]
    changed = [replace(item, mode=item.mode ^ (1 << data.draw(st.integers(0, 8))))]
    if item.content:
        content = bytearray(item.content)
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        changed.append(replace(item, content=bytes(content)))
    place = data.draw(st.integers(0, len(item.path) - 1))
    changed.append(replace(item, path=f"{item.path[:place]}_x{item.path[place + 1 :]}"))
    changed.append(replace(item, path=f"{item.path}a"))
    changed.append(replace(item, path=f"{item.path}A"))
    assert identity(changed[-1:]) != identity(changed[-2:-1])
    for other in changed:
        assert identity([*files[:index], other, *files[index + 1 :]]) != identity(files)


@given(files=FILES)
def test_what_is_secret_is_no_part_of_the_id(files: list[File]) -> None:
    """Whoever reads a generation back need not know which of its files are secret."""
    hidden = [replace(item, secret=not item.secret) for item in files]
    assert identity(hidden) == identity(files)


def test_generation_conf_tells_the_id() -> None:
    """The lines for nginx name the variable of the proof, and the id."""
    text = generation_conf("3f9c1a20b7e4").decode()
    assert 'map "" $oap_proxy_generation {\n    default "3f9c1a20b7e4";\n}\n' in text


# What is refused


@pytest.mark.parametrize(
    ("paths", "complaint"),
    [
        ([""], "'' is not a plain relative path"),
        (["."], "'.' is not a plain relative path"),
        (["/etc/passwd"], "'/etc/passwd' is not a plain relative path"),
        (["//etc"], "'//etc' is not a plain relative path"),
        ([".."], "'..' is not a plain relative path"),
        (["../x"], "'../x' is not a plain relative path"),
        (["a/../../x"], "'a/../../x' is not a plain relative path"),
        (["a/.."], "'a/..' is not a plain relative path"),
        (["./a"], "'./a' is not a plain relative path"),
        (["a//b"], "'a//b' is not a plain relative path"),
        (["a/./b"], "'a/./b' is not a plain relative path"),
        (["a/"], "'a/' is not a plain relative path"),
        (["ok", "a", "a"], "'a' is given twice"),
        (["generation.conf"], "generation.conf is written by this module"),
        (["http.d", "http.d/a.conf"], "'http.d' is both a file and the directory of"),
        (["a/b/c", "a"], "'a' is both a file and the directory of 'a/b/c'"),
        (["generation.conf/x"], "generation.conf"),
    ],
)
def test_paths_that_do_not_do(paths: list[str], complaint: str) -> None:
    """A path that leaves the generation or collides is refused, by its name."""
    with pytest.raises(GenerationError) as caught:
        check([File(path, b"") for path in paths])
    assert complaint in str(caught.value)


@settings(max_examples=40)
@given(files=FILES)
def test_accepted_paths_stay_below(files: list[File]) -> None:
    """Whatever is accepted is written below the directory given, and nothing else is."""
    with new_tree() as tree:
        place = tree.root / "place"
        place.mkdir()
        inside = place / "inside"
        inside.mkdir()
        write(inside, files)
        found = {path.relative_to(place).as_posix() for path in place.rglob("*")}
        expected = {"inside", f"inside/{GENERATION_FILE}"}
        expected |= {f"inside/{item.path}" for item in files}
        folders = {str(Path("inside", item.path).parent) for item in files}
        assert expected <= found
        assert {name for name in found - expected if not (place / name).is_dir()} == set()
        assert all(
            any(folder == name or folder.startswith(f"{name}/") for folder in folders)
            for name in found - expected
        )


# Staging


@settings(max_examples=40)
@given(files=FILES)
@example(files=[])
@example(files=SOME)
def test_stage_and_read_round_trip(files: list[File]) -> None:
    """What is read back is what was staged, and its id is its name."""
    with new_tree() as tree:
        generation = tree.stage(files)
        read = tree.read(generation)
        assert generation == identity(files) == identity(read)
        assert [(item.path, item.content, item.mode) for item in read] == sorted(
            (item.path, item.content, item.mode) for item in files
        )
        assert tree.intact(generation)
        assert tree.generations() == [generation]
        marker = tree.path(generation) / GENERATION_FILE
        assert marker.read_bytes() == generation_conf(generation)
        assert tree.current() is None


def test_read_knows_secrets(tree: Tree) -> None:
    """What is told to be a secret is one when it is read back, whatever its mode; and no other."""
    generation = tree.stage([*SOME, File("private.conf", b"", 0o600)])

    def secrets(*given: tuple[str, ...]) -> set[str]:
        return {item.path for item in tree.read(generation, *given) if item.secret}

    everything = {"private.conf", *(item.path for item in SOME)}
    assert secrets(("tls/key.pem", "nginx.conf", "gone.pem")) == {"tls/key.pem", "nginx.conf"}
    assert secrets(()) == set()
    assert secrets() == everything


def test_read_takes_a_dangling_link_for_an_empty_file(tree: Tree) -> None:
    """A link that leads nowhere is in the tree, and differs from every file that may be staged."""
    generation = tree.stage(SOME)
    pointed_nowhere(tree.path(generation) / "nginx.conf")
    (found,) = [item for item in tree.read(generation) if item.path == ".#nginx.conf"]
    assert (found.content, found.mode, found.secret) == (b"", 0, True)


def touched(path: Path) -> None:
    """Add one byte."""
    path.write_bytes(path.read_bytes() + b"#")


def emptied(path: Path) -> None:
    """Truncate."""
    path.write_bytes(b"")


def opened(path: Path) -> None:
    """Let everyone write."""
    path.chmod(0o666)


def removed(path: Path) -> None:
    """Remove."""
    path.unlink()


def joined(path: Path) -> None:
    """Put another file beside it."""
    path.with_name("zz-mine.conf").write_bytes(b"mine\n")


def pointed_nowhere(path: Path) -> None:
    """Put a link beside it that leads nowhere, as editors do for a lock."""
    path.with_name(".#nginx.conf").symlink_to("someone@host.1234")


@pytest.mark.parametrize("edit", [touched, emptied, opened, removed, joined, pointed_nowhere])
def test_an_edited_generation_is_not_intact_and_is_replaced(
    tree: Tree, edit: Callable[[Path], None]
) -> None:
    """Staging the same files again brings back what the id promises."""
    generation = live(tree, SOME)
    whole = snapshot(tree.path(generation))
    edit(tree.path(generation) / "nginx.conf")
    assert not tree.intact(generation)
    assert tree.stage(SOME) == generation
    assert tree.intact(generation)
    assert snapshot(tree.path(generation)) == whole
    assert tree.current() == generation


def test_the_replacement_is_written_before_the_edited_one_goes(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a disk that is full, what was edited by hand stays as it was."""
    generation = live(tree, SOME)
    touched(tree.path(generation) / "nginx.conf")
    before = snapshot(tree.path(generation))

    def full(_descriptor: int) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match=r"^$"):
            tree.stage(SOME)
    assert snapshot(tree.path(generation)) == before
    assert tree.sweep() == [f".staging-{generation}"]


@pytest.mark.parametrize("edit", [touched, emptied, removed])
def test_a_marker_that_lies_is_seen(tree: Tree, edit: Callable[[Path], None]) -> None:
    """The file that holds the id is not part of the hash, and is looked at all the same."""
    generation = live(tree, SOME)
    edit(tree.path(generation) / GENERATION_FILE)
    assert not tree.intact(generation)
    assert tree.stage(SOME) == generation
    assert tree.intact(generation)


def test_an_intact_generation_is_left_alone(tree: Tree) -> None:
    """Staging what is there already writes nothing."""
    path = tree.path(tree.stage(SOME)) / "nginx.conf"
    before = path.stat()
    tree.stage(SOME)
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_secrets_are_never_wider_than_asked(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every step of staging, no file grants group or others more than it was asked to.

    The widest umask is set, and every system call that staging makes is looked behind.
    """
    asked = {item.path: item.mode for item in SOME}
    seen: set[str] = set()

    def look() -> None:
        for folder in tree.generations_dir.iterdir():
            for path in (path for path in folder.rglob("*") if path.is_file()):
                name = path.relative_to(folder).as_posix()
                mode = stat.S_IMODE(path.stat().st_mode)
                assert mode & 0o077 & ~asked.get(name, 0o644) == 0, f"{name} was {mode:o}"
                seen.add(name)

    for name in ("open", "fchmod", "chmod", "fsync", "rename", "mkdir", "close"):
        real = getattr(os, name)

        def looking(*given: Any, _real: Callable[..., Any] = real, **named: Any) -> Any:
            result = _real(*given, **named)
            look()
            return result

        monkeypatch.setattr(os, name, looking)
    before = os.umask(0)
    try:
        tree.stage(SOME)
    finally:
        os.umask(before)
    assert seen == {*asked, GENERATION_FILE}


def test_staging_is_private_and_sealing_opens_it(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directories of a sealed generation are for everyone, whatever the umask says."""
    before = os.umask(0o077)
    try:
        generation = tree.stage(SOME)
    finally:
        os.umask(before)
    folders = [tree.path(generation), *tree.path(generation).rglob("*")]
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folders if path.is_dir()}
    assert modes == {0o755}
    made: list[int] = []
    real = os.mkdir

    def noting(path: Any, mode: int = 0o777, **named: Any) -> None:
        made.append(mode)
        real(path, mode, **named)

    monkeypatch.setattr(os, "mkdir", noting)
    tree.stage(OTHER)
    assert made[0] == 0o700


def test_everything_is_flushed_before_it_is_sealed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every file and every directory is flushed before the rename, and the parent after it."""
    events: list[str] = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        events.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real_fsync(descriptor)

    def rename(source: str, target: str) -> None:
        events.append("rename")
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    generation = tree.stage(SOME)
    sealed = events.index("rename")
    base = os.path.realpath(tree.generations_dir)
    staging = f"{base}/.staging-{generation}"
    inside = {"", *(f"/{item.path}" for item in SOME), f"/{GENERATION_FILE}"}
    inside |= {"/http.d", "/http.d/deep", "/tls"}
    assert set(events[:sealed]) == {staging + name for name in inside}
    assert events[sealed + 1 :] == [base]


# Current


def test_current_is_a_relative_link_that_is_swapped(tree: Tree) -> None:
    """The link holds in any mount of the tree, and moves from one generation to the next."""
    one = live(tree, SOME)
    assert tree.current_link.readlink() == Path("generations", one)
    two = live(tree, OTHER)
    assert tree.current() == two
    assert (tree.current_link / "nginx.conf").read_bytes() == OTHER[0].content
    tree.clear()
    assert tree.current() is None
    assert not tree.current_link.is_symlink()


@pytest.mark.parametrize(
    "target", ["/etc", "generations/nothex", "generations/3f9c1a20b7e4", "elsewhere/3f9c1a20b7e4"]
)
def test_current_that_points_to_no_generation(tree: Tree, target: str) -> None:
    """A link to anything but a generation that is there counts as none."""
    tree.current_link.symlink_to(target)
    assert tree.current() is None
    generation = live(tree, SOME)
    assert tree.current() == generation


def test_a_reader_always_finds_current(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """At no step of a swap is there a moment without a whole current."""
    one, two = live(tree, SOME), tree.stage(OTHER)
    seen: list[str | None] = []
    for name in ("symlink", "rename", "fsync", "unlink", "open"):
        real = getattr(os, name)

        def looking(*given: Any, _real: Callable[..., Any] = real, **named: Any) -> Any:
            seen.append(tree.current())
            result = _real(*given, **named)
            seen.append(tree.current())
            return result

        monkeypatch.setattr(os, name, looking)
    tree.swap(two)
    turn = seen.index(two)
    assert set(seen[:turn]) == {one}
    assert set(seen[turn:]) == {two}


def test_nothing_there(tmp_path: Path) -> None:
    """A root that is not there has no generations, and asking makes nothing."""
    tree = Tree(str(tmp_path / "missing"))
    assert (tree.current(), tree.generations(), tree.sweep()) == (None, [], [])
    assert list(tmp_path.iterdir()) == []


# What was proven last


def test_proven_is_a_link_of_its_own(tree: Tree) -> None:
    """It stays where it is when current moves, and is swapped in the same way."""
    assert tree.proven() is None
    one = live(tree, SOME)
    tree.note_proven(one)
    two = live(tree, OTHER)
    assert (tree.current(), tree.proven()) == (two, one)
    assert tree.proven_link.readlink() == Path("generations", one)
    tree.note_proven(two)
    assert tree.proven() == two
    tree.clear()
    assert (tree.current(), tree.proven()) == (None, two)


def test_proven_is_written_when_it_changes_only(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is known already is not written again."""
    one = live(tree, SOME)
    tree.note_proven(one)

    def never(*_given: object) -> None:
        raise AssertionError("written again")

    monkeypatch.setattr(os, "symlink", never)
    tree.note_proven(one)
    with pytest.raises(AssertionError, match="written again"):
        tree.note_proven(tree.stage(OTHER))


@pytest.mark.parametrize(
    "target", ["/etc", "generations/nothex", "generations/3f9c1a20b7e4", "elsewhere/3f9c1a20b7e4"]
)
def test_proven_that_points_to_no_generation(tree: Tree, target: str) -> None:
    """A link to anything but a generation that is there counts as none, and is replaced."""
    tree.proven_link.symlink_to(target)
    assert tree.proven() is None
    generation = live(tree, SOME)
    tree.note_proven(generation)
    assert tree.proven() == generation


def test_the_proven_one_is_never_pruned(tree: Tree) -> None:
    """However few are to be kept, and however old it is."""
    one = live(tree, SOME)
    tree.note_proven(one)
    two, three = tree.stage(OTHER), live(tree, THIRD)
    for age, name in enumerate((one, two, three)):
        os.utime(tree.path(name), ns=(age, age))
    assert tree.prune(0, ()) == [two]
    assert tree.generations() == [one, three]


def test_clear_where_nothing_is_current(tree: Tree) -> None:
    """What is not there need not be taken away."""
    tree.clear()
    assert tree.current() is None


@pytest.mark.parametrize("link", ["current", "proven"])
def test_a_link_whose_first_try_failed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    """What a try left that failed in between does not stand in the way of the next."""
    one, two = live(tree, SOME), tree.stage(OTHER)
    tree.note_proven(one)
    point = tree.swap if link == "current" else tree.note_proven

    def full(*_given: object) -> None:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", full)
        with pytest.raises(OSError, match=r"^$"):
            point(two)
    assert (tree.current(), tree.proven()) == (one, one)
    point(two)
    assert {tree.current(), tree.proven()} == {one, two}
    assert tree.sweep() == []


# The lock


def test_the_lock_refuses_a_second_run(tree: Tree) -> None:
    """A second run is told at once, and may run when the first has ended."""
    with pytest.raises(Busy, match="another run is changing"), Tree(str(tree.root)).lock():
        raise AssertionError("two runs at a time")


def test_the_lock_is_free_after_a_run(tmp_path: Path) -> None:
    """The lock ends with the run, also with one that failed."""
    tree = Tree(str(tmp_path))
    with pytest.raises(KeyError), tree.lock():
        raise KeyError
    with tree.lock():
        assert tree.generations_dir.is_dir()


# Pruning


@settings(max_examples=40)
@given(
    count=st.integers(1, 6),
    keep=st.integers(0, 7),
    current=st.none() | st.integers(0, 5),
    protect=st.lists(st.none() | st.integers(0, 7), max_size=3),
)
def test_prune(count: int, keep: int, current: int | None, protect: list[int | None]) -> None:
    """The oldest go, never a protected or the current one, and no more than must."""
    with new_tree() as tree:
        names = []
        for number in range(count):
            names.append(tree.stage([File("nginx.conf", b"%d" % number)]))
            os.utime(tree.path(names[-1]), ns=(number, number))
        if current is not None:
            tree.swap(names[current % count])
        guarded = [None if n is None else names[n] if n < count else "0" * 12 for n in protect]
        held = {name for name in guarded if name in names}
        held |= {names[current % count]} if current is not None else set()
        removed = tree.prune(keep, guarded)
        assert removed == [name for name in names if name not in held][: max(count - keep, 0)]
        assert tree.generations() == [name for name in names if name not in removed]
        assert tree.sweep() == []
        assert held <= set(tree.generations())
        if current is not None:
            assert tree.current() == names[current % count]


def test_generations_are_listed_by_age(tree: Tree) -> None:
    """The oldest sealed comes first, and what is no generation is not listed."""
    names = [tree.stage(files) for files in (SOME, OTHER, THIRD)]
    for age, name in enumerate(reversed(names)):
        os.utime(tree.path(name), ns=(age, age))
    (tree.generations_dir / "README").write_text("not a generation")
    (tree.generations_dir / "0123456789ABCDEF").mkdir()
    assert tree.generations() == names[::-1]


def test_what_is_sealed_is_the_newest(tree: Tree) -> None:
    """Also where the clock was set back: else what is new would be pruned for what is old."""
    names = [tree.stage(SOME), tree.stage(OTHER)]
    ahead = tree.path(names[0]).stat().st_mtime_ns + 10**18
    os.utime(tree.path(names[0]), ns=(ahead, ahead))
    newest = tree.stage(THIRD)
    assert tree.generations() == [names[1], names[0], newest]


# Killed


def first(tree: Tree) -> None:
    """Stage and swap, as a run does, note what was proven, and prune."""
    tree.sweep()
    tree.note_proven(live(tree, THIRD))
    tree.prune(1, ())


def mended(tree: Tree) -> None:
    """Restage a generation that was edited by hand and is not the current one."""
    tree.sweep()
    live(tree, SOME)


def mended_in_place(tree: Tree) -> None:
    """Restage the current generation, which was edited by hand."""
    tree.sweep()
    live(tree, OTHER)


def rejected(tree: Tree) -> None:
    """Stage and remove, as a run does whose candidate nginx refuses."""
    tree.sweep()
    tree.remove(tree.stage(THIRD))


@pytest.fixture(params=[True, False], ids=["exchange", "no exchange"])
def exchanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file system knows how to exchange two directories."""
    if not request.param:
        monkeypatch.setattr(generation_module, "exchange", lambda _one, _other: False)
    return bool(request.param)


@pytest.mark.parametrize(
    ("work", "edited", "wanted"),
    [
        (first, None, THIRD),
        (mended, SOME, SOME),
        (mended_in_place, OTHER, OTHER),
        (rejected, None, OTHER),
    ],
)
def test_killed_at_any_point(
    tmp_path: Path,
    exchanging: bool,
    work: Callable[[Tree], None],
    edited: list[File] | None,
    wanted: list[File],
) -> None:
    """After a death at any system call: whole generations, a whole current, and it heals.

    Where nothing can be exchanged, one that was edited is away for the moment between two renames.
    """
    swept, gone = 0, 0
    places: set[str] = set()
    ended = False
    for number in range(1000):
        tree = Tree(str(tmp_path / str(number)))
        with tree.lock():
            live(tree, SOME)
            before = live(tree, OTHER)
            tree.note_proven(before)
        broken = identity(edited) if edited else ""
        if edited:
            (tree.path(broken) / "nginx.conf").write_bytes(b"by hand")
        with killed_at(number) as made, suppress(Killed):
            with tree.lock():
                work(tree)
            ended = True
        places |= set(made)
        after = Tree(str(tree.root))
        if edited and not exchanging and not after.path(broken).exists():
            gone += 1
            assert made[-1] in {"rename", "open", "unlink", "rmdir"}, made
        else:
            assert after.current() in {before, identity(wanted)}, f"killed after {made}"
            unproven = None if broken == before else before
            assert after.proven() in {before, after.current(), unproven}, f"killed after {made}"
        assert after.previous() in {None, before}, f"killed after {made}"
        for name in after.generations():
            by_hand = (after.path(name) / "nginx.conf").read_bytes() == b"by hand"
            whole = after.intact(name) or (name == broken and by_hand)
            assert whole, f"{name} is half after {made}"
        with after.lock():
            swept += bool(after.sweep())
            left = {path.name for path in after.generations_dir.iterdir()}
            assert left == set(after.generations()), f"left over after {made}"
            beside = {path.name for path in after.root.iterdir()}
            links = {".lock", "current", "generations"}
            assert beside - {"previous", "proven"} == links, f"left over after {made}"
            work(after)
            assert after.sweep() == []
            assert all(after.intact(name) for name in after.generations())
            assert after.current() == identity(wanted)
            assert after.previous() == (before if work is first else None)
        if ended:
            break
    assert ended
    assert swept > 3
    assert {"rename", "fsync", "open", "mkdir"} <= places
    assert ("exchange" in places) is bool(edited)
    assert bool(gone) is bool(edited and not exchanging)


def test_sweep_names_what_it_removed(tree: Tree) -> None:
    """What a killed run left is removed and named; everything else stays."""
    generation = live(tree, SOME)
    (tree.generations_dir / ".staging-0123456789ab" / "http.d").mkdir(parents=True)
    (tree.generations_dir / ".broken-0123456789ab").mkdir()
    (tree.generations_dir / ".broken-0123456789ab" / "x").write_text("x")
    (tree.root / ".next-current").symlink_to("generations/0123456789ab")
    (tree.root / ".next-proven").symlink_to(f"generations/{generation}")
    (tree.root / "notes").write_text("someone's")
    assert tree.sweep() == [
        ".broken-0123456789ab",
        ".next-current",
        ".next-proven",
        ".staging-0123456789ab",
    ]
    assert tree.sweep() == []
    assert tree.current() == generation
    assert tree.intact(generation)
    assert (tree.root / "notes").is_file()
