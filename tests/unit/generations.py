"""Files that may form a generation, as Hypothesis draws them."""

from __future__ import annotations

from ansible_collections.skywalking.oap_proxy.plugins.module_utils.generation import (
    GENERATION_FILE,
    File,
    GenerationError,
    check,
)
from hypothesis import strategies as st

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
