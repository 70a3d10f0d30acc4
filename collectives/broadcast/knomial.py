"""K-nomial tree broadcast: in every round whoever has the vector sends it to radix - 1 others; radix 2 is binomial."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import distances, rounds
from collectives.parameters import RADIX
from commsim import PROC_NULL, Rank, Step, algorithm, chunk, exchange, where


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """⌈log_k p⌉(α + (k-1)nβ), k = radix; in its first round the root sends ⌈p/k^(⌈log_k p⌉-1)⌉-1 times only"""
    n_rounds = rounds(n_ranks, radix)
    sends = (n_rounds - 1) * (radix - 1) + -(-n_ranks // radix ** (n_rounds - 1)) - 1 if n_rounds else 0
    return n_rounds * alpha + sends * n_bytes * beta


@algorithm(
    "broadcast",
    cost=cost,
    constraints=(RADIX,),
    source="Open MPI coll/base: bcast_intra_knomial",
    names={"Open MPI": "7 knomial", "MPICH": "tree (knomial_1, knomial_2)", "UCC": "knomial"},
)
def knomial(rank: Rank, n_ranks: int, *, root: int, radix: int = 4) -> Iterator[Step]:
    virtual, radix = (rank - root) % n_ranks, min(radix, n_ranks)
    for far in reversed(distances(n_ranks, radix)):
        place, step = virtual % (radix * far.step), []
        for d in far:
            dst = where((place == 0) & (virtual + d < n_ranks), (rank + d) % n_ranks, PROC_NULL)
            src = where(place == d, (rank - d) % n_ranks, PROC_NULL)
            step.append(exchange(dst, src, send=chunk(0), receive=chunk(0)))
        yield step
