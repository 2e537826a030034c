"""The table of faults: what it counts, what it puts together, what it keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.faults.plain import Plain
from tests.faults.table import Row, Table, count, kept, merged, page

FALSE = Plain(test=0, reload=0, serves="old", fault="")
TAKEN = Row("reload", "port taken", "1.22", "not_live", "as before", FALSE, 100, 0)


def test_what_a_false_green_is() -> None:
    """Success reported of what is not live, or answers wrongly; a refusal is none."""
    assert FALSE.false
    assert replace(FALSE, serves="nothing").false
    assert replace(FALSE, serves="new", fault="status 204").false
    assert replace(FALSE, test=None).false, "a signal alone that ended well"
    assert not replace(FALSE, serves="new").false
    assert not replace(FALSE, test=1).false
    assert not replace(FALSE, reload=1).false
    right = replace(TAKEN, fault="none", plain=replace(FALSE, serves="new"))
    refused = replace(TAKEN, fault="syntax", plain=replace(FALSE, test=1, reload=1))
    rows = [TAKEN, right, refused, replace(TAKEN, fault="unit edited", plain=None)]
    assert count(rows) == "The plain way reported success 2 times; 1 of them were false."


def test_versions_that_say_the_same_share_a_line() -> None:
    """Calls are added up; a version that says something else has a line of its own, beside it."""
    other = replace(TAKEN, nginx="1.30", plain=replace(FALSE, test=1))
    later = replace(TAKEN, fault="zone", nginx="1.22")
    lines = merged([other, later, replace(TAKEN, nginx="1.18", lost=2, gap=0.5), TAKEN])
    assert [(line.fault, line.nginx) for line in lines] == [
        ("port taken", "1.18 1.22"),
        ("port taken", "1.30"),
        ("zone", "1.22"),
    ]
    assert lines[0].cells()[-2:] == ("200", "2 in 0.50 s")


def test_kept_rows(tmp_path: Path) -> None:
    """A later run replaces its own rows and keeps the others; the page is made of them."""
    path = tmp_path / ".build" / "faults.json"
    first = replace(TAKEN, reason="busy")
    syntax = replace(TAKEN, group="configuration", fault="syntax | error", plain=None)
    Table([first, syntax]).keep(path)
    Table([TAKEN]).keep(path)
    assert kept(path) == [TAKEN, syntax]
    written = page(kept(path))
    assert "| port taken | 1.22 | **0** | **0** | **old** | not_live |" in written
    assert "| syntax \\| error | 1.22 | - | - | - |" in written
    assert written.index("syntax") < written.index("port taken")
