"""Recursive doubling allgather: ranks whose numbers differ in one bit swap all that they have; any ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives.butterflies import knomial_allgather
from collectives.folding import allgather_on_any, on_any_cost_s
from collectives.helpers import largest_power_of_two
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌊log2 p⌋α + (p-1)/p·nβ; plus 2α + about nβ unless p is a power of two"""
    return on_any_cost_s(n_ranks, n_bytes, alpha, beta, 0.0, labelled=False)


@algorithm(
    "allgather",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.1 (powers of two); others fold as in their allreduce",
    names={
        "Open MPI": "3 recursive_doubling",
        "MPICH": "recursive_doubling",
        "UCC": "knomial (radix 2)",
        "SMPI": "rdb",
    },
)
def recursive_doubling(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from allgather_on_any(rank, n_ranks, knomial_allgather, np.arange(largest_power_of_two(n_ranks)))
