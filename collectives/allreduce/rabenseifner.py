"""Rabenseifner's allreduce: recursive halving reduce-scatter, recursive doubling allgather, any ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import knomial_allgather, there_and_back
from collectives.folding import fold_cost_s, folded
from collectives.helpers import largest_power_of_two, rounds
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """2⌊log2 p⌋α + (q-1)/q·n(2β + γ), q = 2^⌊log2 p⌋; plus 2α + 2nβ + nγ unless p is a power of two"""
    q, n = largest_power_of_two(n_ranks), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma)
    return 2 * rounds(q) * alpha + (q - 1) / q * n * (2 * beta + gamma) + fold


@algorithm(
    "allreduce",
    chunks=largest_power_of_two,
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Rabenseifner: Optimization of collective reduction operations, ICCS 2004",
    names={
        "Open MPI": "6 rabenseifner",
        "MPICH": "reduce_scatter_allgather",
        "oneCCL": "rabenseifner",
        "Gloo": "halving_doubling",
        "SMPI": "rab",
    },
)
def rabenseifner(rank: Rank, n_ranks: int) -> Iterator[Step]:
    left = largest_power_of_two(n_ranks)
    yield from folded(rank, n_ranks, lambda r, n: there_and_back(r, n, knomial_allgather), n_chunks=left)
