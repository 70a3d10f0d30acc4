"""Linear allreduce: everyone sends to rank 0, which reduces in the order of ranks and sends the result to everyone."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, fan_in, fan_out


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """2α + 2(p-1)nβ + (p-1)nγ; 0 for p = 1"""
    p, n = n_ranks, n_bytes
    return 2 * alpha + (p - 1) * n * (2 * beta + gamma) if p > 1 else 0.0


@algorithm(
    "allreduce",
    cost=cost,
    source="Open MPI coll/base: allreduce_intra_basic_linear",
    names={"Open MPI": "1 basic_linear"},
)
def linear(rank: Rank, n_ranks: int) -> Iterator[Step]:
    if n_ranks > 1:
        yield [fan_in(rank, n_ranks, 0, send=chunk(0), receive=chunk(0), reduce=True)]
        yield [fan_out(rank, n_ranks, 0, send=chunk(0), receive=chunk(0))]
