"""The id of a generation: the same files, the same id, and any other ones another."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    ID_PATTERN,
    File,
    identity,
)
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.generations import FILES, PATHS


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
