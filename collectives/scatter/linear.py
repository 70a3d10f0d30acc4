"""Linear scatter: the root sends every rank its block at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from commsim import Rank, Step, algorithm, chunk, fan_out
from commsim.selection import NOTHING


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·nβ; 0 for p = 1"""
    return alpha + (n_ranks - 1) / n_ranks * n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "scatter",
    cost=cost,
    source="Open MPI coll/base: scatter_intra_basic_linear",
    names={"Open MPI": "1 basic_linear, 3 linear_nb", "SMPI": "ompi_basic_linear"},
)
def linear(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    if n_ranks > 1:
        fan = fan_out(rank, n_ranks, root, send=NOTHING, receive=NOTHING)
        theirs, own = chunk(fan.sends.peer), chunk(np.atleast_1d(rank)[fan.receives.row])
        yield [replace(fan, sends=replace(fan.sends, selection=theirs), receives=replace(fan.receives, selection=own))]
