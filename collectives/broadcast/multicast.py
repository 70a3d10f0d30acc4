"""Multicast broadcast: the root sends once, and the switches copy it to all ranks."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, fabric_multicast


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + nβ; 0 for p = 1"""
    return alpha + n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "broadcast",
    cost=cost,
    source="Hoefler, Siebert, Rehm: A practically constant-time MPI broadcast algorithm for large-scale InfiniBand "
    "clusters with multicast, IPDPS 2007",
    names={"MVAPICH": "mcast", "UCC": "tl/mlx5 mcast"},
)
def multicast(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    if n_ranks > 1:
        yield [fabric_multicast(rank, n_ranks, root, send=chunk(0), receive=chunk(0))]
