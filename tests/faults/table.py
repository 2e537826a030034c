"""The table of faults: printed at the end, kept as JSON, and written as a page.

``python -m tests.faults.table`` writes docs/faults.md from what was kept.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from tests.faults.plain import Plain
from tests.hosts.load import Load
from tests.hosts.paths import ROOT

KEPT = ROOT / ".build" / "faults.json"
PAGE = ROOT / "docs" / "faults.md"
NONE = "-"
GROUPS = {
    "configuration": "The configuration is wrong",
    "rehearsal": "The configuration is wrong, and --check sees it",
    "reload": "nginx does not take it",
    "container": "Something of the container is wrong",
    "around": "Something around it is wrong",
    "power": "The power fails",
    "bad_input": "The inventory is wrong",
    "transaction": "Nothing is wrong",
}
HEAD = ("fault", "nginx", "`nginx -t`", "reload", "serves then", "reason", "live", "calls", "lost")
INTRODUCTION = """\
# The fault table

Written by `make faults-page` from the rows that `make faults` or `make test` kept, measured
on real hosts with systemd: one row a fault, on each nginx that it names, under about 50 calls a
second through the proxy to two real OAPs.

- **nginx -t, reload**: exit status of both where the same change is made in place in the files of
  a second nginx beside ours, as a template and a handler do it. **serves then** is what that one
  answers with. Where both say 0 and the new configuration does not serve, or does not answer as
  it must, that green was false: it is **bold**.
- **reason** is what `site.yml` says of the same ([the reasons](how-it-works.md#when-a-run-fails);
  `preflight`: refused before anything is written), and **live** what serves afterwards.
- **calls, lost**: from the beginning of the run of `site.yml` to its end, and the seconds from the
  first call lost to the last. Where a reload of 1.18 lost some, it is because it closes connections
  without [reading on](versions.md#what-a-version-cannot-do).
"""


@dataclass(frozen=True)
class Row:
    """One fault on one version of nginx."""

    group: str
    fault: str
    nginx: str
    reason: str
    live: str
    plain: Plain | None = None
    calls: int | None = None
    lost: int | None = None
    gap: float = 0.0

    @property
    def key(self) -> tuple[str, str, str]:
        """What a later run of the same test says anew."""
        return self.group, self.fault, self.nginx

    @property
    def outcome(self) -> tuple[object, ...]:
        """What versions must share to share a line."""
        return self.group, self.fault, self.plain, self.reason, self.live

    def cells(self) -> tuple[str, ...]:
        """The row as text, under HEAD."""
        way = (NONE,) * 3 if self.plain is None else self.plain.cells()
        calls = NONE if self.calls is None else str(self.calls)
        lost = NONE if self.lost is None else str(self.lost)
        if self.lost:
            lost += f" in {self.gap:.2f} s"
        return (self.fault, self.nginx, *way, self.reason, self.live, calls, lost)


@dataclass
class Story:
    """What one test sees, for the table."""

    rows: list[Row]
    group: str
    nginx: str

    def tell(
        self,
        fault: str,
        reason: str,
        live: str,
        load: Load | None = None,
        plain: Plain | None = None,
    ) -> None:
        """Note one fault."""
        row = Row(self.group, fault, self.nginx, reason, live, plain)
        if load is not None:
            row = replace(row, calls=load.made, lost=len(load.lost), gap=round(load.gap, 2))
        self.rows.append(row)


@dataclass
class Table:
    """All rows of a session."""

    rows: list[Row] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """The table as text, and the count."""
        cells = [HEAD, *(row.cells() for row in merged(self.rows))]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for line in cells:
            yield "  ".join(
                cell.ljust(width) for cell, width in zip(line, widths, strict=True)
            ).rstrip()
        yield count(self.rows)

    def keep(self, path: Path = KEPT) -> None:
        """Keep the rows beside those of other tests."""
        known = {row.key: row for row in (*kept(path), *self.rows)}
        path.parent.mkdir(exist_ok=True)
        text = json.dumps([asdict(row) for row in known.values()], indent=1)
        path.write_text(text + "\n", encoding="utf-8")


def kept(path: Path = KEPT) -> list[Row]:
    """Return the rows that were kept."""
    if not path.exists():
        return []
    return [_row(data) for data in json.loads(path.read_text(encoding="utf-8"))]


def _row(data: dict[str, Any]) -> Row:
    plain = data.pop("plain")
    return Row(**data, plain=Plain(**plain) if plain else None)


def greens(rows: Iterable[Row]) -> tuple[int, int]:
    """Return how many greens of the plain way were false, and how many there were."""
    green = [row.plain.false for row in rows if row.plain is not None and row.plain.green]
    return sum(green), len(green)


def count(rows: Iterable[Row]) -> str:
    """Say how many greens of the plain way were false."""
    false, green = greens(rows)
    return f"The plain way reported success {green} times; {false} of them were false."


def merged(rows: Iterable[Row]) -> list[Row]:
    """Put the versions of one fault on one line where they say the same."""
    lines: list[Row] = []
    for _outcome, found in groupby(_together(rows), lambda row: row.outcome):
        same = list(found)
        first = same[0]
        if first.calls is None:
            lines.append(replace(first, nginx=_versions(same)))
            continue
        made, lost = (sum(getattr(row, name) or 0 for row in same) for name in ("calls", "lost"))
        gap = max(row.gap for row in same)
        lines.append(replace(first, nginx=_versions(same), calls=made, lost=lost, gap=gap))
    return lines


def _together(rows: Iterable[Row]) -> list[Row]:
    """Sort: groups in their order, faults as they came, one outcome beside itself, versions."""
    rows = list(rows)
    groups = [*GROUPS, *(row.group for row in rows)]
    faults = [row.fault for row in rows]
    outcomes = [row.outcome for row in sorted(rows, key=lambda row: row.nginx)]
    return sorted(
        rows,
        key=lambda row: (
            groups.index(row.group), faults.index(row.fault), outcomes.index(row.outcome), row.nginx
        ),
    )  # fmt: skip


def _versions(rows: Sequence[Row]) -> str:
    return " ".join(dict.fromkeys(row.nginx for row in rows))


def page(rows: Sequence[Row]) -> str:
    """Return docs/faults.md."""
    parts = [INTRODUCTION, f"**{count(rows)}**\n"]
    for group, found in groupby(merged(rows), lambda row: row.group):
        parts.append(f"## {GROUPS.get(group, group)}\n")
        lines = [HEAD, ("---",) * len(HEAD), *(_cells(row) for row in found)]
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(parts)


def _cells(row: Row) -> tuple[str, ...]:
    cells = [cell.replace("|", "\\|") for cell in row.cells()]
    if row.plain is not None and row.plain.false:
        cells[2:5] = [f"**{cell}**" for cell in cells[2:5]]
    return tuple(cells)


if __name__ == "__main__":
    PAGE.write_text(page(kept()), encoding="utf-8")
    print(f"{PAGE.relative_to(ROOT)}: {count(kept())}")
