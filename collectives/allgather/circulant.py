"""Circulant allgather (Träff): every step about doubles the consecutive blocks that a rank has, on any ranks."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.circulants import allgather_of, circulant_hops
from collectives.helpers import rounds
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉α + (p-1)/p·nβ"""
    return rounds(n_ranks) * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


@algorithm(
    "allgather",
    cost=cost,
    source="Träff: reduce-scatter and allreduce on circulant graphs, 2024/25, TU Wien repositum 219280",
    names={"MPICH": "circ_graph"},
)
def circulant(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from allgather_of(rank, n_ranks, circulant_hops(n_ranks))
