"""Circulant reduce-scatter (Träff): every step about halves the blocks that a rank still sums up, on any ranks."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather
from collectives.circulants import circulant_hops, reduce_scatter_of
from collectives.helpers import rounds
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉α + (p-1)/p·n(β + γ)"""
    return rounds(n_ranks) * alpha + (n_ranks - 1) / n_ranks * n_bytes * (beta + gamma)


@algorithm(
    "reduce_scatter",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source=allgather.circulant.source,
)
def circulant(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from reduce_scatter_of(rank, n_ranks, circulant_hops(n_ranks))
