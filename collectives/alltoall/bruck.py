"""Bruck alltoall of radix r: a block goes as far as the digits of its distance say, one digit in every round.

All blocks whose distance has the same digit travel together; radix 2 sends half of the vector in each round, larger
radixes send less, in more messages; radix p is the linear alltoall.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives.butterflies import RADIX
from collectives.helpers import rounds
from commsim import OUTPUT, SCRATCH, Rank, Step, algorithm, chunks, exchange, listed


def _powers(n_ranks: int, radix: int) -> list[int]:
    """1, r, r², … below p: the places of the digits."""
    return [radix**place for place in range(rounds(n_ranks, radix))]


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """⌈log_r p⌉α + log_r p·(r-1)/r·nβ for p a power of r; else the blocks whose digit is not 0, added up over digits"""
    p, time_s = n_ranks, 0.0
    for low in _powers(p, radix):
        stay = p // (low * radix) * low + min(p % (low * radix), low)
        time_s += alpha + (p - stay) / p * n_bytes * beta
    return time_s


@algorithm(
    "alltoall",
    scratch=1,
    cost=cost,
    constraints=(RADIX,),
    source="Bruck et al.: Efficient algorithms for all-to-all communications in multiport message-passing systems, "
    "IEEE TPDS 8(11), 1997",
    names={"Open MPI": "3 modified_bruck", "MPICH": "brucks, k_brucks", "UCC": "bruck", "SMPI": "bruck"},
)
def bruck(rank: Rank, n_ranks: int, *, radix: int = 2) -> Iterator[Step]:
    everything = chunks(0, n_ranks, buffer=SCRATCH)  # block d is the one that travels d ranks on
    yield [exchange(rank, rank, send=chunks(rank, n_ranks), receive=everything)]
    for low in _powers(n_ranks, radix):
        step = []
        for far in range(low, min(radix * low, n_ranks), low):
            travel = chunks(far, n_ranks - far, block=low, stride=low * radix, buffer=SCRATCH)
            step.append(exchange((rank + far) % n_ranks, (rank - far) % n_ranks, send=travel, receive=travel))
        yield step
    backwards = listed(-np.arange(n_ranks) % n_ranks, buffer=SCRATCH)  # block d has come from rank - d
    yield [exchange(rank, rank, send=backwards, receive=chunks(rank, n_ranks, buffer=OUTPUT))]
