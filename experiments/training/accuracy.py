"""Scaling efficiency predicted beside published: ``python -m experiments.training.accuracy`` (make docs)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from commsim.units import format_time
from experiments.marks import between_marks
from experiments.training.sets import OSU_STEPS, Scored, Set, abci, dgx, headlines, hkbu, osu_caffe, tf_cnn

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.md"


def section() -> str:
    """The training section of docs/accuracy.md."""
    sets = [abci(), hkbu(), dgx(), tf_cnn(), headlines()]
    lines = [
        "| set | rows | median error | no communication | no overlap |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {one.name} | {len(one.rows)} | {one.errors[0]:.1f} | {one.errors[1]:.1f} | {one.errors[2]:.1f} |"
            for one in sets
        ),
        "",
        "Errors are medians of |predicted − measured| scaling efficiency in percentage points, set by set.",
        "",
    ]
    for one in sets:
        lines += [f"**{one.name}.** {one.source}. {one.how}.", "", *_rows(one), ""]
    overhead_s, times = osu_caffe()
    lines += [
        "**OSU-Caffe, CIFAR10-quick, batch 2048, strong scaling.** A fit, no prediction: its cluster is not stated. "
        f"One free parameter, what a call takes before its first message: {format_time(overhead_s)}. {OSU_STEPS} "
        "iterations and a cable of InfiniBand FDR for each GPU are ASSUMED.",
        "",
        "| GPUs | measured | fitted | error |",
        "| ---: | ---: | ---: | ---: |",
        *(f"| {n} | {a:.1f} s | {b:.1f} s | {100 * (b / a - 1):+.1f} % |" for n, a, b in times),
        "",
    ]
    return "\n".join(lines)


def _rows(one: Set) -> list[str]:
    """A row each, or where there are many the medians of each series."""
    if len(one.rows) <= MOST_ROWS:
        return [
            "| | ranks | measured | predicted | no overlap |",
            "| --- | ---: | ---: | ---: | ---: |",
            *(
                f"| {r.label} | {r.n_ranks} | {100 * r.measured:.1f} % | {100 * r.predicted:.1f} % "
                f"| {100 * r.no_overlap:.1f} % |"
                for r in one.rows
            ),
        ]
    by_method: dict[str, list[Scored]] = {}
    for row in one.rows:
        by_method.setdefault(row.label.rpartition(", ")[2], []).append(row)
    return [
        "| method | rows | median error | no communication | no overlap |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            "| {} | {} | {:.1f} | {:.1f} | {:.1f} |".format(method, len(rows), *replace(one, rows=tuple(rows)).errors)
            for method, rows in by_method.items()
        ),
    ]


MOST_ROWS = 24


def main() -> None:
    """Write the section."""
    PAGE.write_text(between_marks(PAGE.read_text(), "training", section()))
    sys.stdout.write(f"training in {PAGE}\n")


if __name__ == "__main__":
    main()
