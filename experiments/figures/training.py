"""Figures of training: the timeline of a step by stream, and scaling curves with their ideal line."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from commsim.units import format_time_short
from experiments.figures.style import COLOURS, GREY, INK, handle, legend_above, linear_times, new_figure, styled
from experiments.scaling import Curve
from experiments.training import StepResult

KINDS = {"forward": COLOURS[5], "backward": COLOURS[0], "optimizer": INK}
CALLS = COLOURS[1:5]
MOST_LANES = 16


@styled
def timeline(step: StepResult) -> Figure:
    """A row for each stream, compute first; what is exposed stands in the title."""
    lanes = range(min(len(step.lanes), MOST_LANES))
    streams = sorted(
        {(one.lane, one.stream) for one in step.intervals if one.lane in lanes},
        key=lambda key: (key[0], key[1] != "compute", key[1]),
    )
    rows = {key: place for place, key in enumerate(streams)}
    figure = new_figure(1.3 + 0.34 * len(rows))
    axes = figure.subplots()
    names = list(dict.fromkeys(one.name.split()[0] for one in step.intervals if one.stream != "compute"))
    colours = {name: CALLS[place % len(CALLS)] for place, name in enumerate(names)}
    for key, place in rows.items():
        own = [one for one in step.intervals if (one.lane, one.stream) == key]
        spans = [(one.start_s, one.end_s - one.start_s) for one in own]
        shades = [({**KINDS, **colours}).get(one.name.split()[0], GREY) for one in own]
        edges = [0.0 if key[1] == "compute" else 0.4] * len(own)
        axes.broken_barh(spans, (place - 0.38, 0.76), facecolors=shades, edgecolors="white", linewidths=edges)
    several = len(step.lanes) > 1
    labels = [f"{step.lanes[lane]}: {stream}" if several else stream for lane, stream in rows]
    axes.set_yticks(list(rows.values()), labels)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlim(0, step.step_s)
    linear_times(axes.xaxis, "time in the step", step.step_s)
    exposed = f"{format_time_short(step.exposed_s)} of {format_time_short(step.exchange_s)} of exchange exposed"
    what = f"{step.training.workload.name}, {step.training.policy.name}, {step.parallel.n_ranks} ranks"
    axes.set_title(f"{what}: {exposed}")
    shown = {**KINDS, **colours}
    legend_above(figure, [handle(name, color=shade, marker="s", markersize=6) for name, shade in shown.items()])
    return figure


@styled
def scaling_curve(curve: Curve) -> Figure:
    """Throughput with the ideal line; below, where the time of a step goes."""
    points = curve.points
    ranks = [point.n_ranks for point in points]
    figure = new_figure(5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
    sample = f"{points[0].step.training.workload.sample}s/s"
    upper.plot(ranks, [point.ideal_per_s for point in points], color=GREY, linestyle="--", linewidth=1.0)
    upper.plot(ranks, [point.step.samples_per_s for point in points], color=COLOURS[0], marker="o")
    for point in points:
        place = (point.n_ranks, point.step.samples_per_s)
        text = upper.annotate(f"{100 * point.efficiency:.0f} %", place, (0, -7), textcoords="offset points")
        text.set(ha="center", va="top", fontsize=7.5)
    upper.set_yscale("log")
    upper.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    upper.yaxis.set_minor_formatter(NullFormatter())
    upper.set_ylabel(sample)
    upper.margins(y=0.12)
    parts = _shares(lower, curve)
    lower.set_xscale("log", base=2)
    lower.xaxis.set_major_locator(LogLocator(base=2, numticks=12))
    lower.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    lower.set_xlabel("ranks")
    figure.align_ylabels()
    legend_above(
        figure,
        [
            handle("ideal", color=GREY, linestyle="--", linewidth=1.0),
            handle("predicted, its efficiency", color=COLOURS[0], marker="o", linewidth=1.4),
            *(handle(name, color=PARTS[name], marker="s", markersize=6) for name in parts),
        ],
    )
    return figure


PARTS = {"compute": COLOURS[5], "idle": "#c9c9c9", "exposed exchange": COLOURS[1]}


def _shares(axes: Axes, curve: Curve) -> list[str]:
    """Bars of compute, idle and exposed exchange, as shares of the step; which of them there are."""
    points = curve.points
    ranks = [point.n_ranks for point in points]
    steps = [point.step for point in points]
    shares = {
        "compute": [step.compute_s / step.step_s for step in steps],
        "idle": [max(0.0, step.ideal_s - step.compute_s) / step.step_s for step in steps],
        "exposed exchange": [step.exposed_s / step.step_s for step in steps],
    }
    if max(shares["idle"]) < 1e-6:
        shares.pop("idle")
    widths = [0.3 * rank for rank in ranks]
    base = [0.0] * len(ranks)
    for name, values in shares.items():
        axes.bar(ranks, values, width=widths, bottom=base, color=PARTS[name], linewidth=0)
        base = [low + value for low, value in zip(base, values, strict=True)]
    axes.set(ylim=(0, 1), ylabel="share of a step", yticks=[0, 0.5, 1])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.0f} %"))
    axes.grid(axis="x", visible=False)
    if len(ranks) > 1 and math.log2(ranks[-1] / ranks[0]) > 0:
        axes.set_xlim(ranks[0] / 1.5, ranks[-1] * 1.5)
    return list(shares)
