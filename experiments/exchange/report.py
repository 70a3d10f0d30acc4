"""An exchange for people: a line for each call, what the steps came to, and the prediction beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collectives.registry import find
from commsim import System, simulate
from commsim.errors import InputError
from commsim.result import Result
from commsim.simulate import unbound_s
from commsim.units import format_bytes, format_count, format_time
from experiments.choose import LIBRARY
from experiments.comparison import score_of
from experiments.exchange.predicted import PredictedStep, predicted_step
from experiments.exchange.results import Exchange, Exchanged, read_steps
from experiments.groups import side_by_side
from experiments.left_out import wrapped
from experiments.output import read_results
from experiments.policies import Call
from experiments.table import Column, fitted, line_of


@dataclass(frozen=True)
class Prediction:
    """Of the exchange by one algorithm: the time of each call, and of the step."""

    call_s: tuple[float, ...]
    step: PredictedStep


def prediction(
    results: Sequence[Result],
    calls: Sequence[Call],
    operation_s: Sequence[float],
    stage_s: Sequence[float],
    system: System,
    model: str = "fluid",
    n_ranks: int | None = None,
) -> Prediction | None:
    """The same calls on a system; None where the MPI library chose the algorithm. `n_ranks` if no call has them all.

    Raises
    ------
    CommsimError
        If the system or the model cannot take it.
    """
    if any(result.algorithm == LIBRARY for result in results):
        return None
    n_ranks = max((result.n_ranks for result in results), default=1) if n_ranks is None else n_ranks
    if system.n_places < n_ranks:
        raise InputError(f"{system.name} has {system.n_places} places, and {n_ranks} ranks were run")
    call_s = tuple(
        _call_s(result, call.group, n_ranks, system, model) for result, call in zip(results, calls, strict=True)
    )
    return Prediction(call_s, predicted_step(calls, operation_s, call_s, stage_s))


def _call_s(result: Result, group: str, n_ranks: int, system: System, model: str) -> float:
    """A call alone; of groups of ranks, all of them at once."""
    if result.n_ranks < 2 or not result.n_bytes:
        return 0.0
    one = find(result.collective, result.spec)
    if group != "data":
        ranks = np.arange(n_ranks)
        members = ranks.reshape(-1, result.n_ranks) if group == "node" else ranks.reshape(result.n_ranks, -1).T
        together = side_by_side(one.resolved(result.n_ranks, result.n_bytes, None), members, 0)
        return unbound_s(together, system, result.n_bytes, n_ranks=n_ranks, dtype=result.dtype, model=model)
    given: dict[str, Any] = {"n_ranks": result.n_ranks, "model": model, "root": result.root or 0, "dtype": result.dtype}
    return simulate(one, system, result.n_bytes, **given).time_s


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3f}"


def as_text(done: Exchange, predicted: Sequence[Prediction | None], width: int | None = None) -> str:
    """The table, and below it a line for each algorithm's steps."""
    lines = [f"# {line}" for key, text in _facts(done).items() for line in wrapped(f"{key}: {text}", width)]
    columns = _columns(done, predicted)
    columns = columns if width is None else fitted(columns, width)
    lines += [f"# {line_of(columns, [getattr(c, row) for c in columns])}" for row in ("title", "unit")]
    n_rows = len(columns[0].cells)
    lines += [f"  {line_of(columns, [column.cells[row] for column in columns])}" for row in range(n_rows)]
    for exchanged, one in zip(done.measured, predicted, strict=True):
        lines += [f"# {line}" for line in wrapped(_step_line(done, exchanged, one), width)]
    lines += [f"# {line}" for line in score_lines(list(zip(done.measured, predicted, strict=True)))]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _facts(done: Exchange) -> dict[str, Any]:
    sent = sum(result.n_bytes for result in done.measured[0].results)
    return {
        "exchange": f"{done.workload} by {done.policy}: {format_count(len(done.calls), 'call')}, {sent:,} B a step",
        **done.facts,
        "times": "from the step's begin, of the slowest rank, median over iterations",
    }


def _columns(done: Exchange, predicted: Sequence[Prediction | None]) -> list[Column]:
    cells: dict[str, list[str]] = {
        key: [] for key in ("collective", "algorithm", "size", "ready", "copied", "start", "end")
    }
    cells |= {"time": [], "predicted": [], "error": [], "#wrong": []}
    for exchanged, one in zip(done.measured, predicted, strict=True):
        times = (np.median(getattr(exchanged, key), axis=0) for key in ("ready_s", "stage_s", "start_s", "end_s"))
        for place, (result, *of_call) in enumerate(zip(exchanged.results, *times, strict=True)):
            for key, text in zip(cells, _row(result, of_call, None if one is None else one.call_s[place]), strict=True):
                cells[key].append(text)
    if not any(cells["predicted"]):
        del cells["predicted"], cells["error"]
    if not any(float(text) for text in cells["copied"]):
        del cells["copied"]
    units = dict.fromkeys(("ready", "copied", "start", "end", "time", "predicted"), "ms")
    left = ("collective", "algorithm")
    return [
        Column(key, units.get(key, ""), texts, 0 if key in left else 10, key in left) for key, texts in cells.items()
    ]


def _row(result: Result, of_call: Sequence[float], predicted_s: float | None) -> list[str]:
    row = [result.collective, result.spec, format_bytes(result.n_bytes), *map(_milliseconds, of_call)]
    row.append(_milliseconds(result.time_s))
    known = predicted_s is not None and result.time_s > 0
    row.append(_milliseconds(predicted_s or 0.0) if known else "")
    row.append(f"{100 * ((predicted_s or 0.0) / result.time_s - 1):+.1f}%" if known else "")
    return [*row, str(result.n_wrong)]


def _step_line(done: Exchange, exchanged: Exchanged, one: Prediction | None) -> str:
    step_s, exposed_s = float(np.median(exchanged.step_s)), float(np.median(exchanged.exposed_s))
    busy_s = sum(result.time_s for result in exchanged.results)
    hidden = f", {100 * max(0.0, 1 - exposed_s / busy_s):.0f} % of the exchange hidden" if busy_s else ""
    line = (
        f"{exchanged.spec}: a step takes {format_time(step_s)}, computing alone {format_time(done.compute_s)}; waiting "
        f"for calls {format_time(exposed_s)}{hidden}"
    )
    if one is None:
        return line
    error = 100 * (one.step.step_s / step_s - 1)
    return (
        f"{line}; predicted {format_time(one.step.step_s)} ({error:+.1f} %), waiting {format_time(one.step.exposed_s)}"
    )


@dataclass(frozen=True)
class StepBeside:
    """The steps of one algorithm: predicted beside measured.

    Attributes
    ----------
    algorithm : str
    step_s, exposed_s : float
        Measured: of a step, and how long it waited for calls.
    spans : tuple of (float, float)
        When each call began and ended.
    predicted : PredictedStep
    """

    algorithm: str
    step_s: float
    exposed_s: float
    spans: tuple[tuple[float, float], ...]
    predicted: PredictedStep

    @property
    def error(self) -> float:
        """Of the prediction of the step."""
        return self.predicted.step_s / self.step_s - 1


def steps_beside(path: Path, system: System, model: str = "fluid") -> list[StepBeside]:
    """The steps of a file that ``commsim exchange -o`` wrote, predicted; none of other files.

    Raises
    ------
    CommsimError
        If the file is damaged, or the system cannot take its calls.
    """
    steps = read_steps(path)
    if steps is None:
        return []
    found, n_calls, results = [], len(steps.calls), read_results(path)
    for number, measured in enumerate(steps.iterations):
        own = slice(number * n_calls, (number + 1) * n_calls)
        given = (results[own], steps.calls, steps.operation_s, steps.stage_s, system, model)
        one = prediction(*given, n_ranks=steps.n_ranks)
        if one is not None:
            times = float(measured["step_s"]), float(measured["exposed_s"])
            found.append(StepBeside(measured["algorithm"], *times, steps.spans[own], one.step))
    return found


def steps_text(path: Path, system: System, model: str = "fluid", width: int | None = None) -> str:
    """The same in words; nothing for other files. Errors as :func:`steps_beside` has them."""
    lines = [
        f"{one.algorithm}: a step took {format_time(one.step_s)}, predicted {format_time(one.predicted.step_s)} "
        f"({100 * one.error:+.1f} %); it waited {format_time(one.exposed_s)} for calls, predicted "
        f"{format_time(one.predicted.exposed_s)}"
        for one in steps_beside(path, system, model)
    ]
    return "".join(f"# {part}\n" for line in lines for part in wrapped(line, width))


def score_lines(pairs: Sequence[tuple[Exchanged, Prediction | None]]) -> list[str]:
    """How far off the predictions were: of calls that sum gradients up, and of whole steps."""
    calls, steps = [], []
    for exchanged, one in pairs:
        if one is None:
            continue
        reducing = [pair for pair in zip(one.call_s, exchanged.results, strict=True) if pair[1].op]
        calls += [abs(math.log(p / r.time_s)) for p, r in reducing if p > 0 and r.time_s > 0]
        steps.append(abs(math.log(one.step.step_s / float(np.median(exchanged.step_s)))))
    return [
        f"{what}: |ln(predicted/measured)| median {total.median:.3f}, 90th percentile {total.p90:.3f}, {rows}"
        for what, errors in (("calls of gradients", calls), ("steps", steps))
        if errors and (total := score_of(errors)) and (rows := format_count(total.n_rows, "row"))
    ]
