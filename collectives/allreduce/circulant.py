"""Circulant allreduce (Träff): reduce-scatter and allgather in the fewest steps for any number of ranks, no folding."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather, reduce_scatter
from collectives.helpers import rounds
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """2⌈log2 p⌉α + (p-1)/p·n(2β + γ)"""
    return 2 * rounds(n_ranks) * alpha + (n_ranks - 1) / n_ranks * n_bytes * (2 * beta + gamma)


@algorithm(
    "allreduce",
    chunks=lambda n_ranks: n_ranks,
    cost=cost,
    constraints=(COMMUTATIVE,),
    source=allgather.circulant.source,
)
def circulant(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from reduce_scatter.circulant.program(rank, n_ranks)
    yield from allgather.circulant.program(rank, n_ranks)
