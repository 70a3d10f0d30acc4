"""Pipelined k-ary tree reduce: every rank reduces what k others send and hands it on; k = 2 is the binary tree."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.broadcast.kary_tree import cost as broadcast_cost_s
from collectives.helpers import SEGMENTS, segments_by_size
from collectives.trees import at_least, kary_heap, reduce_up
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, k: int) -> float:
    """(S+H-2)(α + k·n/S·(β + γ)) + α + c·n/S·(β + γ), H levels below the root, c = k where the last is full"""
    return broadcast_cost_s(n_ranks, n_bytes, alpha, beta + gamma, 0.0, segments=segments, k=k)


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments, k: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(COMMUTATIVE, SEGMENTS, at_least("k", 1)),
    source="Pjesivac-Grbovic et al.: Performance analysis of MPI collective operations, Cluster Computing 10, 2007",
    names={"Open MPI": "4 binary", "SMPI": "ompi_binary"},
)
def kary_tree(rank: Rank, n_ranks: int, *, root: int, segments: int, k: int = 2) -> Iterator[Step]:
    yield from reduce_up(rank, [kary_heap(n_ranks, k).rooted(root)], segments)
