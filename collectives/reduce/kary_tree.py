"""Pipelined k-ary tree reduce: every rank reduces each segment of ``arity`` others; 2 is the binary tree."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import broadcast
from collectives.broadcast.kary_tree import cost as broadcast_cost_s
from collectives.parameters import ARITY, SEGMENTS, segments_by_size
from collectives.trees import kary_heap, reduce_up
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, arity: int) -> float:
    """(S+H-2)(α + k·n/S·δ) + α + c·n/S·δ, δ = β + γ, k = arity, H levels, c = min(k, ranks of the last)"""
    return broadcast_cost_s(n_ranks, n_bytes, alpha, beta + gamma, 0.0, segments=segments, arity=arity)


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments, arity: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS, ARITY),
    source=broadcast.kary_tree.source,
    names={"Open MPI": "4 binary", "SMPI": "ompi_binary"},
)
def kary_tree(rank: Rank, n_ranks: int, *, root: int, segments: int, arity: int = 2) -> Iterator[Step]:
    yield from reduce_up(rank, [kary_heap(n_ranks, arity).rooted(root)], segments)
