"""Linear allgather: everyone sends its block to everyone, in one step."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, direct


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·nβ; 0 for p = 1"""
    return alpha + (n_ranks - 1) / n_ranks * n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "allgather",
    cost=cost,
    source="Open MPI coll/tuned: direct messaging",
    names={"Open MPI": "8 direct-messaging", "oneCCL": "naive, flat"},
)
def linear(rank: Rank, n_ranks: int) -> Iterator[Step]:
    if n_ranks > 1:
        yield [direct(rank, n_ranks, send=lambda me, peer: chunk(me), receive=lambda me, peer: chunk(peer))]
