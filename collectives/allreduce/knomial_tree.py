"""Pipelined k-nomial tree allreduce: segments go up to rank 0, and down again while others still go up."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import RADIX, SEGMENTS, segments_by_size
from collectives.tree_clocks import tree_cost_s
from collectives.trees import knomial_heap, up_and_down
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, radix: int) -> float:
    """(S+2L-1)α + (k-1)L((1 + L/S)nβ + nγ), S segments, p = k^L, k = radix"""
    return tree_cost_s([knomial_heap(n_ranks, radix)], segments, n_bytes, alpha, beta, gamma)


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments, radix: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS, RADIX),
    source="MPICH: MPIR_Allreduce_intra_tree, tree_type=knomial_1",
    names={"MPICH": "tree (knomial_1, knomial_2)"},
)
def knomial_tree(rank: Rank, n_ranks: int, *, segments: int, radix: int = 2) -> Iterator[Step]:
    yield from up_and_down(rank, [knomial_heap(n_ranks, radix)], segments)
