"""Linear broadcast: the root sends to everyone else at once."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, fan_out


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)nβ; 0 for p = 1"""
    return alpha + (n_ranks - 1) * n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "broadcast",
    cost=cost,
    source="Open MPI coll/base: bcast_intra_basic_linear",
    names={"Open MPI": "1 basic_linear", "Gloo": "broadcast_one_to_all", "oneCCL": "naive", "SMPI": "flattree"},
)
def linear(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    if n_ranks > 1:
        yield [fan_out(rank, n_ranks, root, send=chunk(0), receive=chunk(0))]
