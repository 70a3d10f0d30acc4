"""Circulant reduce: the circulant broadcast backwards, every segment reduced on its way to the root."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.circulants import broadcast_round
from collectives.helpers import mirror, rounds
from collectives.parameters import SEGMENTS, segments_by_size
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(⌈log2 p⌉ + S-1)(α + n/S·(β + γ)), S segments; 0 for p = 1"""
    return (rounds(n_ranks) + segments - 1) * (alpha + n_bytes / segments * (beta + gamma)) if n_ranks > 1 else 0.0


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS),
    source="Träff: Optimal broadcast schedules in logarithmic time, arXiv 2407.18004, 2024",
    names={"MPICH": "circ_graph"},
)
def circulant(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    for number in reversed(range(rounds(n_ranks) + segments - 1 if n_ranks > 1 else 0)):
        yield [mirror(broadcast_round(rank, n_ranks, root, segments, number), reduce=True)]
