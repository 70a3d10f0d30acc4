"""Line reduce-scatter: the mirror of the line allgather: a block comes to its rank from both ends of the line."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives import allgather
from collectives.helpers import mirrored
from collectives.step_clocks import steps_cost_s
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(p-1)(α + n/p·(β + γ)), each direction on a port of its own; on one port what passes both ways takes twice"""
    return steps_cost_s(_steps(np.arange(n_ranks), n_ranks), n_ranks, n_bytes / n_ranks, alpha, beta, gamma)


@algorithm("reduce_scatter", cost=cost, constraints=(COMMUTATIVE,), source=allgather.line.source)
def line(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from _steps(rank, n_ranks)


def _steps(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, allgather.line.program, reduce=True)
