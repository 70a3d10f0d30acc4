"""An algorithm's steps, drawn from its schedule: who sends what to whom, and what everyone has after each step."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from commsim import Algorithm
from commsim.errors import InputError
from commsim.messages import Messages
from commsim.selection import SCRATCH, Space
from commsim.units import format_count
from experiments.figures.steps_walk import PARTLY, Walk
from experiments.figures.style import COLOURS, GREY, INK, handle, styled

FIRST_SHARE = 2 / 3  # of the steps that are drawn, where there are more than fit: the first ones, then the last
MOST_LABELLED = 16  # ranks whose messages are told apart by their chunks
ARROW, GAP, LETTER, MARGIN = 0.38, 0.12, 0.062, 0.62  # inches
CHUNK, LEAST_CHUNK, WIDEST = 0.085, 0.05, 10.0
LEAST_WIDTH = 4.2
COPY, REDUCE, FABRIC = COLOURS[0], COLOURS[1], COLOURS[2]
SHADES = LinearSegmentedColormap.from_list(
    "holds", [(0.0, "#ffffff"), (PARTLY[0], "#dbe9f3"), (PARTLY[1], "#86b8da"), (0.9, COPY), (1.0, COPY)]
)
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
KINDS = {"copy": COPY, "reduce": REDUCE, "in the fabric": FABRIC}


@dataclass(frozen=True)
class _Columns:
    """Where the steps stand, in inches: `left` of each column, the widths of labels and arrows, and of all."""

    numbers: list[int | None]  # of the steps; None: some that are not drawn
    left: list[float]
    label: float
    arrow: float
    width: float


@styled
def steps(
    algorithm: Algorithm,
    n_ranks: int = 8,
    *,
    n_bytes: int = 2**20,
    groups: int | None = None,
    root: int = 0,
    window: tuple[int, int] | None = None,
) -> Figure:
    """Draw the steps of an algorithm: messages above, below them what each rank has.

    Parameters
    ----------
    algorithm : Algorithm
    n_ranks : int
        Few: every rank is a line.
    n_bytes : int
        For parameters that follow the size.
    groups : int, optional
        Ranks in each node, for algorithms that ask.
    root : int
    window : (int, int), optional
        The first and the last step to draw; by default all, of many the first and the last.

    Returns
    -------
    Figure
        As wide as its steps need.

    Raises
    ------
    InputError
        If there is no step in the window.
    """
    resolved = algorithm.resolved(n_ranks, n_bytes, groups)
    walk = Walk.of(resolved, n_ranks, root)
    columns = _columns(walk, window)
    width = max(columns.width + MARGIN, LEAST_WIDTH)
    pitch = 0.24 if n_ranks <= 10 else 0.19
    title = textwrap.wrap(_title(walk), int(width / 0.086))
    legend = _legend(walk, columns)
    lengths = [0.5 + 0.075 * len(str(one.get_label())) for one in legend]
    per_row = len(legend) if sum(lengths) < width else max(1, int(width / max(lengths)))
    height = 0.75 + 0.17 * len(title) + 0.19 * -(-len(legend) // per_row) + 1.6 * pitch * n_ranks
    figure = Figure(figsize=(width, height), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1.0, 0.6))
    for axes in (above, below):
        _rank_axis(axes, n_ranks)
    _nodes(above, walk)
    for number, left in zip(columns.numbers, columns.left, strict=True):
        if number is None:
            _dots(above, left, n_ranks)
        elif number >= 0:
            _messages(above, walk, number, left + columns.label, columns.arrow)
        if number is not None:
            shades = walk.panels[number].shades if number >= 0 else walk.start
            _contents(below, walk, shades, left, columns, named=left == columns.left[0])
    _step_axis(below, columns)
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=9.5, fontweight="bold")
    figure.legend(handles=legend, loc="outside lower left", ncols=per_row, columnspacing=1.2, handletextpad=0.5)
    return figure


def _title(walk: Walk) -> str:
    algorithm, n = walk.schedule.algorithm, walk.schedule.n_ranks
    root = f", root {walk.schedule.root}" if algorithm.collective.rooted else ""
    params = algorithm.spec.removeprefix(algorithm.name).replace(":", ", ", 1).replace(",", ", ").replace(",  ", ", ")
    return f"{algorithm.collective.name}: {algorithm.name}{params}; {format_count(n, 'rank')}{root}"


def _columns(walk: Walk, window: tuple[int, int] | None) -> _Columns:
    """As wide as chunks and their numbers need, and no more of them than fit."""
    wanted = _wanted(walk, window)
    labels = [label for number in wanted if number >= 0 for label in _labels(walk, number).values()]
    label = 0.05 + LETTER * max(map(len, labels), default=0)
    n_chunks = sum(map(len, walk.buffers.values())) + len(walk.buffers) - 1
    chunk = min(CHUNK, max(LEAST_CHUNK, ((WIDEST - MARGIN) / len(wanted) - GAP) / n_chunks))
    square = max(min(chunk * n_chunks, 2.4), 0.3)
    wide = max(ARROW + label, square)
    arrow = min(wide - label, 2 * ARROW)
    numbers = _fitting(wanted, int((WIDEST - MARGIN) / (wide + GAP)))
    left, at = [], 0.0
    for number in numbers:
        left.append(at)
        at += (0.35 if number is None else square if number < 0 else wide) + GAP
    return _Columns(numbers, left, wide - arrow, arrow, at)


def _wanted(walk: Walk, window: tuple[int, int] | None) -> list[int]:
    """Numbers of the steps in the window; -1 is the state before the first, if anything is there."""
    n_steps = len(walk.panels)
    chunks = np.concatenate(list(walk.buffers.values()))
    start = [-1] if walk.start[:, chunks].any() or not n_steps else []
    first, last = window or (0, n_steps - 1)
    found = list(range(first, min(last, n_steps - 1) + 1))
    if not found and n_steps:
        raise InputError(f"there is no step from {first} to {last}: the algorithm has {n_steps}, counted from 0")
    return [*(start if first == 0 else []), *found]


def _fitting(numbers: list[int], most: int) -> list[int | None]:
    """All of them, or the first and the last with None between."""
    if len(numbers) <= most:
        return list(numbers)
    most = max(most - 1, 3)
    first = int(FIRST_SHARE * most)
    return [*numbers[:first], None, *numbers[first - most :]]


def _rank_axis(axes: Axes, n_ranks: int) -> None:
    axes.grid(False)
    axes.set_ylim(n_ranks - 0.42, -0.58)
    axes.set_yticks(range(n_ranks))
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_ylabel("rank")


def _step_axis(axes: Axes, columns: _Columns) -> None:
    """Numbers under the columns."""
    ends = [*(left - GAP for left in columns.left[1:]), columns.width - GAP]
    centres = [(left + end) / 2 for left, end in zip(columns.left, ends, strict=True)]
    texts = ["…" if number is None else "start" if number < 0 else str(number) for number in columns.numbers]
    axes.set_xticks(centres, texts)
    axes.set_xlim(-0.05, max(columns.width - GAP + 0.05, LEAST_WIDTH - MARGIN))
    axes.set_xlabel("step")


def _nodes(axes: Axes, walk: Walk) -> None:
    """A line for each rank; every other node shaded, where the algorithm knows nodes."""
    n_ranks = walk.schedule.n_ranks
    for rank in range(n_ranks):
        axes.axhline(rank, color="#d8d8d8", linewidth=0.7, zorder=0)
    per_node = int(np.ravel(walk.schedule.algorithm.params.get("ranks_per_node") or 1)[-1])
    for first in range(per_node, n_ranks, 2 * per_node) if per_node > 1 else ():
        axes.axhspan(first - 0.5, min(first + per_node, n_ranks) - 0.5, color="#f3f1ec", zorder=-1, linewidth=0)


def _dots(axes: Axes, left: float, n_ranks: int) -> None:
    axes.text(left + 0.17, (n_ranks - 1) / 2, "…", ha="center", va="center", fontsize=12, color=GREY)


def _kind(part: Messages) -> str:
    return "in the fabric" if part.fabric else "reduce" if part.reduce else "copy"


def _messages(axes: Axes, walk: Walk, number: int, begin: float, wide: float) -> None:
    """Lines from sender to receiver, a dot where they arrive; a square is a move inside a rank."""
    panel = walk.panels[number]
    end = begin + wide - 0.05
    crowded = sum(len(part.src) for part in panel.messages) > 4 * walk.schedule.n_ranks
    for part, lane in zip(panel.messages, panel.lanes, strict=True):
        colour, inside = KINDS[_kind(part)], part.src == part.dst
        middle = np.full(inside.sum(), (begin + end) / 2)
        axes.plot(middle, part.src[inside], "s", color=colour, markersize=3.2)
        src, dst = part.src[~inside], part.dst[~inside]
        x = np.tile([begin, end, np.nan], len(src))
        y = np.stack([src, dst, np.full(len(src), np.nan)], axis=1).ravel()
        axes.plot(x, y, linestyle=LINES[lane % len(LINES)], color=colour, linewidth=0.5 if crowded else 0.9)
        axes.plot(np.full(len(dst), end), dst, "o", color=colour, markersize=2.8)
    for rank, text in _labels(walk, number).items():
        axes.text(begin - 0.02, rank, text, fontsize=6.5, color=INK, ha="right", va="center")


def _labels(walk: Walk, number: int) -> dict[int, str]:
    """What each rank sends, to be written beside it; nothing where it sends different chunks to several."""
    if walk.schedule.n_ranks > MOST_LABELLED or walk.schedule.space.n_chunks == 1:
        return {}
    found: dict[int, set[str]] = {}
    for part in walk.panels[number].messages:
        for index in np.flatnonzero(part.src != part.dst).tolist():
            found.setdefault(int(part.src[index]), set()).add(_chunks(part, index, walk.schedule.space))
    return {rank: next(iter(texts)) for rank, texts in found.items() if len(texts) == 1}


def _chunks(part: Messages, index: int, space: Space) -> str:
    """The chunks of a message: ``3``, ``0–3``, ``1 3 …``; ``s3`` in scratch."""
    _, chunk = part.send.rows(np.array([index])).expand(1)
    listed = chunk.tolist()
    if not listed:
        return ""
    scratch = space.first_of(SCRATCH) if space.n_scratch else space.n_chunks
    mark, first = ("s", scratch) if listed[0] >= scratch else ("", listed[0] // space.n_data * space.n_data)
    numbers = [number - first for number in listed]
    whole = space.n_data if not mark else len(listed) + max(numbers)  # a range of the vector may wrap around
    if len(numbers) > 1 and all((b - a) % whole == 1 for a, b in pairwise(numbers)):
        return f"{mark}{numbers[0]}–{numbers[-1]}"
    return mark + " ".join(map(str, numbers[:2])) + "…" * (len(numbers) > 2)


def _contents(
    axes: Axes, walk: Walk, shades: NDArray[np.float64], left: float, columns: _Columns, *, named: bool
) -> None:
    """What every chunk of every rank holds: a rectangle for each buffer, side by side."""
    n_chunks = sum(map(len, walk.buffers.values())) + len(walk.buffers) - 1
    at = columns.left.index(left)
    right = (columns.left[at + 1] if at + 1 < len(columns.left) else columns.width) - GAP
    wide = (right - left) / n_chunks
    for name, numbers in walk.buffers.items():
        right = left + wide * len(numbers)
        _squares(axes, shades[:, numbers], left, right)
        if named and len(walk.buffers) > 1:
            axes.text((left + right) / 2, -0.65, name, fontsize=6.5, color=GREY, ha="center", va="bottom")
        left = right + wide


def _squares(axes: Axes, shades: NDArray[np.float64], left: float, right: float) -> None:
    n_ranks, n_chunks = shades.shape
    axes.imshow(
        shades, cmap=SHADES, vmin=0, vmax=1, aspect="auto", interpolation="nearest",
        extent=(left, right, n_ranks - 0.5, -0.5),
    )  # fmt: skip
    rows, columns = np.arange(n_ranks + 1) - 0.5, np.linspace(left, right, n_chunks + 1)
    _grid(axes, np.array([[left, right]]), rows[1:-1, None], linewidth=0.8)
    if (right - left) / n_chunks >= 0.99 * LEAST_CHUNK:
        _grid(axes, columns[1:-1, None], np.array([[-0.5, n_ranks - 0.5]]), linewidth=0.4)
    axes.plot([left, right, right, left, left], rows[[0, 0, -1, -1, 0]], color=GREY, linewidth=0.5)


def _grid(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], linewidth: float) -> None:
    """Straight lines as one path: it keeps files small."""
    n = max(len(x), len(y)) if len(x) and len(y) else 0
    if not n:
        return
    x, y = (np.broadcast_to(v, (n, 2)) for v in (x, y))
    gap = np.full((n, 1), np.nan)
    axes.plot(np.hstack([x, gap]).ravel(), np.hstack([y, gap]).ravel(), color="white", linewidth=linewidth)


def _legend(walk: Walk, columns: _Columns) -> list[Artist]:
    """What lines, markers and shades mean: only what is drawn."""
    shown = [walk.panels[number] for number in columns.numbers if number is not None and number >= 0]
    parts = [part for panel in shown for part in panel.messages if len(part.src)]
    kinds = {_kind(part) for part in parts if (part.src != part.dst).any()}
    found: list[Artist] = [handle(word, color=colour) for word, colour in KINDS.items() if word in kinds]
    if any((part.src == part.dst).any() for part in parts):
        found.append(handle("inside a rank", color=COPY, marker="s", markersize=3.2))
    if walk.n_lanes > 1:
        lanes = range(min(walk.n_lanes, len(LINES)))
        found += [handle(f"lane {lane}", color=INK, linewidth=0.9, linestyle=LINES[lane]) for lane in lanes]
    return [*found, *_shades(walk, [panel.shades for panel in shown])]


def _shades(walk: Walk, drawn: Sequence[NDArray[np.float64]]) -> list[Artist]:
    chunks = np.concatenate(list(walk.buffers.values()))
    values = np.concatenate([shades[:, chunks].ravel() for shades in (walk.start, *drawn)])
    partly = "data of some ranks" if walk.schedule.algorithm.collective.origin is None else "data on its way"
    words = {partly: (values > 0) & (values < 1), "as it must end": values == 1}
    colours = {partly: SHADES(sum(PARTLY) / 2), "as it must end": SHADES(1.0)}
    return [Patch(facecolor=colours[word], label=word) for word, there in words.items() if there.any()]
