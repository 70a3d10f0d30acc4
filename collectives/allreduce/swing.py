"""Swing allreduce: ranks of a ring meet at the distances 1, 1, 3, 5, 11 …, now on one side and now on the other.

``latency`` swaps whole vectors, on a power of two of ranks; others fold. ``bandwidth`` is a reduce-scatter and an
allgather on any even number; of an odd one the first two fold. From the paper: peers and variants. Derived here: the
folding, and which blocks are sent: each goes to peers that lack it, so that no rank gets one twice where p is no power
of two. There they are listed one by one (p*p/2 numbers in the largest step); on a power of two they are ranges, as in
bine.py. ``latency`` takes the paper's steps backwards, so that all ranks end with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import swing_allgather, swing_any_even, swing_whole_vectors, there_and_back
from collectives.folding import fold_cost_s, folded
from collectives.helpers import largest_power_of_two, rounds
from collectives.parameters import VARIANT
from commsim import COMMUTATIVE, Rank, Step, algorithm


def _left(n_ranks: int, *, variant: str) -> int:
    """Ranks that go on after folding, q in the cost."""
    even = max(n_ranks - n_ranks % 2, 1)
    return even if variant == "bandwidth" else largest_power_of_two(n_ranks)


def _n_chunks(n_ranks: int, *, variant: str) -> int:
    return _left(n_ranks, variant=variant) if variant == "bandwidth" else 1


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, variant: str) -> float:
    """latency: L(α + nβ + nγ), bandwidth: 2Lα + (q-1)/q·n(2β + γ); L = ⌈log2 q⌉; plus 2α + 2nβ + nγ unless q = p"""
    left, n = _left(n_ranks, variant=variant), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma, left)
    if variant == "latency":
        return rounds(left) * (alpha + n * (beta + gamma)) + fold
    return 2 * rounds(left) * alpha + (left - 1) / left * n * (2 * beta + gamma) + fold


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    cost=cost,
    constraints=(COMMUTATIVE, VARIANT),
    source="De Sensi, Bonato, Saam, Hoefler: Swing: short-cutting rings for higher bandwidth allreduce, NSDI 2024",
)
def swing(rank: Rank, n_ranks: int, *, variant: str = "bandwidth") -> Iterator[Step]:
    def butterfly(rank: Rank, left: int) -> Iterator[Step]:
        if variant == "latency":
            yield from swing_whole_vectors(rank, left)
        elif left == largest_power_of_two(left):
            yield from there_and_back(rank, left, swing_allgather)
        else:
            yield from swing_any_even(rank, left)

    left = _left(n_ranks, variant=variant)
    yield from folded(rank, n_ranks, butterfly, n_chunks=_n_chunks(n_ranks, variant=variant), left=left)
