"""Linear alltoall: every rank sends to every other, all at once."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.alltoall.linear_windowed import linear_windowed
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·nβ; 0 for p = 1"""
    p = n_ranks
    return alpha + (p - 1) / p * n_bytes * beta if p > 1 else 0.0


@algorithm(
    "alltoall",
    cost=cost,
    source="Open MPI coll/base: alltoall_intra_basic_linear",
    names={"Open MPI": "1 linear", "SMPI": "basic_linear"},
)
def linear(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from linear_windowed.program(rank, n_ranks, window=n_ranks)
