"""Pipelined k-ary tree allreduce: segments go up to rank 0, and down again while others still go up."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import ARITY, SEGMENTS, segments_by_size
from collectives.trees import kary_heap, kary_levels, up_and_down
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, arity: int) -> float:
    """(S+2H-1)α + ((S+2H-1)k + S-1)·n/S·β + (S+H-1)k·n/S·γ, k = arity, S > 2 segments, H > 1 full levels"""
    segment, (height, last_level) = n_bytes / segments, kary_levels(n_ranks, arity)
    most, last = min(arity, n_ranks - 1), min(arity, last_level)
    if not height:
        return 0.0
    # a rank with all its children has traffic both ways
    meets = segments > 2 and (height > 2 or (height == 2 and last == arity))
    moved = (segments + 2 * height - 3) * most + 2 * last + (segments - 1) * meets
    reduced = (segments + height - 2) * most + last
    return (segments + 2 * height - 1) * alpha + moved * segment * beta + reduced * segment * gamma


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments, arity: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS, ARITY),
    source="MPICH: MPIR_Allreduce_intra_tree, tree_type=kary",
    names={"MPICH": "tree (kary)"},
)
def kary_tree(rank: Rank, n_ranks: int, *, segments: int, arity: int = 2) -> Iterator[Step]:
    yield from up_and_down(rank, [kary_heap(n_ranks, arity)], segments)
