"""PAT reduce-scatter (parallel aggregated trees): the mirror of the PAT allgather, from near distances to far."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather
from collectives.circulants import pat_defaults, pat_hops, pat_n_hops, reduce_scatter_of
from collectives.parameters import at_least
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, aggregation: int) -> float:
    """(⌈log2⌈p/m⌉⌉ + min(m, p) - 1)α + (p-1)/p·n(β + γ), m the smallest power of two with ⌈p/m⌉ <= aggregation"""
    return pat_n_hops(n_ranks, aggregation) * alpha + (n_ranks - 1) / n_ranks * n_bytes * (beta + gamma)


@algorithm(
    "reduce_scatter",
    cost=cost,
    defaults=pat_defaults,
    constraints=(COMMUTATIVE, at_least("aggregation", 1)),
    source=allgather.pat.source,
    names=allgather.pat.names,
)
def pat(rank: Rank, n_ranks: int, *, aggregation: int) -> Iterator[Step]:
    yield from reduce_scatter_of(rank, n_ranks, pat_hops(n_ranks, aggregation))
