"""Pipelined k-ary tree allreduce: segments go up to rank 0, and down again while others still go up."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import SEGMENTS, segments_by_size
from collectives.trees import at_least, kary_heap, kary_levels, up_and_down
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, k: int) -> float:
    """(S+2H-1)α + ((S+2H-1)k + S-1)·n/S·β + (S+H-1)k·n/S·γ, S > 2 segments, H > 1 full levels below the root"""
    segment, (height, last_level) = n_bytes / segments, kary_levels(n_ranks, k)
    most, last = min(k, n_ranks - 1), min(k, last_level)
    if not height:
        return 0.0
    meets = segments > 2 and (height > 2 or (height == 2 and last == k))  # a rank with k children has traffic both ways
    moved = (segments + 2 * height - 3) * most + 2 * last + (segments - 1) * meets
    reduced = (segments + height - 2) * most + last
    return (segments + 2 * height - 1) * alpha + moved * segment * beta + reduced * segment * gamma


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments, k: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS, at_least("k", 1)),
    source="MPICH: MPIR_Allreduce_intra_tree, tree_type=kary",
    names={"MPICH": "tree (kary)"},
)
def kary_tree(rank: Rank, n_ranks: int, *, segments: int, k: int = 2) -> Iterator[Step]:
    yield from up_and_down(rank, [kary_heap(n_ranks, k)], segments)
