"""Bine allgather: Swing's butterfly, its farthest distance first, on ranges of blocks; any ranks by folding.

A rank knows a range of labels, not of ranks, so every block goes first to the rank of its label. From the paper: the
peers, and that blocks are remapped so that messages are ranges. Derived here: the labels (for any butterfly whose
groups nest), the message that remaps, and the folding.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import swing_allgather, swing_labels
from collectives.folding import allgather_on_any, on_any_cost_s
from collectives.helpers import largest_power_of_two
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(⌊log2 p⌋ + 1)α + nβ for p >= 4; plus α + about nβ unless p is a power of two"""
    return on_any_cost_s(n_ranks, n_bytes, alpha, beta, 0.0, labelled=True)


@algorithm(
    "allgather",
    cost=cost,
    source="De Sensi et al.: Bine trees: enhancing collective operations by optimizing communication locality, SC 2025 "
    "(doi 10.1145/3712285.3759835)",
    names={"PICO": "libbine"},
)
def bine(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from allgather_on_any(rank, n_ranks, swing_allgather, swing_labels(largest_power_of_two(n_ranks)))
