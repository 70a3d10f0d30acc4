"""Linear gather: every rank sends the root its block at once."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import mirrored
from collectives.scatter.linear import linear as scatter
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·nβ; 0 for p = 1"""
    return alpha + (n_ranks - 1) / n_ranks * n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "gather",
    cost=cost,
    source="Open MPI coll/base: gather_intra_basic_linear",
    names={"Open MPI": "1 basic_linear", "SMPI": "ompi_basic_linear"},
)
def linear(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, lambda r, n: scatter.program(r, n, root=root), reduce=False)
