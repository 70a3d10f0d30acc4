"""The table of results for people: nccl-tests' columns, the fastest of each size first, as wide as the terminal."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from commsim.result import Result
from commsim.simulate import item_bytes
from commsim.units import gigabytes_per_second, microseconds
from experiments.left_out import LeftOut, told, wrapped

BEST = "*"
OWN_BOUND = "†"  # marks a share of the bound that counts the network's own reductions and copies
SHORTEST = 12  # characters that the name of an algorithm keeps


@dataclass(frozen=True)
class Column:
    """One column: its title, its unit, the cells, and the least width (nccl-tests')."""

    title: str
    unit: str
    cells: Sequence[str]
    least: int
    left: bool = False

    @property
    def width(self) -> int:
        """Characters that everything in it needs."""
        return max(self.least, *map(len, (self.title, self.unit, *self.cells)))

    def padded(self, text: str) -> str:
        """A text of it, padded."""
        return f" {text:<{self.width}}" if self.left else f"{text:>{self.width}}"

    def cut(self, width: int) -> Column:
        """The same no wider; where something does not fit, dots say so."""
        cells = [cell if len(cell) <= width else cell[: max(width - 1, 1)] + "…" for cell in self.cells]
        return replace(self, cells=cells, least=min(self.least, width))


def terminal_width() -> int | None:
    """Columns of the terminal (or what COLUMNS says); None where there is none."""
    return shutil.get_terminal_size((0, 0)).columns or None


def block(columns: Sequence[Column], width: int | None) -> list[str]:
    """Lines of a table, its widest names cut where it would not fit."""
    columns = list(columns)
    while width is not None and (over := sum(column.width + 2 for column in columns) - width) > 0:
        names = {number: c for number, c in enumerate(columns) if c.left and c.width > max(SHORTEST, len(c.title))}
        if not names:
            break
        at = max(names, key=lambda number: columns[number].width)
        widest, least = names[at], max(SHORTEST, len(names[at].title))
        runner_up = max((c.width for number, c in names.items() if number != at), default=0)
        columns[at] = widest.cut(max(widest.width - over, min(runner_up, widest.width - 1), least))
    rows = [[column.title for column in columns], *zip(*(column.cells for column in columns), strict=True)]
    return [
        "  ".join(c.padded(text).strip("\n") for c, text in zip(columns, row, strict=True)).rstrip() for row in rows
    ]


def table(
    results: Sequence[Result],
    facts: Mapping[str, Any],
    left_out: Sequence[LeftOut] = (),
    *,
    width: int | None = None,
) -> str:
    """Results for people.

    Parameters
    ----------
    results : sequence of Result
        In any order; sizes stay in theirs, and the fastest of each stands first.
    facts : mapping
        Written above, one a line.
    left_out : sequence of LeftOut
        Written below.
    width : int, optional
        At most so many characters a line, where that can be: columns that are the same in all rows then become a fact,
        and names are cut and written out below. None: everything, as wide as it is.
    """
    ordered = _fastest_first(results)
    columns, shared = _columns(ordered), ""
    if width is not None and _total(columns) > width:
        columns, shared = _without_shared(columns)
        columns = fitted(columns, width)
    said = {**facts, **({"all rows": shared} if shared else {})}
    return "\n".join(
        [
            *_comments([f"{key}: {value}" for key, value in said.items()], width),
            *(f"# {line_of(columns, [getattr(c, row) for c in columns])}" for row in ("title", "unit")),
            *(
                f"{mark} {line_of(columns, [c.cells[row] for c in columns])}"
                for row, mark in enumerate(_marks(ordered))
            ),
            *_comments(_legend(ordered), width),
            *_comments(cut_names(columns, [one.spec for one in ordered]), None),  # to be copied
            *_comments(told(left_out), width),
            "",
        ]
    )


def line_of(columns: Sequence[Column], texts: Sequence[str]) -> str:
    """One line of the table."""
    return " ".join(column.padded(text) for column, text in zip(columns, texts, strict=True)).rstrip()


def _comments(lines: Sequence[str], width: int | None) -> list[str]:
    return [f"# {part}" for line in lines for part in wrapped(line, width and width - 2)]


def _fastest_first(results: Sequence[Result]) -> list[Result]:
    place = {n_bytes: number for number, n_bytes in enumerate(dict.fromkeys(one.n_bytes for one in results))}
    return sorted(results, key=lambda one: (place[one.n_bytes], one.time_s))


def _marks(ordered: Sequence[Result]) -> list[str]:
    """A mark for the first of each size, if it beats another."""
    sizes = [one.n_bytes for one in ordered]
    return [
        BEST if sizes.count(size) > 1 and (row == 0 or sizes[row - 1] != size) else " "
        for row, size in enumerate(sizes)
    ]


def _columns(results: Sequence[Result]) -> list[Column]:
    def column(title: str, unit: str, least: int, cell: Callable[[Result], object], *, left: bool = False) -> Column:
        return Column(title, unit, [str(cell(one)) for one in results], least, left)

    found = [
        column("size", "(B)", 11, lambda one: one.n_bytes),
        column("count", "(elements)", 11, lambda one: one.n_bytes // item_bytes(one.dtype)),
        column("type", "", 8, lambda one: one.dtype),
        column("redop", "", 6, lambda one: one.op or "-"),
        column("root", "", 5, lambda one: "-" if one.root is None else one.root),
        column("algorithm", "", 9, lambda one: one.spec, left=True),
        column("time", "(us)", 11, lambda one: _us(one.time_s)),
        column("algbw", "(GB/s)", 8, lambda one: f"{gigabytes_per_second(one.algbw_Bps):.2f}"),
        column("busbw", "(GB/s)", 8, lambda one: f"{gigabytes_per_second(one.busbw_Bps):.2f}"),
    ]
    if not results[0].is_measured:
        shares = column("of bound", "", 8, _of_bound)
        return [*found, shares, column("bottleneck", "", 0, lambda one: one.bottleneck or "-", left=True)]
    return [
        *found,
        column("min", "(us)", 11, lambda one: _us(one.time_min_s)),
        column("p99", "(us)", 11, lambda one: _us(one.time_p99_s)),
        column("#wrong", "", 7, lambda one: one.n_wrong),
    ]


def _us(seconds: float | None) -> str:
    return "-" if seconds is None else f"{microseconds(seconds):.2f}"


def _of_bound(result: Result) -> str:
    if not result.time_s:
        return "- "
    mark = OWN_BOUND if result.in_network else " "
    return f"{100 * (result.bound_s or 0.0) / result.time_s:.1f} %{mark}"


def _legend(results: Sequence[Result]) -> list[str]:
    lines = [f"{BEST} the fastest of its size"] if BEST in _marks(results) else []
    if any(one.in_network for one in results):
        lines.append(f"{OWN_BOUND} of the bound of a network that reduces or copies, which is lower")
    return lines


def _without_shared(columns: Sequence[Column]) -> tuple[list[Column], str]:
    """Without the columns that say the same in every row, and what they say; the rest as narrow as it can be."""
    narrow = [replace(column, least=0) for column in columns if column.title != "count"]
    shared = [c for c in narrow if c.title in ("type", "redop", "root") and len(set(c.cells)) == 1]
    said = [f"{c.title} {c.cells[0]}" for c in shared if c.cells[0] != "-"]
    return [column for column in narrow if column not in shared], ", ".join(said)


def _total(columns: Sequence[Column]) -> int:
    return 2 + len(" ".join(column.padded("") for column in columns))


def fitted(columns: Sequence[Column], width: int) -> list[Column]:
    """No wider than that, where it can be: with the names cut first, then the bottlenecks."""
    narrow = list(columns)
    for title, least in (("algorithm", SHORTEST), ("bottleneck", 1)):
        over = _total(narrow) - width
        narrow = [c.cut(max(c.width - over, least)) if c.title == title and over > 0 else c for c in narrow]
    return narrow


def cut_names(columns: Sequence[Column], specs: Sequence[str]) -> list[str]:
    """What each algorithm whose name was cut is in full."""
    [shown] = [column.cells for column in columns if column.title == "algorithm"]
    cut = [spec for cell, spec in zip(shown, specs, strict=True) if cell != spec]
    return [f"in full: {name}" for name in dict.fromkeys(cut)]
