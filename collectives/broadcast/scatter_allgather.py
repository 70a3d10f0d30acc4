"""Scatter + allgather broadcast (van de Geijn): a binomial scatter of the root's chunks, then a ring allgather."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather, scatter
from collectives.helpers import rounds
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(⌈log2 p⌉ + p-1)α + 2(p-1)/p·nβ"""
    p = n_ranks
    return (rounds(p) + p - 1) * alpha + 2 * (p - 1) / p * n_bytes * beta


@algorithm(
    "broadcast",
    chunks=lambda n_ranks: n_ranks,
    cost=cost,
    source="Barnett et al.: Interprocessor collective communication library (InterCom), SHPCC 1994; Thakur, "
    "Rabenseifner, Gropp, IJHPCA 19(1), 2005, section 4.2",
    names={
        "Open MPI": "9 scatter_allgather_ring",
        "MPICH": "scatter_ring_allgather",
        "SMPI": "scatter_LR_allgather",
    },
)
def scatter_allgather(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from scatter.binomial.program(rank, n_ranks, root=root)
    yield from allgather.ring.program(rank, n_ranks)
