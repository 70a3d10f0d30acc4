"""Binomial tree gather: the binomial scatter backwards."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import scatter
from collectives.helpers import mirrored
from commsim import Rank, Step, algorithm


@algorithm(
    "gather",
    cost=scatter.binomial.cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.5",
    names={"Open MPI": "2 binomial", "MPICH": "binomial", "SMPI": "ompi_binomial"},
)
def binomial(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, scatter.binomial.program, reduce=False, root=root)
