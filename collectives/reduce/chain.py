"""Pipelined chain reduce: segments pass from rank to rank towards the root, where several chains may end."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import broadcast
from collectives.broadcast.chain import cost as broadcast_cost_s
from collectives.parameters import SEGMENTS, at_least, segments_by_size
from collectives.trees import k_chains, reduce_up
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, chains: int) -> float:
    """(p+S-2)(α + n/S·δ), δ = β + γ, S segments; with k chains S(α + k·n/S·δ) + (⌈(p-1)/k⌉-1)(α + n/S·δ); p > 1"""
    return broadcast_cost_s(n_ranks, n_bytes, alpha, beta + gamma, 0.0, segments=segments, chains=chains)


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments, chains: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS, at_least("chains", 1)),
    source=broadcast.chain.source,
    names={"Open MPI": "2 chain, 3 pipeline", "NCCL": "Ring", "SMPI": "ompi_chain, ompi_pipeline"},
)
def chain(rank: Rank, n_ranks: int, *, root: int, segments: int, chains: int = 1) -> Iterator[Step]:
    yield from reduce_up(rank, [k_chains(n_ranks, chains).rooted(root)], segments)
