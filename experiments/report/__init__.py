"""The report: titled sections of text, figures and tables, in one HTML file that asks nothing of any other."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from commsim.errors import InputError

LONG_TABLE_ROWS = 20
"""A table with more rows is folded under its caption."""

_NUMBER = re.compile(r"[+\-−±<>≤≥~≈]?\d[\d.,]*(e[+-]?\d+)?([\s×%]\s*\S*)?")
_EMPTY_CELLS = ("", "-", "–", "—")
_ALIGNMENTS = {"l": "left", "c": "center", "r": "right"}


@dataclass(frozen=True)
class Table:
    """A table whose cells are already text.

    Attributes
    ----------
    columns : tuple of str
        The headings.
    rows : tuple of tuple of str
        As many cells in each as there are columns.
    align : str
        One of "l", "c", "r" for each column. Empty: columns of numbers (with one word of unit at most) stand right.
    emphasis : frozenset of int
        Rows to stress, counted from 0.

    Raises
    ------
    InputError
        If a row or `align` does not fit the columns, or a stressed row does not exist.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str = ""
    emphasis: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        width = len(self.columns)
        for index, row in enumerate(self.rows):
            if len(row) != width:
                raise InputError(f"row {index} of the table has {len(row)} cells, its columns are {width}: {row!r}")
        if self.align and (len(self.align) != width or set(self.align) - set(_ALIGNMENTS)):
            raise InputError(f"align {self.align!r} must be one of l, c, r for each of {width} columns")
        if self.emphasis - set(range(len(self.rows))):
            raise InputError(f"emphasis {sorted(self.emphasis)} names rows that the table ({len(self.rows)}) lacks")

    @property
    def alignments(self) -> tuple[str, ...]:
        """Of each column: "left", "center" or "right"."""
        if self.align:
            return tuple(_ALIGNMENTS[letter] for letter in self.align)
        return tuple("right" if self._is_numeric(column) else "left" for column in range(len(self.columns)))

    def _is_numeric(self, column: int) -> bool:
        cells = [row[column].strip() for row in self.rows if row[column].strip() not in _EMPTY_CELLS]
        return bool(cells) and all(_NUMBER.fullmatch(cell) for cell in cells)


@dataclass(frozen=True)
class Section:
    """One section of the report, in the order: text, figures, tables.

    Attributes
    ----------
    title : str
    text : tuple of str
        Paragraphs.
    figures : tuple of (Path, str)
        An SVG file and its caption. The file becomes part of the page as it is: pass none of foreign origin.
    tables : tuple of (Table, str)
        With its caption.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[tuple[Path, str], ...] = ()
    tables: tuple[tuple[Table, str], ...] = ()


def write_report(path: Path, sections: Sequence[Section], *, title: str, lead: str, facts: Mapping[str, str]) -> None:
    """Write one self-contained HTML file; the same input gives the same bytes.

    Parameters
    ----------
    path : Path
        Its folder is made when it does not exist.
    sections : sequence of Section
        Figures and tables are numbered through.
    title, lead : str
        The heading, and what it all comes to in a few sentences.
    facts : mapping
        Name to value: host, software, calibration.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files(__name__).joinpath("template.html").read_text(encoding="utf-8"))
    page = template.render(
        title=title, lead=lead, facts=facts, sections=_numbered(sections), long_table_rows=LONG_TABLE_ROWS
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", newline="\n")


def _numbered(sections: Sequence[Section]) -> list[dict[str, Any]]:
    """What the template shows: figures and tables with their numbers, SVG ready to be set in."""
    figures, tables = count(1), count(1)
    shown = []
    for section in sections:
        drawn = [(next(figures), svg, caption) for svg, caption in section.figures]
        shown.append(
            {
                "title": section.title,
                "text": section.text,
                "figures": [(number, _inline_svg(svg, number), caption) for number, svg, caption in drawn],
                "tables": [(next(tables), table, caption) for table, caption in section.tables],
            }
        )
    return shown


def _inline_svg(path: Path, number: int) -> Markup:
    """The file's svg element, sized by the page, with ids and style of its own so that figures do not clash."""
    text = path.read_text(encoding="utf-8")
    start, end = text.find("<svg"), text.rfind("</svg>")
    if start < 0 or end < 0:
        raise InputError(f"{path} is not an SVG file: it holds no svg element")
    head, body = text[start:end].split(">", 1)
    head = re.sub(r'\s(width|height|id)="[^"]*"', "", head)
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r"(<style[^>]*>)\s*\*", rf"\1#figure-{number} svg *", body)
    body = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>figure-{number}-", body)
    return Markup(f'{head} role="img" aria-labelledby="figure-{number}-caption">{body}</svg>')
