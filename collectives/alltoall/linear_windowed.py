"""Linear alltoall with a window: so many ranks at a time, from the rank itself on; the next when all are served."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import OUTPUT, Constraint, Rank, Step, algorithm, chunk, direct


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, window: int) -> float:
    """⌈p/w⌉α + (p-1)/p·nβ, w = window; a window that only holds the rank itself is free"""
    p = n_ranks
    windows = -(-p // window) - (window == 1 or p == 1)
    return windows * alpha + (p - 1) / p * n_bytes * beta


def _no_window(n_ranks: int, *, window: int) -> str | None:
    return None if window >= 1 else f"window={window} must be at least 1; window={n_ranks} is all at once"


@algorithm(
    "alltoall",
    cost=cost,
    constraints=(Constraint("window", _no_window),),
    source="MPICH: alltoall_intra_scattered (a window of MPIR_CVAR_ALLTOALL_THROTTLE ranks, 32)",
    names={"MPICH": "scattered"},
)
def linear_windowed(rank: Rank, n_ranks: int, *, window: int = 32) -> Iterator[Step]:
    for first in range(0, n_ranks, window):
        yield [
            direct(
                rank,
                n_ranks,
                send=lambda me, peer: chunk(peer),
                receive=lambda me, peer: chunk(peer, buffer=OUTPUT),
                distances=(first, min(first + window, n_ranks)),
            )
        ]
