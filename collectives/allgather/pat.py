"""PAT allgather (parallel aggregated trees): Bruck's distances from far to near, with a bound on a message's blocks.

Every block goes down a binomial tree, its far hops first. While few blocks are on their way, all of them share a
message: a hop for each far distance. After that each message takes `aggregation` trees one hop on, node by node and
depth first, so that a rank has to keep only a logarithmic number of messages that it will send on.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.circulants import allgather_of, pat_defaults, pat_hops, pat_n_hops
from collectives.parameters import at_least
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, aggregation: int) -> float:
    """(⌈log2⌈p/m⌉⌉ + min(m, p) - 1)α + (p-1)/p·nβ, m the smallest power of two with ⌈p/m⌉ <= aggregation"""
    return pat_n_hops(n_ranks, aggregation) * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


@algorithm(
    "allgather",
    cost=cost,
    defaults=pat_defaults,
    constraints=(at_least("aggregation", 1),),
    source="Jeaugey: PAT: a new algorithm for all-gather and reduce-scatter operations at scale, arXiv 2506.20252",
    names={"NCCL": "PAT (2.23 and later)"},
)
def pat(rank: Rank, n_ranks: int, *, aggregation: int) -> Iterator[Step]:
    yield from allgather_of(rank, n_ranks, pat_hops(n_ranks, aggregation))
