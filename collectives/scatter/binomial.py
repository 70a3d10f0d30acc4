"""Binomial tree scatter: whoever has blocks hands on those of the farther half of the ranks below it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives.helpers import binomial_edges, halvings, rounds
from commsim import Rank, Step, algorithm, chunks, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉α + (p-1)/p·nβ"""
    return rounds(n_ranks) * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


@algorithm(
    "scatter",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.2",
    names={"Open MPI": "2 binomial", "MPICH": "binomial", "SMPI": "ompi_binomial"},
)
def binomial(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    virtual = (rank - root) % n_ranks
    for half in halvings(n_ranks):
        dst, src = binomial_edges(virtual, rank, n_ranks, half)
        sent, kept = np.minimum(half, n_ranks - virtual - half), np.minimum(half, n_ranks - virtual)
        yield [exchange(dst, src, send=chunks((rank + half) % n_ranks, sent), receive=chunks(rank, kept))]
