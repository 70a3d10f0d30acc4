"""Reduce, then broadcast: any algorithm of each, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.hierarchy import Stage, as_stages, chunks_of, scratch_of, staged, staged_cost_s, stages_fit
from commsim import COMMUTATIVE, Rank, Step, algorithm


def _stages(n_ranks: int, *, for_bytes: int, reduce: str, broadcast: str) -> list[Stage]:
    everyone = [range(n_ranks)]
    return [Stage("reduce", reduce, everyone, for_bytes), Stage("broadcast", broadcast, everyone, for_bytes)]


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, **parts: Any) -> float:
    """T_reduce(p, n) + T_broadcast(p, n); binomial: 2⌈log2 p⌉(α + nβ) + ⌈log2 p⌉nγ"""
    return staged_cost_s(_stages(n_ranks, **parts), n_bytes, alpha, beta, gamma)


@algorithm(
    "allreduce",
    chunks=chunks_of(_stages),
    scratch=scratch_of(_stages),
    cost=cost,
    constraints=(as_stages(COMMUTATIVE, _stages), stages_fit(_stages)),
    source="Open MPI coll/base: allreduce_intra_nonoverlapping",
    names={"Open MPI": "2 nonoverlapping", "SMPI": "redbcast"},
)
def reduce_broadcast(
    rank: Rank, n_ranks: int, *, for_bytes: int, reduce: str = "binomial", broadcast: str = "binomial"
) -> Iterator[Step]:
    yield from staged(rank, _stages(n_ranks, for_bytes=for_bytes, reduce=reduce, broadcast=broadcast))
