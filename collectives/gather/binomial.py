"""Binomial tree gather: the binomial scatter backwards."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import mirrored, rounds
from collectives.scatter.binomial import binomial as scatter
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉α + (p-1)/p·nβ"""
    return rounds(n_ranks) * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


@algorithm(
    "gather",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.5",
    names={"Open MPI": "2 binomial", "MPICH": "binomial", "SMPI": "ompi_binomial"},
)
def binomial(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, lambda r, n: scatter.program(r, n, root=root), reduce=False)
