"""The figures: predicted beside measured, a published measurement, the calibration. One style for all.

Every function takes values in SI units and returns a :class:`matplotlib.figure.Figure`; :func:`save` writes it. A
series has the same colour and marker in all figures that are given the same `order` (else: in order of first
appearance).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from matplotlib.transforms import ScaledTranslation

from commsim.collective import collective_named
from commsim.units import format_volume, gigabytes_per_second
from experiments.comparison import Comparison, series
from experiments.figures.style import (
    BAR_ALPHA,
    DIAMOND,
    GREY,
    INK,
    Look,
    Points,
    handle,
    legend_above,
    linear_times,
    log_times,
    looks_of,
    new_figure,
    percent,
    plot,
    save,
    save_as,
    size_axis,
    styled,
    unique,
)
from experiments.figures.validation import predicted_against_measured

__all__ = [
    "Points",
    "against_published",
    "buckets",
    "calibration",
    "predicted_against_measured",
    "predicted_and_measured",
    "save",
    "save_as",
]

ERROR_LIMIT = 0.6
"""Errors beyond are drawn as arrows at the edge of the panel."""


@styled
def predicted_and_measured(
    rows: Sequence[Comparison],
    title: str,
    *,
    library_s: Mapping[int, float] | None = None,
    order: Sequence[str] = (),
) -> Figure:
    """Time against message size, measured (markers) and predicted (lines), and the error of each row below.

    Parameters
    ----------
    rows : sequence of Comparison
        Of one collective.
    title : str
    library_s : mapping, optional
        Bytes to measured seconds of the MPI library's own collective, a reference.
    order : sequence of str, optional
        Algorithms in the order in which they take colours.
    """
    named = list(zip(series(rows), rows, strict=True))
    names = unique(name for name, _ in named)
    measured = {name: [(row.n_bytes, row.measured_s) for own, row in named if own == name] for name in names}
    predicted = {name: [(row.n_bytes, row.predicted_s) for own, row in named if own == name] for name in names}
    errors = {name: [(row.n_bytes, row.error) for own, row in named if own == name] for name in names}
    reference = sorted((library_s or {}).items())
    return _times_and_errors(measured, predicted, errors, title, "predicted", reference, order)


@styled
def calibration(measured: Mapping[str, Points], fitted: Mapping[str, Points], title: str) -> Figure:
    """What was measured between pairs of ranks, the lines fitted to it, and the residuals below.

    Parameters
    ----------
    measured, fitted : mapping
        Name of a series ("one way") to its ``(n_bytes, time_s)``. A residual is drawn at every measured size within the
        sizes of the fit, which is read linearly between its points.
    title : str
    """
    names = unique([*measured, *fitted])
    points = {name: measured.get(name, ()) for name in names}
    lines = {name: fitted.get(name, ()) for name in names}
    errors = {name: _residuals(points[name], lines[name]) for name in names}
    return _times_and_errors(points, lines, errors, title, "fitted", (), ())


@styled
def buckets(
    rows: Sequence[Comparison],
    *,
    library_s: Mapping[int, float] | None = None,
    order: Sequence[str] = (),
) -> Figure:
    """Gradient buckets: measured time (bars), prediction (diamonds) and its error, per bucket and algorithm.

    Parameters
    ----------
    rows : sequence of Comparison
        Of one collective; buckets are numbered in order of appearance.
    library_s : mapping, optional
        Bytes to measured seconds of the MPI library's own collective, drawn as a line across the bucket.
    order : sequence of str, optional
        Algorithms in the order in which they take colours.
    """
    library = library_s or {}
    sizes = unique([*(row.n_bytes for row in rows), *library])
    looks = looks_of([*order, *(row.algorithm for row in rows)])
    figure = new_figure(1.1 + 0.2 * len(rows) + 0.25 * len(sizes))
    axes = figure.subplots()
    top, centres = 0.0, []
    for n_bytes in sizes:
        bars = [row for row in rows if row.n_bytes == n_bytes]
        height = max(len(bars), 1)
        _bucket(axes, top, bars, looks)
        if n_bytes in library:
            axes.vlines(library[n_bytes], top - 0.1, top + height + 0.1, color=INK, linewidth=1.6, zorder=4)
        centres.append(top + height / 2)
        top += height + 1.0
    _bucket_axes(axes, sizes, centres)
    shown = unique(row.algorithm for row in rows)
    bar_handles = [handle(name, color=looks[name].colour, marker="s", markersize=7, alpha=BAR_ALPHA) for name in shown]
    library_handle = [handle("MPI library, measured", color=INK, marker="|", markersize=10, markeredgewidth=1.6)]
    handles = [*bar_handles, handle("predicted", **DIAMOND), *(library_handle if library else [])]
    legend_above(figure, handles)
    return figure


@styled
def against_published(
    published: Points,
    curves: Mapping[str, Points],
    *,
    published_label: str,
    collective: str,
    n_ranks: int,
    order: Sequence[str] = (),
) -> Figure:
    """Bus bandwidth of a published measurement (markers) and of predictions (lines), and the times below.

    Parameters
    ----------
    published : sequence of (n_bytes, time_s)
    curves : mapping
        Algorithm to its predicted ``(n_bytes, time_s)``.
    published_label : str
        What was measured, with its algorithm.
    collective : str
        Gives the bus bandwidth factor.
    n_ranks : int
    order : sequence of str, optional
        Algorithms in the order in which they take colours.
    """
    looks = looks_of([*order, *curves])
    factor = collective_named(collective).busbw_factor(n_ranks)
    figure = new_figure(5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    theirs: dict[str, Any] = {"color": INK, "marker": "o", "markerfacecolor": "white", "linewidth": 0.8}
    drawn = [(published, theirs), *((points, looks[name].line) for name, points in curves.items())]
    for points, look in drawn:
        plot(upper, [(n_bytes, gigabytes_per_second(factor * n_bytes / time_s)) for n_bytes, time_s in points], look)
        plot(lower, points, look)
    upper.set(ylabel=f"bus bandwidth (GB/s), {n_ranks} ranks")
    upper.set_ylim(bottom=0)
    log_times(lower)
    figure.align_ylabels()
    size_axis(lower, [n_bytes for points, _ in drawn for n_bytes, _ in points])
    handles = [
        handle(published_label, **theirs),
        *(handle(f"{name}, predicted", **looks[name].line) for name in curves),
    ]
    upper.legend(handles=handles, loc="upper left")
    return figure


def _times_and_errors(
    measured: Mapping[str, Points],
    predicted: Mapping[str, Points],
    errors: Mapping[str, Points],
    title: str,
    word: str,
    reference: Points,
    order: Sequence[str],
) -> Figure:
    """Markers and lines above, relative errors below; the keys of the three mappings are the same."""
    looks = looks_of([*order, *measured])
    figure = new_figure(4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name in measured:
        plot(upper, predicted[name], looks[name].line)
        plot(upper, measured[name], {**looks[name].point, "linestyle": "none"})
    handles = [handle(name, **looks[name].point, linewidth=1.4) for name in measured]
    handles += [handle("measured", color=GREY, marker="o"), handle(word, color=GREY)]
    if reference:
        plot(upper, reference, _LIBRARY)
        handles.append(handle("MPI library, measured", **_LIBRARY))
    upper.set_title(title)
    upper.legend(handles=handles, loc="upper left")
    log_times(upper)
    figure.align_ylabels()
    _error_panel(lower, errors, looks, f"{word} /\nmeasured − 1")
    size_axis(
        lower, [n_bytes for series in (*measured.values(), *predicted.values(), reference) for n_bytes, _ in series]
    )
    return figure


_LIBRARY: dict[str, Any] = {"color": INK, "linestyle": ":", "linewidth": 1.0, "marker": "x", "markersize": 4}


def _residuals(measured: Points, fitted: Points) -> list[tuple[int, float]]:
    """Fit over measurement, less one, at the measured sizes that the fit spans."""
    line = sorted(fitted)
    if not line:
        return []
    sizes, times_s = [n_bytes for n_bytes, _ in line], [time_s for _, time_s in line]
    inside = [(n_bytes, time_s) for n_bytes, time_s in measured if sizes[0] <= n_bytes <= sizes[-1]]
    return [(n_bytes, float(np.interp(n_bytes, sizes, times_s)) / time_s - 1) for n_bytes, time_s in inside]


def _error_panel(axes: Axes, errors: Mapping[str, Points], looks: Mapping[str, Look], label: str) -> None:
    """Relative errors over bands at 10 and 20 %; what lies beyond the limit becomes an arrow at the edge."""
    for band, shade in ((0.2, "#f1f1f1"), (0.1, "#e4e4e4")):
        axes.axhspan(-band, band, color=shade, linewidth=0, zorder=0)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    for index, (name, points) in enumerate(errors.items()):
        inside = [(n_bytes, error if abs(error) <= ERROR_LIMIT else math.nan) for n_bytes, error in points]
        plot(axes, inside, {**looks[name].point, "linewidth": 0.6})
        shift = ScaledTranslation((index - (len(errors) - 1) / 2) * 0.04, 0, axes.figure.dpi_scale_trans)
        for n_bytes, error in points:
            if abs(error) > ERROR_LIMIT:
                marker, edge = ("^", ERROR_LIMIT) if error > 0 else ("v", -ERROR_LIMIT)
                style: dict[str, Any] = {"color": looks[name].colour, "markersize": 6, "clip_on": False, "zorder": 5}
                axes.plot(n_bytes, edge, marker, transform=axes.transData + shift, **style)
    _name_worst(axes, [point for points in errors.values() for point in points])
    axes.set(ylim=(-ERROR_LIMIT * 1.1, ERROR_LIMIT * 1.1), yticks=[-0.5, -0.2, 0, 0.2, 0.5])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value)))
    axes.set_ylabel(label)
    axes.grid(axis="y", visible=False)


def _name_worst(axes: Axes, points: Points) -> None:
    """Write the largest error beyond each edge beside its arrow."""
    for worst, below in ((max, True), (min, False)):
        n_bytes, error = worst(points, key=lambda point: point[1], default=(0, 0.0))
        if abs(error) > ERROR_LIMIT and (error > 0) == below:
            edge, offset, side = (ERROR_LIMIT, -6, "top") if below else (-ERROR_LIMIT, 6, "bottom")
            text = axes.annotate(percent(error), (n_bytes, edge), (0, offset), textcoords="offset points")
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            text.set(ha="center", va=side, fontsize=7.5, bbox=box)


def _bucket(axes: Axes, top: float, rows: Sequence[Comparison], looks: Mapping[str, Look]) -> None:
    """One group of bars from `top` downwards; the errors stand in a column at the right."""
    places = top + 0.5 + np.arange(len(rows))
    colours = [looks[row.algorithm].colour for row in rows]
    axes.barh(places, [row.measured_s for row in rows], height=0.78, color=colours, alpha=BAR_ALPHA, linewidth=0)
    axes.plot([row.predicted_s for row in rows], places, **{**DIAMOND, "linestyle": "none"}, zorder=5)
    for place, row in zip(places, rows, strict=True):
        style: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center", "fontsize": 8}
        axes.text(1.08, place, percent(row.error), **style)


def _bucket_axes(axes: Axes, sizes: Sequence[int], centres: Sequence[float]) -> None:
    labels = [f"bucket {number}\n{format_volume(n_bytes)}" for number, n_bytes in enumerate(sizes, 1)]
    axes.set_yticks(centres, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(left=0)
    linear_times(axes.xaxis, "time", axes.get_xlim()[1])
    axes.text(1.08, 1.0, "error", transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=GREY)
