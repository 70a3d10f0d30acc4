"""Binomial tree broadcast: whoever has the vector sends it on, to half of the remaining distance each time."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import binomial_edges, halvings, rounds
from commsim import Rank, Step, algorithm, chunk, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉(α + nβ)"""
    return rounds(n_ranks) * (alpha + n_bytes * beta)


@algorithm(
    "broadcast",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.2",
    names={"Open MPI": "6 binomial", "MPICH": "binomial", "UCC": "knomial (radix 2)", "SMPI": "binomial_tree"},
)
def binomial(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    virtual = (rank - root) % n_ranks
    for half in halvings(n_ranks):
        dst, src = binomial_edges(virtual, rank, n_ranks, half)
        yield [exchange(dst, src, send=chunk(0), receive=chunk(0))]
