"""Bine tree reduce: the mirror of broadcast/bine.py, where it is said what is the paper's."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import broadcast
from collectives.helpers import mirrored, rounds
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉(α + nβ + nγ)"""
    return rounds(n_ranks) * (alpha + n_bytes * (beta + gamma))


@algorithm(
    "reduce",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source=broadcast.bine.source,
    names=broadcast.bine.names,
)
def bine(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, broadcast.bine.program, reduce=True, root=root)
