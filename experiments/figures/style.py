"""The style that all figures share: colours, markers, legends, and the axes of sizes and times."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter

from commsim.units import format_bytes, format_time_short, parse_time

Points = Sequence[tuple[int, float]]
"""``(n_bytes, time_s)``, or ``(n_bytes, relative error)``."""

WIDTH_INCHES = 6.0
BAR_ALPHA = 0.85
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5C2E")  # Okabe and Ito, and a brown
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
INK, GREY = "#1a1a1a", "#6b6b6b"
STYLE: dict[Any, Any] = {
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
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e3e3e3",
    "grid.linewidth": 0.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    "text.color": INK,
    "text.parse_math": False,  # "M$" is no formula
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # fonts that publishers take
    "svg.hashsalt": "commsim",
}

Parameters = ParamSpec("Parameters")
Item = TypeVar("Item")


@contextmanager
def _project_style() -> Iterator[None]:
    """The project's style alone, whatever the user's own matplotlib settings say."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Decorate a function that draws a figure: it draws in the project's style."""

    @functools.wraps(draw)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with _project_style():
            return draw(*args, **kwargs)

    return wrapped


def save(figure: Figure, folder: Path, name: str, endings: Sequence[str] = ("png", "svg")) -> list[Path]:
    """Write ``name.png`` and ``name.svg``, or others of the endings (also pdf); the same figure gives the same bytes.

    Parameters
    ----------
    figure : Figure
    folder : Path
        Made when it does not exist.
    name : str
        Without an ending.
    endings : sequence of str

    Returns
    -------
    list of Path
        In the order of the endings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, dict[str, Any]] = {
        "png": {"dpi": 150, "metadata": {"Software": None}},
        "svg": {"metadata": {"Date": None, "Creator": None}},
        "pdf": {"metadata": {"CreationDate": None, "Creator": None, "Producer": None}},
    }
    paths = [folder / f"{name}.{ending}" for ending in endings]
    with _project_style():
        for path, ending in zip(paths, endings, strict=True):
            figure.savefig(path, format=ending, **options[ending])
    return paths


def save_as(figure: Figure, path: Path) -> None:
    """Write the one file that was asked for, in the form that its ending says."""
    save(figure, path.parent, path.stem, (path.suffix.removeprefix("."),))


def save_small(figure: Figure, path: Path) -> None:
    """Write one SVG whose texts stay texts, a third as large: for pages in a repository, of which there are many."""
    with _project_style(), matplotlib.rc_context({"svg.fonttype": "none", "svg.image_inline": True}):
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


@dataclass(frozen=True)
class Look:
    """Colour and marker of one series."""

    colour: str
    marker: str

    @property
    def point(self) -> dict[str, Any]:
        """As markers."""
        return {"color": self.colour, "marker": self.marker}

    @property
    def line(self) -> dict[str, Any]:
        """As a line."""
        return {"color": self.colour}


DASH: dict[str, Any] = {"marker": "_", "markersize": 12, "markeredgewidth": 1.4}
DIAMOND: dict[str, Any] = {"color": INK, "marker": "D", "markerfacecolor": "white", "markersize": 5.5}


def looks_of(names: Iterable[str]) -> dict[str, Look]:
    """Colour and marker by order of first appearance; where colours repeat, markers differ."""
    return {name: Look(COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]) for i, name in enumerate(unique(names))}


def unique(items: Iterable[Item]) -> list[Item]:
    """Each item once, in order of first appearance."""
    return list(dict.fromkeys(items))


def new_figure(height_inches: float) -> Figure:
    """An empty figure of the common width."""
    return Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")


def handle(label: str, **look: Any) -> Line2D:
    """One entry of a legend: a line when the look has a line style or no marker, else a marker alone."""
    if "marker" in look and "linewidth" not in look:
        look["linestyle"] = "none"
    return Line2D([], [], label=label, **look)


def legend_above(figure: Figure, handles: list[Line2D]) -> None:
    """A legend over the panels: one row where it fits, else as many columns as its longest text leaves room for."""
    lengths = [len(str(handle.get_label())) + 6 for handle in handles]
    columns = len(handles) if sum(lengths) <= 92 else max(1, 92 // max(lengths))
    figure.legend(handles=handles, loc="outside upper left", ncols=columns, columnspacing=1.4, handletextpad=0.5)


def plot(axes: Axes, points: Points, look: Mapping[str, Any]) -> None:
    """Points in order of size; a line of a single point, which would not show, becomes a dash."""
    ordered = sorted(points)
    look = {**look, **DASH} if len(ordered) == 1 and "marker" not in look else look
    axes.plot([n_bytes for n_bytes, _ in ordered], [value for _, value in ordered], **look)


def percent(share: float) -> str:
    """With its sign: ``"+12 %"``."""
    text = f"{share:+.0%}".replace("%", " %").replace("-", "−")
    return "0 %" if text[1:] == "0 %" else text


def time_text(time_s: float) -> str:
    """A tick of a logarithmic axis: rounded first, for 10.0**-6 may be a hair under one microsecond."""
    return format_time_short(float(f"{time_s:.6g}"))


def log_times(axes: Axes) -> None:
    """Times on a decimal logarithm, with two labelled decades at least. To be called when all is drawn."""
    axes.set_yscale("log")
    low, high = (math.log10(edge) for edge in axes.get_ylim())
    if math.floor(high) - math.ceil(low) < 1:
        axes.set_ylim(10.0 ** math.floor(low), 10.0 ** math.ceil(high))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: time_text(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("time")


def linear_times(axis: Axis, what: str, longest_s: float) -> None:
    """Plain numbers, in the unit that suits the longest time; the label names it."""
    unit = format_time_short(longest_s).split()[1]
    unit_s = parse_time(f"1{unit}")
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / unit_s:.4g}"))
    axis.set_label_text(f"{what} ({unit})")


def size_axis(axes: Axes, sizes: Sequence[int]) -> None:
    """Message sizes on a binary logarithm, from the smallest to the largest; empty messages stand left of it."""
    positive = [n_bytes for n_bytes in sizes if n_bytes > 0] or [1]
    low, high = min(positive), max(positive)
    ticks, minor = size_ticks(low, high)
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


def size_ticks(low: int, high: int) -> tuple[list[int], list[int]]:
    """At most nine powers of two to label, and all powers between."""
    first, last = math.floor(math.log2(low)), math.ceil(math.log2(high))
    step = next((step for step in (1, 2, 5) if (last - first) / step <= 8), 10)
    powers = range(first, last + 1)
    return [2**power for power in powers if power % step == 0], [2**power for power in powers]
