"""What a simulated result says of its links, tiers and messages: tables under it, and files of everything."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from commsim.result import Result
from commsim.topology import Floats, Topology
from commsim.traffic import tier_loads
from commsim.units import format_bytes, format_volume
from experiments.options import require_file
from experiments.table import Column, block


def busiest(link_bytes: Floats, link_busy_s: Floats, time_s: float, top: int) -> list[tuple[int, float]]:
    """The links that are busy longest, with their share of the time."""
    order = np.argsort(-link_busy_s, kind="stable")[:top]
    return [(int(link), min(float(link_busy_s[link]) / (time_s or 1.0), 1.0)) for link in order if link_bytes[link] > 0]


def link_columns(topology: Topology, link_bytes: Floats, link_busy_s: Floats, time_s: float, top: int) -> list[Column]:
    """The busiest links as a table."""
    found = busiest(link_bytes, link_busy_s, time_s, top)
    return [
        Column("link", "", [topology.link_name(link) for link, _ in found], 0, left=True),
        Column("carried", "", [format_volume(float(link_bytes[link])) for link, _ in found], 0),
        Column("busy", "", [f"{100 * share:.1f} %" for _, share in found], 8),
    ]


def tier_columns(topology: Topology, link_bytes: Floats, time_s: float) -> list[Column]:
    """What left the groups of each tier as a table."""
    loads = tier_loads(topology, link_bytes, time_s)
    return [
        Column("tier", "", [load.tier for load in loads], 0, left=True),
        Column("bytes", "", [format_volume(load.n_bytes) for load in loads], 0),
        Column("of capacity", "", [f"{100 * load.share:.1f} %" for load in loads], 8),
    ]


@dataclass(frozen=True)
class Details:
    """What is asked for beside the rows.

    Attributes
    ----------
    top : int
        So many of the busiest links are shown under the table, and the bytes of each tier; 0: neither.
    links, timeline : Path or None
        CSV files of every link, and of every message.
    """

    top: int = 0
    links: Path | None = None
    timeline: Path | None = None

    def __post_init__(self) -> None:
        for word, path in (("links", self.links), ("timeline", self.timeline)):
            require_file(path, ".csv", option=f"--{word} ")

    def text(self, results: Iterable[Result], topology: Topology, width: int | None) -> str:
        """The tables of all results."""
        lines: list[str] = []
        for result in results if self.top else ():
            loads: tuple[Any, Any] = result.link_bytes, result.link_busy_s
            tables = (
                ("busiest links", link_columns(topology, *loads, result.time_s, self.top)),
                ("bytes that left the groups of each tier", tier_columns(topology, loads[0], result.time_s)),
            )
            for title, columns in tables:
                if columns[0].cells:
                    lines += ["", f"{result.spec}, {format_bytes(result.n_bytes)}: {title}", *block(columns, width)]
        return "\n".join([*lines, ""]) if lines else ""

    def write(self, results: Sequence[Result], topology: Topology) -> None:
        """The files."""
        if self.links is not None:
            head = ("algorithm", "n_bytes", "link", "link_bytes", "busy_s", "busy_share")
            _write(self.links, head, results, lambda result: _link_rows(result, topology))
        if self.timeline is not None:
            columns = ("algorithm", "n_bytes", "step", "src", "dst", "message_bytes", "start_s", "end_s")
            _write(self.timeline, columns, results, _message_rows)


def _write(
    path: Path, head: Sequence[str], results: Sequence[Result], rows: Callable[[Result], Iterable[Sequence[Any]]]
) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for result in results:
            writer.writerows((result.spec, result.n_bytes, *row) for row in rows(result))


def _link_rows(result: Result, topology: Topology) -> Iterable[Sequence[Any]]:
    carried, busy_s = np.asarray(result.link_bytes), np.asarray(result.link_busy_s)
    for link in range(topology.n_links):
        share = float(busy_s[link]) / (result.time_s or 1.0)
        yield topology.link_name(link), float(carried[link]), float(busy_s[link]), share


def _message_rows(result: Result) -> Iterable[Sequence[Any]]:
    if result.timeline is None:
        return []
    columns = (np.asarray(column).tolist() for column in vars(result.timeline).values())
    return zip(*columns, strict=True)
