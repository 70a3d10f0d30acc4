"""Predict what was measured, and put the two side by side."""

from __future__ import annotations

from collections.abc import Sequence

from collectives.registry import find
from commsim import Result, System, simulate
from commsim.errors import InputError
from commsim.units import format_bytes, format_time
from experiments.choose import LIBRARY
from experiments.comparison import Comparison, score
from experiments.output import algorithm_of


def compare(
    measured: Sequence[Result], system: System, *, model: str = "hockney", group: str = "sweep"
) -> list[Comparison]:
    """One comparison for each measured result of an algorithm of ours, in order.

    Parameters
    ----------
    measured : sequence of Result
        The library's own collectives are left out: which algorithm they ran is not known.
    system : System
    model : str
    group : str
        Name that the rows carry.

    Raises
    ------
    InputError
        If nothing is left, a measurement was wrong, or a row does not fit the system.
    """
    wrong = [result for result in measured if result.n_wrong]
    if wrong:
        row = wrong[0]
        raise InputError(
            f"{algorithm_of(row)} at {format_bytes(row.n_bytes)} was measured with {row.n_wrong} wrong elements: not a "
            f"measurement of this collective"
        )
    simulated = [result for result in measured if not result.is_measured or result.time_s <= 0]
    if simulated:
        raise InputError(
            f"{algorithm_of(simulated[0])} at {format_bytes(simulated[0].n_bytes)} was not measured on real ranks"
        )
    ours = [result for result in measured if result.algorithm != LIBRARY and result.n_ranks > 1]
    if not ours:
        raise InputError(
            "no row to validate: on 2 ranks or more, of an algorithm of ours (the library's own is not known)"
        )
    return [_comparison(result, system, model, group) for result in ours]


def _comparison(measured: Result, system: System, model: str, group: str) -> Comparison:
    predicted = simulate(
        find(measured.collective, algorithm_of(measured)),
        system,
        measured.n_bytes,
        n_ranks=measured.n_ranks,
        model=model,
        root=measured.root or 0,
        dtype=measured.dtype,
    )
    return Comparison(
        collective=measured.collective,
        algorithm=algorithm_of(measured),
        n_ranks=measured.n_ranks,
        n_bytes=measured.n_bytes,
        predicted_s=predicted.time_s,
        measured_s=measured.time_s,
        bottleneck=predicted.bottleneck or "",
        group=group,
    )


def table(rows: Sequence[Comparison]) -> str:
    """Predicted beside measured, one line a row, and the score under it."""
    wide = max(len("algorithm"), *(len(row.algorithm) for row in rows))
    lines = [f"{'collective':<10} {'algorithm':<{wide}} {'size':>11} {'predicted':>11} {'measured':>11} {'error':>8}"]
    for row in rows:
        lines.append(
            f"{row.collective:<10} {row.algorithm:<{wide}} {format_bytes(row.n_bytes):>11} "
            f"{format_time(row.predicted_s):>11} {format_time(row.measured_s):>11} {100 * row.error:>+7.1f}%"
        )
    return "\n".join(lines) + f"\n{score_line(rows)}\n"


def score_line(rows: Sequence[Comparison]) -> str:
    """Median and 90th percentile of |ln(predicted/measured)|, in words."""
    total = score(rows)
    return f"|ln(predicted/measured)|: median {total.median:.3f}, 90th percentile {total.p90:.3f}, {total.n_rows} rows"
