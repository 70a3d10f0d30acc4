"""An algorithm's steps, drawn from its schedule: who sends what to whom, and what everyone has after each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from commsim import Algorithm, Schedule
from commsim.execution import Moves, steps_in_process
from commsim.messages import Messages
from commsim.selection import Ints
from experiments.figures.style import COLOURS, GREY, INK, handle, legend_above, new_figure, styled

MOST_STEPS = 20  # drawn; the rest is said
MOST_LABELLED = 14  # steps that leave room for the numbers of chunks
MOST_LABELS = 8  # messages of a step that are told apart by their chunks
COPY, REDUCE, FABRIC = COLOURS[0], COLOURS[1], COLOURS[2]
SHADES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#bfd9ea", COLOURS[0]])


class _Shares:
    """How many ranks' data each chunk of each rank holds, as a set of bits (8 ranks or so)."""

    def __init__(self, schedule: Schedule) -> None:
        collective, space, p = schedule.algorithm.collective, schedule.space, schedule.n_ranks
        each = space.n_data // collective.n_blocks(p)
        self.made = np.zeros((p, space.n_chunks), dtype=object)
        rank, chunk = np.arange(p)[:, None], np.arange(space.n_data)[None, :]
        holds = np.broadcast_to(collective.holds(rank, chunk // each, schedule.root), (p, space.n_data))
        for r, c in np.argwhere(holds).tolist():
            self.made[r, c] = 1 << r
        self._whole = p if collective.origin is None else 1
        first = space.n_data if collective.has_output else 0
        self._shown = slice(first, first + space.n_data)

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return self.made[rank, chunk]

    def write(self, moves: Moves, values: Any) -> None:
        for dst, chunk, value in zip(moves.dst.tolist(), moves.receive_chunk.tolist(), values, strict=True):
            self.made[dst, chunk] = value | (self.made[dst, chunk] if moves.reduce else 0)

    def shares(self) -> NDArray[np.float64]:
        """Of each chunk that the collective is about, the share of what it must hold (n_ranks, n_data)."""
        counts = np.vectorize(int.bit_count, otypes=[int])(self.made[:, self._shown])
        shares: NDArray[np.float64] = np.minimum(counts / self._whole, 1.0)
        return shares


@dataclass(frozen=True)
class Walk:
    """A schedule of few ranks, for drawing: the messages of the first steps, and the shares before and after each."""

    schedule: Schedule
    messages: list[list[Messages]]
    shares: list[NDArray[np.float64]]
    n_steps: int

    @staticmethod
    def of(algorithm: Algorithm, n_ranks: int, n_bytes: int, groups: int | None, root: int) -> Walk:
        """Apply the schedule of `algorithm`; a root only where the collective has one."""
        resolved = algorithm.resolved(n_ranks, n_bytes, groups)
        schedule = Schedule(resolved, n_ranks, root * resolved.collective.rooted)
        state = _Shares(schedule)
        messages, shares, n_steps = [], [state.shares()], 0
        for step in steps_in_process(schedule, [state]):
            n_steps += 1
            if n_steps <= MOST_STEPS:
                messages.append(step)
                shares.append(state.shares())
        return Walk(schedule, messages, shares, n_steps)


@styled
def steps(
    algorithm: Algorithm, n_ranks: int = 8, *, n_bytes: int = 2**20, groups: int | None = None, root: int = 0
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

    Returns
    -------
    Figure
    """
    walk = Walk.of(algorithm, n_ranks, n_bytes, groups, root)
    figure = new_figure(1.1 + 0.34 * n_ranks)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    n_drawn = len(walk.messages)
    for axes in (above, below):
        axes.grid(False)
        axes.set_ylim(n_ranks - 0.5, -0.5)
        axes.set_yticks(range(n_ranks))
        axes.tick_params(length=0)
    for rank in range(n_ranks):
        above.axhline(rank, color="#d8d8d8", linewidth=0.7, zorder=0)
    for number, step in enumerate(walk.messages):
        _arrows(above, number, step, labelled=n_drawn <= MOST_LABELLED)
    for number, shares in enumerate(walk.shares[1:] or walk.shares):
        _squares(below, number, shares)
    above.set_ylabel("rank")
    below.set_ylabel("rank")
    above.set_xlim(0, max(n_drawn, 1))
    below.set_xticks(np.arange(max(n_drawn, 1)) + 0.5, [str(number) for number in range(max(n_drawn, 1))])
    more = f", the first {n_drawn} of {walk.n_steps}" if walk.n_steps > n_drawn else ""
    below.set_xlabel(f"step{more}; squares: the chunks of every rank after it, darker the more they hold")
    for axes in (above, below):
        axes.spines[["left", "bottom"]].set_visible(False)
    kinds = {kind for step in walk.messages for part in step if len(part.src) for kind in (_kind(part),)}
    legend = [handle(word, color=colour) for word, colour in _KINDS.items() if word in kinds]
    if legend:
        legend_above(figure, legend)
    return figure


_KINDS = {"copy": COPY, "reduce": REDUCE, "in the fabric": FABRIC}


def _kind(part: Messages) -> str:
    return "in the fabric" if part.fabric else "reduce" if part.reduce else "copy"


def _arrows(axes: Axes, number: int, step: list[Messages], *, labelled: bool) -> None:
    """Lines from sender to receiver, a dot where they arrive; a dot alone is a move inside a rank."""
    n_messages = sum(len(part.src) for part in step)
    crowded = n_messages > 3 * MOST_LABELS
    begin, end = number + 0.3, number + 0.97
    for part in step:
        colour = _KINDS[_kind(part)]
        inside = part.src == part.dst
        axes.plot(np.full(inside.sum(), number + 0.64), part.src[inside], "s", color=colour, markersize=3)
        src, dst = part.src[~inside], part.dst[~inside]
        x = np.tile([begin, end, np.nan], len(src))
        y = np.stack([src, dst, np.full(len(src), np.nan)], axis=1).ravel()
        axes.plot(x, y, color=colour, linewidth=0.5 if crowded else 0.9, alpha=0.7 if crowded else 1.0)
        axes.plot(np.full(len(dst), end), dst, "o", color=colour, markersize=2.8)
    if labelled and n_messages <= MOST_LABELS:
        _labels(axes, number, step)


def _labels(axes: Axes, number: int, step: list[Messages]) -> None:
    """What each rank sends, beside it; nothing where it sends different chunks to several."""
    found: dict[int, set[str]] = {}
    for part in step:
        for index in np.flatnonzero(part.src != part.dst).tolist():
            found.setdefault(int(part.src[index]), set()).add(_chunks(part, index))
    for rank, labels in found.items():
        if len(labels) == 1:
            axes.text(number + 0.27, rank, labels.pop(), fontsize=6, color=INK, ha="right", va="center")


def _chunks(part: Messages, index: int) -> str:
    """The chunks of a message: ``3``, ``0–3`` or ``1 3 …``."""
    _, chunk = part.send.rows(np.array([index])).expand(1)
    listed = chunk.tolist()
    if len(listed) < 2:
        return "".join(map(str, listed))
    if listed == list(range(listed[0], listed[0] + len(listed))):
        return f"{listed[0]}–{listed[-1]}"
    return f"{listed[0]} {listed[1]}" if len(listed) == 2 else f"{listed[0]} {listed[1]}…"


def _squares(axes: Axes, number: int, shares: NDArray[np.float64]) -> None:
    n_ranks, n_chunks = shares.shape
    left, right = number + 0.12, number + 0.94
    axes.imshow(
        shares,
        cmap=SHADES,
        vmin=0,
        vmax=1,
        aspect="auto",
        interpolation="nearest",
        extent=(left, right, n_ranks - 0.5, -0.5),
    )
    rows, columns = np.arange(n_ranks + 1) - 0.5, np.linspace(left, right, n_chunks + 1)
    _grid(axes, np.array([[left, right]]), rows[1:-1, None], linewidth=0.8)
    if n_chunks <= 16:
        _grid(axes, columns[1:-1, None], np.array([[-0.5, n_ranks - 0.5]]), linewidth=0.4)
    axes.plot([left, right, right, left, left], rows[[0, 0, -1, -1, 0]], color=GREY, linewidth=0.4)


def _grid(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], linewidth: float) -> None:
    """Straight lines as one path: it keeps files small."""
    n = max(len(x), len(y)) if len(x) and len(y) else 0
    if not n:
        return
    x, y = (np.broadcast_to(v, (n, 2)) for v in (x, y))
    gap = np.full((n, 1), np.nan)
    axes.plot(np.hstack([x, gap]).ravel(), np.hstack([y, gap]).ravel(), color="white", linewidth=linewidth)
