"""Linear reduce: everyone sends to the root at once, which reduces in the order of ranks."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, fan_in


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)n(β + γ); 0 for p = 1"""
    return alpha + (n_ranks - 1) * n_bytes * (beta + gamma) if n_ranks > 1 else 0.0


@algorithm(
    "reduce",
    cost=cost,
    source="Open MPI coll/base: reduce_intra_basic_linear",
    names={"Open MPI": "1 linear", "SMPI": "ompi_basic_linear"},
)
def linear(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    if n_ranks > 1:
        yield [fan_in(rank, n_ranks, root, send=chunk(0), receive=chunk(0), reduce=True)]
