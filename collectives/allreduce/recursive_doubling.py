"""Recursive doubling: whole vectors between ranks whose numbers differ in one bit, any number of ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import whole_vectors
from collectives.folding import fold_cost_s, folded
from collectives.helpers import largest_power_of_two, rounds
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌊log2 p⌋(α + nβ + nγ); plus 2α + 2nβ + nγ unless p is a power of two"""
    q, n = largest_power_of_two(n_ranks), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma)
    return rounds(q) * (alpha + n * (beta + gamma)) + fold


@algorithm(
    "allreduce",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.5",
    names={
        "Open MPI": "3 recursive_doubling",
        "MPICH": "recursive_doubling",
        "UCC": "knomial (radix 2)",
        "oneCCL": "recursive_doubling",
        "SMPI": "rdb",
    },
)
def recursive_doubling(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from folded(rank, n_ranks, whole_vectors, n_chunks=1)
