"""The figure of an exchange on real ranks: when calls were on their way in a step, measured and predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from experiments.figures.style import (
    BAR_ALPHA,
    GREY,
    INK,
    handle,
    legend_above,
    linear_times,
    looks_of,
    new_figure,
    percent,
    styled,
)

if TYPE_CHECKING:
    from experiments.exchange.report import StepBeside


@styled
def exchanged(steps: Sequence[StepBeside], computed_s: float, *, order: Sequence[str] = ()) -> Figure:
    """Two rows for each algorithm: its calls in a step as they were measured, and as they were predicted.

    Parameters
    ----------
    steps : sequence of StepBeside
    computed_s : float
        When the backward pass ends, if nothing delays it.
    order : sequence of str, optional
        Algorithms in the order in which they take colours.
    """
    looks = looks_of([*order, *(one.algorithm for one in steps)])
    figure = new_figure(1.2 + 0.62 * len(steps))
    axes = figure.subplots()
    last = max(computed_s, *(max(one.step_s, one.predicted.step_s) for one in steps))
    for place, one in enumerate(steps):
        predicted = tuple(zip(one.predicted.start_s, one.predicted.end_s, strict=True))
        for row, spans, step_s, alpha in (
            (place - 0.2, one.spans, one.step_s, BAR_ALPHA),
            (place + 0.2, predicted, one.predicted.step_s, 0.4),
        ):
            bars = [(begin, end - begin) for begin, end in spans]
            colour = looks[one.algorithm].colour
            axes.broken_barh(
                bars, (row - 0.16, 0.32), facecolors=colour, alpha=alpha, edgecolors="white", linewidths=0.4
            )
            axes.vlines(step_s, row - 0.18, row + 0.18, color=INK, linewidth=1.6)
        axes.text(
            1.1, place, percent(one.error), transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=8
        )
    axes.axvline(computed_s, color=GREY, linestyle="--", linewidth=1.0)
    axes.set_yticks(range(len(steps)), [one.algorithm for one in steps])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.03 * last)
    linear_times(axes.xaxis, "time in the step", last)
    axes.text(1.1, 1.0, "error", transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=GREY)
    legend_above(
        figure,
        [
            handle("calls, measured (upper)", color=GREY, marker="s", markersize=7, alpha=BAR_ALPHA),
            handle("calls, predicted (lower)", color=GREY, marker="s", markersize=7, alpha=0.4),
            handle("end of the step", color=INK, marker="|", markersize=10, markeredgewidth=1.6),
            handle("computing alone", color=GREY, linestyle="--"),
        ],
    )
    return figure
