"""Bine reduce-scatter: Swing's butterfly, its nearest distance first, on ranges of blocks; any ranks by folding.

A rank ends with the block of its label, and sends it to the rank of that number. The mirror of allgather/bine.py, where
it is said what is the paper's.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather
from collectives.butterflies import swing_allgather, swing_labels
from collectives.folding import on_any_cost_s, reduce_scatter_on_any
from collectives.helpers import largest_power_of_two
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(⌊log2 p⌋ + 1)α + nβ + (p-1)/p·nγ for p >= 4; plus α + about n(β + γ) unless p is a power of two"""
    return on_any_cost_s(n_ranks, n_bytes, alpha, beta, gamma, labelled=True)


@algorithm(
    "reduce_scatter",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source=allgather.bine.source,
    names=allgather.bine.names,
)
def bine(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from reduce_scatter_on_any(rank, n_ranks, swing_allgather, swing_labels(largest_power_of_two(n_ranks)))
