"""Pipelined k-ary tree broadcast: every rank hands each segment to ``arity`` others; 2 is the binary tree."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import ARITY, SEGMENTS, segments_by_size
from collectives.trees import broadcast_down, kary_heap, kary_levels
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, arity: int) -> float:
    """(S+H-2)(α + k·n/S·β) + α + c·n/S·β, k = arity, S segments, H levels, c = min(k, ranks of the last)"""
    segment, (height, last_level) = n_bytes / segments, kary_levels(n_ranks, arity)
    most, last = min(arity, n_ranks - 1), min(arity, last_level)
    return (segments + height - 2) * (alpha + most * segment * beta) + alpha + last * segment * beta if height else 0.0


@algorithm(
    "broadcast",
    chunks=lambda n_ranks, *, segments, arity: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(SEGMENTS, ARITY),
    source="Pjesivac-Grbovic et al.: Performance analysis of MPI collective operations, Cluster Computing 10, 2007",
    names={"Open MPI": "5 binary_tree", "MPICH": "tree, pipelined_tree (kary)", "SMPI": "NTSB"},
)
def kary_tree(rank: Rank, n_ranks: int, *, root: int, segments: int, arity: int = 2) -> Iterator[Step]:
    yield from broadcast_down(rank, [kary_heap(n_ranks, arity).rooted(root)], segments)
