"""Figure of a plan: what training costs against how long it takes, machine by machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from commsim.spec import split_spec
from commsim.units import format_money
from experiments.figures.style import GREY, INK, handle, legend_above, looks_of, new_figure, styled, unique
from experiments.planning import Option, on_front
from experiments.planning.output import duration


@styled
def pareto(found: Sequence[Option], best: Option | None = None) -> Figure:
    """A point for each option with its ranks; those that nothing beats are joined, the chosen one is ringed."""
    names = [split_spec(one.system.name)[0] for one in found]
    looks = looks_of(names)
    figure = new_figure(4.2)
    axes = figure.subplots()
    front = on_front(found)
    axes.plot([one.time_s for one in front], [one.cost_usd for one in front], color=GREY, linewidth=1.0, zorder=1)
    for name, one in zip(names, found, strict=True):
        axes.plot(one.time_s, one.cost_usd, **looks[name].point, zorder=3)
        place = (one.time_s, one.cost_usd)
        text = axes.annotate(str(one.step.parallel.n_ranks), place, (4, 4), textcoords="offset points")
        text.set(fontsize=7.5, color=GREY)
    handles = [handle(name, **looks[name].point) for name in unique(names)]
    handles.append(handle("none is faster and cheaper", color=GREY, linewidth=1.0))
    if best is not None:
        ring: dict[str, Any] = {"color": INK, "marker": "o", "markersize": 11, "markerfacecolor": "none"}
        axes.plot(best.time_s, best.cost_usd, **ring, zorder=4)
        handles.append(handle("chosen", **ring))
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, form in ((axes.xaxis, duration), (axes.yaxis, format_money)):
        axis.set_major_formatter(FuncFormatter(lambda value, _, form=form: form(value)))
        axis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.set_minor_formatter(FuncFormatter(lambda value, _, form=form: form(value)))
    _few_ticks(axes.xaxis, [one.time_s for one in found])
    _few_ticks(axes.yaxis, [one.cost_usd for one in found])
    axes.margins(0.08)
    axes.set(xlabel="time to train, by ranks", ylabel="cost of training")
    legend_above(figure, handles)
    return figure


def _few_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Labels at decades alone where there are several of them."""
    if max(values) / min(values) > 30:
        axis.set_minor_formatter(NullFormatter())
