"""A generation by itself: what is refused, and what is written."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    GenerationError,
    check,
    generation_conf,
    write,
)
from hypothesis import given, settings

from tests.unit.generations import FILES


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
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
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
