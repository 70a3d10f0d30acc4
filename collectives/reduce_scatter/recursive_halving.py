"""Recursive halving reduce-scatter: a rank gives away the half of its blocks beyond one bit; any ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives.butterflies import knomial_allgather
from collectives.folding import on_any_cost_s, reduce_scatter_on_any
from collectives.helpers import largest_power_of_two
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌊log2 p⌋α + (p-1)/p·n(β + γ); plus 2α + about n(β + γ) unless p is a power of two"""
    return on_any_cost_s(n_ranks, n_bytes, alpha, beta, gamma, labelled=False)


@algorithm(
    "reduce_scatter",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.4",
    names={
        "Open MPI": "2 recursive_halving",
        "MPICH": "recursive_halving",
        "UCC": "knomial (radix 2)",
        "SMPI": "ompi_basic_recursivehalving",
    },
)
def recursive_halving(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from reduce_scatter_on_any(rank, n_ranks, knomial_allgather, np.arange(largest_power_of_two(n_ranks)))
