"""Tree barrier: word that all have come goes up a k-ary tree, and word that all may go down it."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.trees import at_least, kary_heap, kary_levels, up_and_down
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, k: int) -> float:
    """2Hα, H levels below the root: ⌊log2 p⌋ for k = 2"""
    return 2 * kary_levels(n_ranks, k)[0] * alpha


@algorithm(
    "barrier",
    cost=cost,
    constraints=(at_least("k", 1),),
    source="Mellor-Crummey, Scott: Algorithms for scalable synchronization on shared-memory multiprocessors, ACM TOCS "
    "9(1), 1991",
)
def tree(rank: Rank, n_ranks: int, *, k: int = 2) -> Iterator[Step]:
    yield from up_and_down(rank, [kary_heap(n_ranks, k)], 1)
