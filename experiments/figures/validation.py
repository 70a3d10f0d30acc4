"""Predicted against measured times of any rows, over bands at 10 and 20 %."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from experiments.comparison import Comparison, score
from experiments.figures.style import (
    GREY,
    handle,
    legend_above,
    log_times,
    looks_of,
    new_figure,
    size_axis,
    styled,
    unique,
)

BANDS = ((0.2, "#efefef"), (0.1, "#dedede"))
FARTHEST = 4.0  # ratios are drawn from 1/4 to 4; what lies beyond stands on the edge
TICKS = (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)


@styled
def predicted_against_measured(rows: Sequence[Comparison], title: str) -> Figure:
    """Predicted time over measured time above, their ratio by size below; both with bands at 10 and 20 %.

    Parameters
    ----------
    rows : sequence of Comparison
        Of any collectives, ranks and sizes; at least one.
    title : str
    """
    several = len({row.collective for row in rows}) > 1
    names = [_name(row, several) for row in rows]
    looks = looks_of(names)
    figure = new_figure(6.4)
    upper, lower = figure.subplots(2, 1, height_ratios=(1.5, 1))
    times = np.array([[row.measured_s, row.predicted_s] for row in rows])
    edges = np.array([times.min() / 1.5, times.max() * 1.5])
    for band, shade in BANDS:
        upper.fill_between(edges, edges * (1 - band), edges * (1 + band), color=shade, linewidth=0, zorder=0)
        lower.axhspan(1 - band, 1 + band, color=shade, linewidth=0, zorder=0)
    upper.plot(edges, edges, color=GREY, linewidth=0.8, zorder=1)
    lower.axhline(1, color=GREY, linewidth=0.8, zorder=1)
    for name in unique(names):
        own = [row for row, of in zip(rows, names, strict=True) if of == name]
        look = {**looks[name].point, "linestyle": "none", "alpha": 0.8}
        upper.plot([row.measured_s for row in own], [row.predicted_s for row in own], **look)
        ratios = np.clip([row.predicted_s / row.measured_s for row in own], 1 / FARTHEST, FARTHEST)
        lower.plot([row.n_bytes for row in own], ratios, clip_on=False, **look)
    log_times(upper)
    upper.set(xscale="log", xlim=edges, ylim=edges, ylabel="predicted", xlabel="measured")
    upper.xaxis.set_major_formatter(upper.yaxis.get_major_formatter())
    total = score(rows)
    upper.set_title(f"{title}\n|ln| median {total.median:.3f}, 90th percentile {total.p90:.3f}, {total.n_rows} rows")
    lower.set(yscale="log", ylim=(1 / FARTHEST, FARTHEST), ylabel="predicted / measured\n(bands: 10 and 20 %)")
    lower.set_yticks(TICKS)
    lower.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lower.minorticks_off()
    size_axis(lower, [row.n_bytes for row in rows])
    legend_above(figure, [handle(name, **looks[name].point) for name in unique(names)])
    return figure


def _name(row: Comparison, several: bool) -> str:
    """The algorithm without its parameters, of which there may be one set for each size."""
    name = row.algorithm.partition(":")[0]
    return f"{row.collective} {name}" if several else name
