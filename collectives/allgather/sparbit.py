"""Sparbit allgather: Bruck's number of rounds, the far ones first, so that most blocks travel short distances.

Before the round of distance d a rank has the blocks 0, 2d, 4d … before its own; the round brings those between them.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.circulants import Hop, allgather_of
from collectives.helpers import halvings, rounds
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉α + (p-1)/p·nβ"""
    return rounds(n_ranks) * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


def _hop(n_ranks: int, distance: int) -> Hop:
    new = -(-n_ranks // distance) // 2  # every second of the multiples of the distance below p
    span = 2 * (new - 1) * distance
    return Hop(-distance, -distance - span, span + 1, 2 * distance)


@algorithm(
    "allgather",
    cost=cost,
    source="Loch, Koslovski: Sparbit: a new logarithmic-cost and data locality-aware MPI allgather algorithm, 2021",
    names={"Open MPI": "7 sparbit", "UCC": "sparbit"},
)
def sparbit(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from allgather_of(rank, n_ranks, [_hop(n_ranks, distance) for distance in halvings(n_ranks)])
