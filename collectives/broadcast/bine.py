"""Bine tree broadcast: a binomial tree with hops to either side, so that they are two thirds as far.

From the paper: the hops. Derived here: numbers of ranks that are no powers of two fold, so that the last hop is to the
neighbour; the number of rounds stays ⌈log2 p⌉.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import bine_tree
from collectives.folding import to_partners, within_left
from collectives.helpers import largest_power_of_two, rounds
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉(α + nβ)"""
    return rounds(n_ranks) * (alpha + n_bytes * beta)


@algorithm(
    "broadcast",
    cost=cost,
    source="De Sensi et al.: Bine trees: enhancing collective operations by optimizing communication locality, SC 2025 "
    "(doi 10.1145/3712285.3759835)",
    names={"PICO": "libbine"},
)
def bine(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    left = largest_power_of_two(n_ranks)
    yield from within_left(rank, n_ranks, root, left, bine_tree)
    yield from to_partners(rank, n_ranks, root, left, 1)
