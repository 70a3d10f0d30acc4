"""Dissemination barrier: with radix - 1 tokens a round, everyone hears of radix times as many ranks; on any ranks."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import distances, rounds
from collectives.parameters import RADIX
from commsim import Rank, Step, algorithm, chunk, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """⌈log_k p⌉α, k = radix"""
    return rounds(n_ranks, radix) * alpha


@algorithm(
    "barrier",
    cost=cost,
    constraints=(RADIX,),
    source="Hensgen, Finkel, Manber: Two algorithms for barrier synchronization, International Journal of Parallel "
    "Programming 17(1), 1988 (radix 2)",
    names={"Open MPI": "4 bruck", "MPICH": "k_dissemination", "SMPI": "ompi_bruck"},
)
def dissemination(rank: Rank, n_ranks: int, *, radix: int = 2) -> Iterator[Step]:
    for far in distances(n_ranks, radix):
        ends = [((rank + d) % n_ranks, (rank - d) % n_ranks) for d in far]
        yield [exchange(dst, src, send=chunk(0), receive=chunk(0), reduce=True) for dst, src in ends]
