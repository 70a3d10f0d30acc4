"""Predict what was measured, and put the two side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectives.registry import find
from commsim import CommsimError, Result, System, simulate
from commsim.errors import InputError, RefusedError, UnknownNameError
from commsim.units import format_bytes, format_count, format_time
from experiments.choose import LIBRARY, Finder, require_known
from experiments.comparison import Comparison, score
from experiments.left_out import LeftOut, in_one_line, told
from experiments.sizes import read_matrix
from experiments.table import Column, cut_names, fitted, line_of


@dataclass(frozen=True)
class Validation:
    """Rows that could be predicted, and those that could not with their reasons."""

    rows: list[Comparison]
    left_out: list[LeftOut]


def compare(
    measured: Sequence[Result],
    system: System,
    *,
    model: str = "fluid",
    group: str = "sweep",
    algorithm: Finder = find,
    matrix: Path | None = None,
    stand_in: Sequence[str] = (),
) -> Validation:
    """One comparison for each measured result that can be predicted, in order.

    Parameters
    ----------
    measured : sequence of Result
    system : System
    model : str
    group : str
        Name that the rows carry.
    algorithm : callable
        Finds the algorithm of a row; by default among the library's.
    matrix : Path, optional
        Bytes from each rank to each, for rows of an alltoallv; :func:`experiments.sizes.read_matrix` says how.
    stand_in : sequence of str
        Algorithms for rows of a library that does not say what it ran: the fastest predicted of them is taken.

    Raises
    ------
    InputError
        If no row can be predicted; names the reasons. If a stand-in is no algorithm of any measured collective.
    """
    if not measured:
        raise InputError("the files hold no rows")
    require_known(stand_in, sorted({result.collective for result in measured}), algorithm)
    rows, left_out = [], []
    for result in measured:
        try:
            specs = stand_in if result.algorithm == LIBRARY else [result.spec]
            usable = _usable(result, bool(specs))
            rows.append(_fastest(usable, specs, system, model, group, algorithm, matrix))
        except CommsimError as error:
            left_out.append(LeftOut.of(result.spec, error))
    if not rows:
        raise InputError("no row can be predicted: " + in_one_line(left_out))
    return Validation(rows, left_out)


def _usable(result: Result, is_known: bool) -> Result:
    """The same, if it is a right measurement of an algorithm that is known, or has stand-ins."""
    if result.n_wrong:
        raise InputError(f"measured with {format_count(result.n_wrong, 'wrong element')}")
    if not result.is_measured or result.time_s <= 0:
        raise InputError("not measured on real ranks")
    if not is_known:
        raise InputError("which algorithm the MPI library ran is not known")
    if result.n_ranks < 2:
        raise InputError("one rank exchanges nothing")
    return result


def _fastest(measured: Result, specs: Sequence[str], *rest: Any) -> Comparison:
    """The fastest predicted of those that take the case: what refuses it, the library did not run."""
    tried, refused = [], []
    for spec in specs:
        try:
            tried.append(_comparison(measured, spec, *rest))
        except (UnknownNameError, RefusedError) as error:
            refused.append(error)
    if not tried:
        raise refused[0]
    return min(tried, key=lambda row: row.predicted_s)


def _comparison(
    measured: Result, spec: str, system: System, model: str, group: str, algorithm: Finder, matrix: Path | None
) -> Comparison:
    one = algorithm(measured.collective, spec)
    counts = None
    if one.collective.sizes_each:
        if matrix is None:
            raise InputError(f"{measured.collective} needs the sizes that were run: --matrix FILE.csv")
        counts = read_matrix(matrix, measured.dtype)
    predicted = simulate(
        one,
        system,
        measured.n_bytes,
        n_ranks=measured.n_ranks,
        model=model,
        root=measured.root or 0,
        dtype=measured.dtype,
        counts=counts,
    )
    return Comparison(
        collective=measured.collective,
        algorithm=spec,
        n_ranks=measured.n_ranks,
        n_bytes=measured.n_bytes,
        predicted_s=predicted.time_s,
        measured_s=measured.time_s,
        bottleneck=predicted.bottleneck or "",
        group=group,
    )


def table(rows: Sequence[Comparison], width: int | None = None) -> str:
    """Predicted beside measured, one line a row, and the score under it; no wider than `width` where that can be."""
    columns = [
        Column("collective", "", [row.collective for row in rows], 0, left=True),
        Column("algorithm", "", [row.algorithm for row in rows], 0, left=True),
        Column("size", "", [format_bytes(row.n_bytes) for row in rows], 11),
        Column("predicted", "", [format_time(row.predicted_s) for row in rows], 11),
        Column("measured", "", [format_time(row.measured_s) for row in rows], 11),
        Column("error", "", [f"{100 * row.error:+.1f}%" for row in rows], 8),
    ]
    if width is not None:
        columns = fitted(columns, width)
    lines = [line_of(columns, [c.title for c in columns])]
    lines += [line_of(columns, [c.cells[row] for c in columns]) for row in range(len(rows))]
    lines += [f"# {line}" for line in cut_names(columns, [row.algorithm for row in rows])]
    return "\n".join(line.removeprefix(" ") for line in lines) + f"\n{score_line(rows)}\n"


def report(done: Validation, width: int | None = None) -> str:
    """The table, and below it the rows that could not be predicted."""
    below = told(done.left_out, width and width - 2, counted="row")
    return table(done.rows, width) + "".join(f"# {line}\n" for line in below)


def score_line(rows: Sequence[Comparison]) -> str:
    """Median and 90th percentile of |ln(predicted/measured)|, in words."""
    total = score(rows)
    rows_said = format_count(total.n_rows, "row")
    return f"|ln(predicted/measured)|: median {total.median:.3f}, 90th percentile {total.p90:.3f}, {rows_said}"
