"""Scatter + recursive doubling allgather broadcast (van de Geijn), with any radix; any ranks by folding.

The first of every pair that folds passes the vector on at the end.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import digits, knomial_allgather, knomial_scatter, left_by_radix
from collectives.folding import to_partners, within_left
from collectives.parameters import RADIX
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """2⌈log_k q⌉α + 2(q-1)/q·nβ, k = radix, the largest q = j·k^m <= p, j < k; plus α + nβ unless q = p"""
    left = left_by_radix(n_ranks, radix)
    fold = alpha + n_bytes * beta if left < n_ranks else 0.0
    return 2 * len(digits(left, radix)) * alpha + 2 * (left - 1) / left * n_bytes * beta + fold


@algorithm(
    "broadcast",
    chunks=lambda n_ranks, *, radix: left_by_radix(n_ranks, radix),
    cost=cost,
    constraints=(RADIX,),
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.2 (powers of two); UCC: tl/ucp bcast sag_knomial",
    names={
        "Open MPI": "8 scatter_allgather",
        "MPICH": "scatter_recursive_doubling_allgather",
        "UCC": "sag_knomial",
        "SMPI": "scatter_rdb_allgather",
    },
)
def scatter_recursive_doubling(rank: Rank, n_ranks: int, *, root: int, radix: int = 2) -> Iterator[Step]:
    def scatter_allgather(rank: Rank, left: int) -> Iterator[Step]:
        yield from knomial_scatter(rank, left, radix=radix)
        yield from knomial_allgather(rank, left, radix=radix)

    left = left_by_radix(n_ranks, radix)
    yield from within_left(rank, n_ranks, root, left, scatter_allgather)
    yield from to_partners(rank, n_ranks, root, left, left)
