"""Linear gather: every rank sends the root its block at once."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import scatter
from collectives.helpers import mirrored
from commsim import Rank, Step, algorithm


@algorithm(
    "gather",
    cost=scatter.linear.cost,
    source="Open MPI coll/base: gather_intra_basic_linear",
    names={"Open MPI": "1 basic_linear", "SMPI": "ompi_basic_linear"},
)
def linear(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, scatter.linear.program, reduce=False, root=root)
