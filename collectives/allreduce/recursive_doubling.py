"""Recursive doubling: whole vectors between ranks whose numbers differ in one bit, any number of ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import fold_cost_s, folded, largest_power_of_two
from commsim.algorithm import COMMUTATIVE, algorithm
from commsim.program import Rank, Step, chunk, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌊log2 p⌋(α + nβ + nγ); plus 2α + 2nβ + nγ unless p is a power of two"""
    q, n = largest_power_of_two(n_ranks), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma)
    return (q.bit_length() - 1) * (alpha + n * beta + n * gamma) + fold


def _butterfly(rank: Rank, n_ranks: int) -> Iterator[Step]:
    for bit in range(n_ranks.bit_length() - 1):
        peer = rank ^ (1 << bit)
        yield [exchange(peer, peer, send=chunk(0), receive=chunk(0), reduce=True)]


@algorithm(
    "allreduce",
    chunks=1,
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.5",
    names={
        "Open MPI": "3 recursive_doubling",
        "MPICH": "recursive_doubling",
        "UCC": "knomial (radix 2)",
        "SMPI": "rdb",
    },
)
def recursive_doubling(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from folded(rank, n_ranks, _butterfly, n_chunks=1)
