"""Bruck allgather of radix k: a rank's range of blocks grows k-fold in every round, with k - 1 messages, on any ranks.

Blocks are counted from the own rank on, so that no copy has to turn them in the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.circulants import Hop, hop_of
from collectives.helpers import distances, rounds
from collectives.parameters import RADIX
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """⌈log_k p⌉α + (p-1)/p·nβ, k = radix"""
    return rounds(n_ranks, radix) * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


@algorithm(
    "allgather",
    cost=cost,
    constraints=(RADIX,),
    source="Bruck et al.: Efficient algorithms for all-to-all communications in multiport message-passing systems, "
    "IEEE TPDS 8(11), 1997",
    names={"Open MPI": "2 bruck-k-fanout", "MPICH": "brucks, k_brucks", "UCC": "bruck", "SMPI": "bruck"},
)
def bruck(rank: Rank, n_ranks: int, *, radix: int = 2) -> Iterator[Step]:
    for far in distances(n_ranks, radix):
        yield [hop_of(rank, n_ranks, Hop(d, d, min(far.step, n_ranks - d))) for d in far]
