"""`commsim validate`: read, predict, tell."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import topologies
from experiments.comparison import Comparison
from experiments.exchange.report import steps_text
from experiments.options import require_file
from experiments.table import terminal_width
from experiments.validate.compare import compare, report
from experiments.validate.files import Told, read_measured
from experiments.validate.verdict import Limits, verdict

FIGURES = (".png", ".svg", ".pdf")


def validated(
    files: Sequence[Path],
    system: str,
    *,
    told: Told,
    stand_in: Sequence[str],
    limits: Limits,
    figure: Path | None,
    output: Path | None,
    **options: Any,
) -> tuple[str, list[str]]:
    """What to print, and the limits that were passed. Parameters as the command line has them.

    Raises
    ------
    InputError
        For files that cannot be read or written, or if no row can be predicted.
    """
    for path, endings in ((figure, FIGURES), (output, (".csv",))):
        require_file(path, *endings)
    results = [result for path in files for result in read_measured(path, told)]
    machine = topologies.find(system)
    done = compare(results, machine, stand_in=stand_in, **options)
    if output is not None:
        _write(done.rows, output)
    if figure is not None:
        _draw(done.rows, figure, system)
    width = terminal_width()
    crowded = machine.notes.get("oversubscribed")
    above = f"# {system} was calibrated with more ranks than cores: do not trust its speed\n" if crowded else ""
    text = above + report(done, width) + verdict(done.rows, machine, width and width - 2)
    text += "".join(steps_text(path, machine, options.get("model", "fluid"), width) for path in files)
    return text, limits.passed(done.rows)


def _write(rows: Sequence[Comparison], path: Path) -> None:
    with path.open("w", newline="") as file:
        listed = [{**vars(row), "error": row.error} for row in rows]
        writer = csv.DictWriter(file, list(listed[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(listed)


def _draw(rows: Sequence[Comparison], path: Path, system: str) -> None:
    from experiments import figures

    drawn = figures.predicted_against_measured(rows, f"predicted on {Path(system).name}")
    figures.save_as(drawn, path)
