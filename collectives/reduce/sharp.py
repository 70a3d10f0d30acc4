"""SHARP reduce: the switches combine what all ranks send, and the root receives the result."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import COMMUTATIVE, Rank, Step, algorithm, chunk, fabric_reduce


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + nβ; 0 for p = 1"""
    return alpha + n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "reduce",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Graham et al.: Scalable hierarchical aggregation and reduction protocol (SHARP) streaming-aggregation "
    "hardware design and evaluation, ISC High Performance 2020",
)
def sharp(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    if n_ranks > 1:
        yield [fabric_reduce(rank, n_ranks, root, send=chunk(0), receive=chunk(0))]
