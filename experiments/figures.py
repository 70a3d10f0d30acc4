"""The figures: predicted beside measured, scaling, a published measurement, the calibration. One style for all.

Every function takes values in SI units and returns a :class:`matplotlib.figure.Figure`; :func:`save` writes it. A
series has the same colour and marker in all figures that are given the same `order` (else: in order of first
appearance).
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter
from matplotlib.transforms import ScaledTranslation

from commsim.collective import collective_named
from commsim.units import (
    format_bytes,
    format_money,
    format_time,
    format_volume,
    gigabytes_per_second,
    parse_time,
)
from experiments.comparison import Comparison
from experiments.plan import PlanPoint

Points = Sequence[tuple[int, float]]
"""``(n_bytes, time_s)``, or ``(n_bytes, relative error)``."""

ERROR_LIMIT = 0.6
"""Errors beyond are drawn as arrows at the edge of the panel."""

_WIDTH_INCHES = 6.0
_BAR_ALPHA = 0.85
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C2E")  # Okabe and Ito, and a brown
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_INK, _GREY = "#1a1a1a", "#6b6b6b"
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 8.5,
    "legend.frameon": False,
    "legend.borderaxespad": 0.3,
    "legend.labelspacing": 0.35,
    "axes.edgecolor": _GREY,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "text.color": _INK,
    "text.parse_math": False,  # "M$" is no formula
    "svg.fonttype": "path",
    "svg.hashsalt": "commsim",
}

_Parameters = ParamSpec("_Parameters")
_Item = TypeVar("_Item")


@contextmanager
def _style() -> Iterator[None]:
    """The project's style alone, whatever the user's own matplotlib settings say."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _styled(draw: Callable[_Parameters, Figure]) -> Callable[_Parameters, Figure]:
    @functools.wraps(draw)
    def wrapped(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> Figure:
        with _style():
            return draw(*args, **kwargs)

    return wrapped


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name.png`` and ``name.svg``; the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    folder : Path
        Made when it does not exist.
    name : str
        Without an ending.

    Returns
    -------
    list of Path
        The PNG, then the SVG.
    """
    folder.mkdir(parents=True, exist_ok=True)
    png, svg = folder / f"{name}.png", folder / f"{name}.svg"
    with _style():
        figure.savefig(png, format="png", dpi=150, metadata={"Software": None})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return [png, svg]


# ------------------------------------------------------------------------------------------------- the figures


@_styled
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
    names = _unique(row.algorithm for row in rows)
    measured = {name: [(row.n_bytes, row.measured_s) for row in rows if row.algorithm == name] for name in names}
    predicted = {name: [(row.n_bytes, row.predicted_s) for row in rows if row.algorithm == name] for name in names}
    errors = {name: [(row.n_bytes, row.error) for row in rows if row.algorithm == name] for name in names}
    reference = sorted((library_s or {}).items())
    return _times_and_errors(measured, predicted, errors, title, "predicted", reference, order)


@_styled
def calibration(measured: Mapping[str, Points], fitted: Mapping[str, Points], title: str) -> Figure:
    """What was measured between pairs of ranks, the lines fitted to it, and the residuals below.

    Parameters
    ----------
    measured, fitted : mapping
        Name of a series ("one way") to its ``(n_bytes, time_s)``. A residual is drawn at every measured size within the
        sizes of the fit, which is read linearly between its points.
    title : str
    """
    names = _unique([*measured, *fitted])
    points = {name: measured.get(name, ()) for name in names}
    lines = {name: fitted.get(name, ()) for name in names}
    errors = {name: _residuals(points[name], lines[name]) for name in names}
    return _times_and_errors(points, lines, errors, title, "fitted", (), ())


@_styled
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
    sizes = _unique([*(row.n_bytes for row in rows), *library])
    looks = _looks([*order, *(row.algorithm for row in rows)])
    figure = _figure(1.1 + 0.2 * len(rows) + 0.25 * len(sizes))
    axes = figure.subplots()
    top, centres = 0.0, []
    for n_bytes in sizes:
        bars = [row for row in rows if row.n_bytes == n_bytes]
        height = max(len(bars), 1)
        _bucket(axes, top, bars, looks)
        if n_bytes in library:
            axes.vlines(library[n_bytes], top - 0.1, top + height + 0.1, color=_INK, linewidth=1.6, zorder=4)
        centres.append(top + height / 2)
        top += height + 1.0
    _bucket_axes(axes, sizes, centres)
    shown = _unique(row.algorithm for row in rows)
    bar_handles = [
        _handle(name, color=looks[name].colour, marker="s", markersize=7, alpha=_BAR_ALPHA) for name in shown
    ]
    library_handle = [_handle("MPI library, measured", color=_INK, marker="|", markersize=10, markeredgewidth=1.6)]
    handles = [*bar_handles, _handle("predicted", **_DIAMOND), *(library_handle if library else [])]
    _legend_above(figure, handles)
    return figure


@_styled
def scaling(points: Sequence[PlanPoint], *, order: Sequence[str] = ()) -> Figure:
    """Exchange time against nodes with its bound, and step efficiency; GPUs and price stand under the axis.

    Parameters
    ----------
    points : sequence of PlanPoint
        A point takes the colour of the algorithm that wins most of its buckets.
    order : sequence of str, optional
        Algorithms in the order in which they take colours.
    """
    points = sorted(points, key=lambda point: point.nodes)
    winners = [Counter(point.algorithms).most_common(1)[0][0] for point in points]
    looks = _looks([*order, *winners])
    figure = _figure(4.6)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    nodes = [point.nodes for point in points]
    exchange_s = [point.exchange_s for point in points]
    upper.plot(nodes, exchange_s, color=_GREY, linewidth=1.0)
    for count, time_s, winner in zip(nodes, exchange_s, winners, strict=True):
        upper.plot(count, time_s, looks[winner].marker, color=looks[winner].colour, markersize=6)
    bound = [(point.nodes, point.bound_s) for point in points]
    _plot(upper, bound, {"color": _INK, "linestyle": "--", "linewidth": 1.0})
    _linear_times(upper.yaxis, "exchange time", max(exchange_s))
    upper.set_ylim(0, 1.08 * max(exchange_s))
    _efficiency(lower, points)
    _node_axis(lower, points)
    figure.align_ylabels()
    shown = [_handle(f"fastest: {name}", **looks[name].point, markersize=6) for name in _unique(winners)]
    _legend_above(figure, [*shown, _handle("bound: no schedule is faster", color=_INK, linestyle="--", linewidth=1.0)])
    return figure


@_styled
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
    looks = _looks([*order, *curves])
    factor = collective_named(collective).busbw_factor(n_ranks)
    figure = _figure(5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    theirs: dict[str, Any] = {"color": _INK, "marker": "o", "markerfacecolor": "white", "linewidth": 0.8}
    drawn = [(published, theirs), *((points, looks[name].line) for name, points in curves.items())]
    for points, look in drawn:
        _plot(upper, [(n_bytes, gigabytes_per_second(factor * n_bytes / time_s)) for n_bytes, time_s in points], look)
        _plot(lower, points, look)
    upper.set(ylabel=f"bus bandwidth (GB/s), {n_ranks} ranks")
    upper.set_ylim(bottom=0)
    _log_times(lower)
    figure.align_ylabels()
    _size_axis(lower, [n_bytes for points, _ in drawn for n_bytes, _ in points])
    handles = [
        _handle(published_label, **theirs),
        *(_handle(f"{name}, predicted", **looks[name].line) for name in curves),
    ]
    upper.legend(handles=handles, loc="upper left")
    return figure


# ---------------------------------------------------------------------------------------------------- the parts


@dataclass(frozen=True)
class _Look:
    """Colour and marker of one series."""

    colour: str
    marker: str

    @property
    def point(self) -> dict[str, Any]:
        return {"color": self.colour, "marker": self.marker}

    @property
    def line(self) -> dict[str, Any]:
        return {"color": self.colour}


_DASH: dict[str, Any] = {"marker": "_", "markersize": 12, "markeredgewidth": 1.4}
_DIAMOND: dict[str, Any] = {"color": _INK, "marker": "D", "markerfacecolor": "white", "markersize": 5.5}


def _looks(names: Iterable[str]) -> dict[str, _Look]:
    """Colour and marker by order of first appearance; where colours repeat, markers differ."""
    return {
        name: _Look(_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i, name in enumerate(_unique(names))
    }


def _unique(items: Iterable[_Item]) -> list[_Item]:
    return list(dict.fromkeys(items))


def _figure(height_inches: float) -> Figure:
    return Figure(figsize=(_WIDTH_INCHES, height_inches), layout="constrained")


def _handle(label: str, **look: Any) -> Line2D:
    """One entry of a legend: a line when the look has a line style or no marker, else a marker alone."""
    if "marker" in look and "linewidth" not in look:
        look["linestyle"] = "none"
    return Line2D([], [], label=label, **look)


def _legend_above(figure: Figure, handles: list[Line2D]) -> None:
    """A legend over the panels: one row where it fits, else as many columns as its longest text leaves room for."""
    lengths = [len(str(handle.get_label())) + 6 for handle in handles]
    columns = len(handles) if sum(lengths) <= 92 else max(1, 92 // max(lengths))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handletextpad=0.5)


def _plot(axes: Axes, points: Points, look: Mapping[str, Any]) -> None:
    """Points in order of size; a line of a single point, which would not show, becomes a dash."""
    ordered = sorted(points)
    look = {**look, **_DASH} if len(ordered) == 1 and "marker" not in look else look
    axes.plot([n_bytes for n_bytes, _ in ordered], [value for _, value in ordered], **look)


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
    looks = _looks([*order, *measured])
    figure = _figure(4.9)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name in measured:
        _plot(upper, predicted[name], looks[name].line)
        _plot(upper, measured[name], {**looks[name].point, "linestyle": "none"})
    handles = [_handle(name, **looks[name].point, linewidth=1.4) for name in measured]
    handles += [_handle("measured", color=_GREY, marker="o"), _handle(word, color=_GREY)]
    if reference:
        _plot(upper, reference, _LIBRARY)
        handles.append(_handle("MPI library, measured", **_LIBRARY))
    upper.set_title(title)
    upper.legend(handles=handles, loc="upper left")
    _log_times(upper)
    figure.align_ylabels()
    _error_panel(lower, errors, looks, f"{word} /\nmeasured − 1")
    _size_axis(
        lower, [n_bytes for series in (*measured.values(), *predicted.values(), reference) for n_bytes, _ in series]
    )
    return figure


_LIBRARY: dict[str, Any] = {"color": _INK, "linestyle": ":", "linewidth": 1.0, "marker": "x", "markersize": 4}


def _residuals(measured: Points, fitted: Points) -> list[tuple[int, float]]:
    """Fit over measurement, less one, at the measured sizes that the fit spans."""
    line = sorted(fitted)
    if not line:
        return []
    sizes, times_s = [n_bytes for n_bytes, _ in line], [time_s for _, time_s in line]
    inside = [(n_bytes, time_s) for n_bytes, time_s in measured if sizes[0] <= n_bytes <= sizes[-1]]
    return [(n_bytes, float(np.interp(n_bytes, sizes, times_s)) / time_s - 1) for n_bytes, time_s in inside]


def _error_panel(axes: Axes, errors: Mapping[str, Points], looks: Mapping[str, _Look], label: str) -> None:
    """Relative errors over bands at 10 and 20 %; what lies beyond the limit becomes an arrow at the edge."""
    for band, shade in ((0.2, "#f1f1f1"), (0.1, "#e4e4e4")):
        axes.axhspan(-band, band, color=shade, linewidth=0, zorder=0)
    axes.axhline(0, color=_GREY, linewidth=0.8, zorder=1)
    for index, (name, points) in enumerate(errors.items()):
        inside = [(n_bytes, error if abs(error) <= ERROR_LIMIT else math.nan) for n_bytes, error in points]
        _plot(axes, inside, {**looks[name].point, "linewidth": 0.6})
        shift = ScaledTranslation((index - (len(errors) - 1) / 2) * 0.04, 0, axes.figure.dpi_scale_trans)
        for n_bytes, error in points:
            if abs(error) > ERROR_LIMIT:
                marker, edge = ("^", ERROR_LIMIT) if error > 0 else ("v", -ERROR_LIMIT)
                style: dict[str, Any] = {"color": looks[name].colour, "markersize": 6, "clip_on": False, "zorder": 5}
                axes.plot(n_bytes, edge, marker, transform=axes.transData + shift, **style)
    _name_worst(axes, [point for points in errors.values() for point in points])
    axes.set(ylim=(-ERROR_LIMIT * 1.1, ERROR_LIMIT * 1.1), yticks=[-0.5, -0.2, 0, 0.2, 0.5])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _percent(value)))
    axes.set_ylabel(label)
    axes.grid(axis="y", visible=False)


def _name_worst(axes: Axes, points: Points) -> None:
    """Write the largest error beyond each edge beside its arrow."""
    for worst, below in ((max, True), (min, False)):
        n_bytes, error = worst(points, key=lambda point: point[1], default=(0, 0.0))
        if abs(error) > ERROR_LIMIT and (error > 0) == below:
            edge, offset, side = (ERROR_LIMIT, -6, "top") if below else (-ERROR_LIMIT, 6, "bottom")
            text = axes.annotate(_percent(error), (n_bytes, edge), (0, offset), textcoords="offset points")
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            text.set(ha="center", va=side, fontsize=7.5, bbox=box)


def _bucket(axes: Axes, top: float, rows: Sequence[Comparison], looks: Mapping[str, _Look]) -> None:
    """One group of bars from `top` downwards; the errors stand in a column at the right."""
    places = top + 0.5 + np.arange(len(rows))
    colours = [looks[row.algorithm].colour for row in rows]
    axes.barh(places, [row.measured_s for row in rows], height=0.78, color=colours, alpha=_BAR_ALPHA, linewidth=0)
    axes.plot([row.predicted_s for row in rows], places, **{**_DIAMOND, "linestyle": "none"}, zorder=5)
    for place, row in zip(places, rows, strict=True):
        style: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "ha": "right", "va": "center", "fontsize": 8}
        axes.text(1.08, place, _percent(row.error), **style)


def _bucket_axes(axes: Axes, sizes: Sequence[int], centres: Sequence[float]) -> None:
    labels = [f"bucket {number}\n{format_volume(n_bytes)}" for number, n_bytes in enumerate(sizes, 1)]
    axes.set_yticks(centres, labels)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.invert_yaxis()
    axes.margins(y=0.01)
    axes.set_xlim(left=0)
    _linear_times(axes.xaxis, "time", axes.get_xlim()[1])
    axes.text(1.08, 1.0, "error", transform=axes.transAxes, ha="right", va="bottom", fontsize=8, color=_GREY)


def _efficiency(axes: Axes, points: Sequence[PlanPoint]) -> None:
    """Step efficiency, each point with its value."""
    nodes, shares = [point.nodes for point in points], [point.efficiency for point in points]
    axes.plot(nodes, shares, color=_GREY, marker="o", markerfacecolor="white")
    for count, share in zip(nodes, shares, strict=True):
        below = share > 0.5
        text = axes.annotate(
            f"{share:.1%}".replace("%", " %"), (count, share), (0, -6 if below else 6), textcoords="offset points"
        )
        text.set(ha="center", va="top" if below else "bottom", fontsize=8)
    axes.set(ylim=(0, 1.08), yticks=[0, 0.5, 1], ylabel="step efficiency")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}".replace("%", " %")))


def _node_axis(axes: Axes, points: Sequence[PlanPoint]) -> None:
    """Nodes on a binary logarithm; GPUs and price stand below, one row each."""
    priced = all(point.price_usd is not None for point in points)
    labels = [f"{point.nodes}\n{point.n_ranks}" for point in points]
    if priced:
        labels = [
            f"{label}\n{format_money(point.price_usd or 0.0)}" for label, point in zip(labels, points, strict=True)
        ]
    nodes = [point.nodes for point in points]
    axes.set_xscale("log", base=2)
    axes.set_xlim(nodes[0] / 1.5, nodes[-1] * 1.5)
    axes.set_xticks(nodes, labels)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.minorticks_off()
    heading = "nodes\nGPUs" + ("\nprice" if priced else "")
    below: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(heading, (0, 0), (-6, -6.2), ha="right", va="top", fontsize=8.5, color=_GREY, **below)


# ----------------------------------------------------------------------------------------------- axes and texts


def _percent(share: float) -> str:
    text = f"{share:+.0%}".replace("%", " %").replace("-", "−")
    return "0 %" if text[1:] == "0 %" else text


def _time_text(time_s: float) -> str:
    """A tick of a logarithmic axis: rounded first, for 10.0**-6 may be a hair under one microsecond."""
    return format_time(float(f"{time_s:.6g}")).replace("us", "µs")


def _log_times(axes: Axes) -> None:
    """Times on a decimal logarithm, with two labelled decades at least. To be called when all is drawn."""
    axes.set_yscale("log")
    low, high = (math.log10(edge) for edge in axes.get_ylim())
    if math.floor(high) - math.ceil(low) < 1:
        axes.set_ylim(10.0 ** math.floor(low), 10.0 ** math.ceil(high))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _time_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("time")


def _linear_times(axis: Axis, what: str, longest_s: float) -> None:
    """Plain numbers, in the unit that suits the longest time; the label names it."""
    unit = format_time(longest_s).split()[1]
    unit_s = parse_time(f"1{unit}")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit_s:.4g}"))
    axis.set_label_text(f"{what} ({unit.replace('us', 'µs')})")


def _size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """Message sizes on a binary logarithm, from the smallest to the largest; empty messages stand left of it."""
    positive = [n_bytes for n_bytes in sizes if n_bytes > 0] or [1]
    low, high = min(positive), max(positive)
    ticks, minor = _size_ticks(low, high)
    if min(sizes, default=1) == 0:
        axes.set_xscale("symlog", base=2, linthresh=low, linscale=2)
        axes.set_xlim(-low / 4, high * 2**0.75)
        ticks = [0, *(tick for tick in ticks if tick >= low)]
    else:
        axes.set_xscale("log", base=2)
        axes.set_xlim(low / 2**0.75, high * 2**0.75)
    axes.set_xticks(ticks, [format_bytes(tick) for tick in ticks])
    axes.set_xticks(minor, minor=True)
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("message size")


def _size_ticks(low: int, high: int) -> tuple[list[int], list[int]]:
    """At most nine powers of two to label, and all powers between."""
    first, last = math.floor(math.log2(low)), math.ceil(math.log2(high))
    step = next((step for step in (1, 2, 5) if (last - first) / step <= 8), 10)
    powers = range(first, last + 1)
    return [2**power for power in powers if power % step == 0], [2**power for power in powers]
