"""Linear alltoall with a window: so many ranks at a time, from the rank itself on; the next when all are served."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import at_least
from commsim import OUTPUT, Rank, Step, algorithm, chunk, direct


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, window: int) -> float:
    """⌈p/w⌉α + (p-1)/p·nβ, w = window; a window that only holds the rank itself is free"""
    p = n_ranks
    windows = -(-p // window) - (window == 1 or p == 1)
    return windows * alpha + (p - 1) / p * n_bytes * beta


@algorithm(
    "alltoall",
    cost=cost,
    constraints=(at_least("window", 1),),
    source="MPICH: alltoall_intra_scattered (a window of MPIR_CVAR_ALLTOALL_THROTTLE ranks, 32)",
    names={"Open MPI": "4 linear_sync", "MPICH": "scattered"},
)
def linear_windowed(rank: Rank, n_ranks: int, *, window: int = 32) -> Iterator[Step]:
    send, receive = (lambda me, peer: chunk(peer)), (lambda me, peer: chunk(peer, buffer=OUTPUT))
    for first in range(0, n_ranks, window):
        yield [direct(rank, n_ranks, send=send, receive=receive, distances=(first, min(first + window, n_ranks)))]
