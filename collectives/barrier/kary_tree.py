"""Tree barrier: word that all have come goes up a k-ary tree, and word that all may go down it."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import ARITY
from collectives.trees import kary_heap, kary_levels, up_and_down
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, arity: int) -> float:
    """2Hα, H levels below the root: ⌊log2 p⌋ for arity 2"""
    return 2 * kary_levels(n_ranks, arity)[0] * alpha


@algorithm(
    "barrier",
    cost=cost,
    constraints=(ARITY,),
    source="Mellor-Crummey, Scott: Algorithms for scalable synchronization on shared-memory multiprocessors, ACM TOCS "
    "9(1), 1991",
)
def kary_tree(rank: Rank, n_ranks: int, *, arity: int = 2) -> Iterator[Step]:
    yield from up_and_down(rank, [kary_heap(n_ranks, arity)], 1)
