"""Pairwise alltoall: in every round each rank exchanges with one other; with the same one where p is a power of two."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import largest_power_of_two
from commsim import OUTPUT, Rank, Step, algorithm, chunk, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(p-1)(α + n/p·β)"""
    return (n_ranks - 1) * (alpha + n_bytes / n_ranks * beta)


@algorithm(
    "alltoall",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.3",
    names={"Open MPI": "2 pairwise", "MPICH": "pairwise", "UCC": "pairwise", "SMPI": "pair, ring"},
)
def pairwise(rank: Rank, n_ranks: int) -> Iterator[Step]:
    in_pairs = n_ranks == largest_power_of_two(n_ranks)
    for distance in range(n_ranks):  # 0: the block that stays
        dst, src = (rank + distance) % n_ranks, (rank - distance) % n_ranks
        if in_pairs:
            dst = src = rank ^ distance
        yield [exchange(dst, src, send=chunk(dst), receive=chunk(src, buffer=OUTPUT))]
