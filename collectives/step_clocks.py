"""The time of steps for which there is no formula: the clock of every rank, step by step, by Hockney's rules."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from commsim import Exchange, Step
from commsim.errors import ScheduleError
from commsim.program import Lanes, unrolled
from commsim.selection import Ints, spread


def steps_cost_s(
    steps: Iterable[Step], n_ranks: int, chunk_bytes: float, alpha: float, beta: float, gamma: float
) -> float:
    """Time of the steps of all ranks, without lanes, whose chunks are equally large."""
    clock = np.zeros(n_ranks)
    for step in unrolled(steps):
        if isinstance(step, Lanes):
            raise ScheduleError("there is no cost of lanes")
        ends = [_messages(e) for e in step if len(e.sends.row)]
        if not ends:
            continue
        src, dst, chunks, reduced = (np.concatenate(column) for column in zip(*ends, strict=True))
        out, into = (np.bincount(end, chunks, n_ranks) for end in (src, dst))
        load = np.maximum(out[src], into[dst]) * chunk_bytes
        delivered = np.maximum(clock[src], clock[dst]) + alpha + load * beta
        np.maximum.at(clock, src, delivered)
        np.maximum.at(clock, dst, delivered + _from_here_on(dst, reduced) * chunk_bytes * gamma)
    return float(clock.max())


def _messages(e: Exchange) -> tuple[Ints, Ints, Ints, Ints]:
    """Source, destination, chunks and chunks that are reduced, of each message in the order of receives."""
    receives = e.receives
    chunks = spread(receives.selection.n_selected(), len(receives.row))
    return receives.peer, receives.row, chunks, chunks * e.reduce


def _from_here_on(dst: Ints, reduced: Ints) -> Ints:
    """What the receiver of each message reduces from this one on: one after the other, in exchange order."""
    order = np.argsort(dst, kind="stable")
    done, ordered = np.cumsum(reduced[order]), dst[order]
    left = np.empty_like(reduced)
    left[order] = done[np.searchsorted(ordered, ordered, side="right") - 1] - done + reduced[order]
    return left
