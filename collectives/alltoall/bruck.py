"""Bruck alltoall of radix k: a block goes as far as the digits of its distance say, one digit in every round.

All blocks whose distance has the same digit travel together; radix 2 sends half of the vector in each round, larger
radixes send less, in more messages; radix p is the linear alltoall.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives.helpers import distances
from collectives.parameters import RADIX
from commsim import OUTPUT, SCRATCH, Rank, Step, algorithm, chunks, exchange, listed


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """⌈log_k p⌉α + log_k p·(k-1)/k·nβ, p a power of k = radix; else the blocks whose digit is not 0, over all digits"""
    p, time_s = n_ranks, 0.0
    for far in distances(p, radix):
        stay = p // (far.step * radix) * far.step + min(p % (far.step * radix), far.step)
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
    for far in distances(n_ranks, radix):
        step = []
        for d in far:
            travel = chunks(d, n_ranks - d, block=far.step, stride=min(radix * far.step, n_ranks), buffer=SCRATCH)
            step.append(exchange((rank + d) % n_ranks, (rank - d) % n_ranks, send=travel, receive=travel))
        yield step
    backwards = listed(-np.arange(n_ranks) % n_ranks, buffer=SCRATCH)  # block d has come from rank - d
    yield [exchange(rank, rank, send=backwards, receive=chunks(rank, n_ranks, buffer=OUTPUT))]
