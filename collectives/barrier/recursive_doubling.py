"""Recursive doubling barrier: tokens between ranks whose numbers differ in one bit, any ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import whole_vectors
from collectives.folding import fold_cost_s, folded
from collectives.helpers import largest_power_of_two, rounds
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌊log2 p⌋α; plus 2α unless p is a power of two"""
    return rounds(largest_power_of_two(n_ranks)) * alpha + fold_cost_s(n_ranks, 0, alpha, beta, gamma)


@algorithm(
    "barrier",
    cost=cost,
    source="Open MPI coll/base: barrier_intra_recursivedoubling",
    names={"Open MPI": "3 recursive_doubling", "MPICH": "recexch (k=2)", "SMPI": "ompi_recursivedoubling"},
)
def recursive_doubling(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from folded(rank, n_ranks, whole_vectors, n_chunks=1)
