"""Reduce, then broadcast: any algorithm of each, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.hierarchy import Stage, chunks_of, scratch_of, staged, staged_cost_s, stages_fit
from commsim import COMMUTATIVE, Rank, Step, algorithm


def _stages(n_ranks: int, *, reduce: str, broadcast: str) -> list[Stage]:
    everyone = [range(n_ranks)]
    return [Stage("reduce", reduce, everyone), Stage("broadcast", broadcast, everyone)]


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, reduce: str, broadcast: str) -> float:
    """T_reduce(p, n) + T_broadcast(p, n); binomial: 2⌈log2 p⌉(α + nβ) + ⌈log2 p⌉nγ"""
    return staged_cost_s(_stages(n_ranks, reduce=reduce, broadcast=broadcast), n_bytes, alpha, beta, gamma)


@algorithm(
    "allreduce",
    chunks=chunks_of(_stages),
    scratch=scratch_of(_stages),
    cost=cost,
    constraints=(COMMUTATIVE, stages_fit(_stages)),
    source="Open MPI coll/base: allreduce_intra_nonoverlapping",
    names={"Open MPI": "2 nonoverlapping", "SMPI": "redbcast"},
)
def reduce_broadcast(
    rank: Rank, n_ranks: int, *, reduce: str = "binomial", broadcast: str = "binomial"
) -> Iterator[Step]:
    yield from staged(rank, _stages(n_ranks, reduce=reduce, broadcast=broadcast))
