"""Bine allreduce: Swing's butterfly on a power of two of ranks, chunks numbered so that messages are ranges.

``latency`` swaps whole vectors, ``bandwidth`` is a reduce-scatter and an allgather; other numbers of ranks fold. From
the paper: the peers, both variants, and that blocks are remapped. Derived here: the numbering, for any butterfly whose
groups nest.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather
from collectives.butterflies import swing_allgather, swing_whole_vectors, there_and_back
from collectives.folding import fold_cost_s, folded
from collectives.helpers import largest_power_of_two, rounds
from collectives.parameters import VARIANT
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, variant: str) -> float:
    """latency: L(α + nβ + nγ); bandwidth: 2Lα + (q-1)/q·n(2β + γ); q = 2^L <= p; plus 2α + 2nβ + nγ unless q = p"""
    left, n = largest_power_of_two(n_ranks), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma)
    if variant == "latency":
        return rounds(left) * (alpha + n * (beta + gamma)) + fold
    return 2 * rounds(left) * alpha + (left - 1) / left * n * (2 * beta + gamma) + fold


def _n_chunks(n_ranks: int, *, variant: str) -> int:
    return largest_power_of_two(n_ranks) if variant == "bandwidth" else 1


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    cost=cost,
    constraints=(COMMUTATIVE, VARIANT),
    source=allgather.bine.source,
    names={"PICO": "libbine: lat, bdw_remap"},
)
def bine(rank: Rank, n_ranks: int, *, variant: str = "bandwidth") -> Iterator[Step]:
    def butterfly(rank: Rank, left: int) -> Iterator[Step]:
        if variant == "latency":
            yield from swing_whole_vectors(rank, left)
        else:
            yield from there_and_back(rank, left, swing_allgather)

    yield from folded(rank, n_ranks, butterfly, n_chunks=_n_chunks(n_ranks, variant=variant))
