"""Pairwise reduce-scatter: every rank sends each other rank its own value of that rank's block, one distance a step."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import COMMUTATIVE, Rank, Step, algorithm, chunk, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(p-1)(α + n/p·(β + γ))"""
    return (n_ranks - 1) * (alpha + n_bytes / n_ranks * (beta + gamma))


@algorithm(
    "reduce_scatter",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.4",
    names={"MPICH": "pairwise", "SMPI": "mpich_pair"},
)
def pairwise(rank: Rank, n_ranks: int) -> Iterator[Step]:
    for distance in range(1, n_ranks):
        dst, src = (rank + distance) % n_ranks, (rank - distance) % n_ranks
        yield [exchange(dst, src, send=chunk(dst), receive=chunk(rank), reduce=True)]
