"""Allgather + reduce: everyone gets a copy of everyone's vector and reduces them itself, in the order of ranks."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather
from collectives.helpers import rounds
from commsim import SCRATCH, Rank, Step, Window, algorithm, chunk, exchange, within


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉α + (p-1)n(β + γ)"""
    return rounds(n_ranks) * alpha + (n_ranks - 1) * n_bytes * (beta + gamma)


@algorithm(
    "allreduce",
    scratch=lambda n_ranks: n_ranks,
    cost=cost,
    source="Open MPI coll/base: allreduce_intra_allgather_reduce",
    names={"Open MPI": "7 allgather_reduce", "NCCL": "symmetric kernel AGxLL_R"},
)
def allgather_reduce(rank: Rank, n_ranks: int) -> Iterator[Step]:
    own, everyones = chunk(0, buffer=SCRATCH + rank), Window(0, n_ranks, buffer=SCRATCH)
    yield [exchange(rank, rank, send=chunk(0), receive=own)]
    yield from within([range(n_ranks)], rank, allgather.circulant.program, everyones)
    first, *others = (chunk(0, buffer=SCRATCH + number) for number in range(n_ranks))
    yield [exchange(rank, rank, send=first, receive=chunk(0))]  # from the left on every rank: all get the same bits
    yield [exchange(rank, rank, send=copy, receive=chunk(0), reduce=True) for copy in others]
