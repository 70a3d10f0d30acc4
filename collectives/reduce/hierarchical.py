"""Hierarchical reduce: inside each node to its leader, then among the leaders, segment behind segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives import broadcast
from collectives.grids import led_nodes
from collectives.hierarchy import Stage, chunks_of, of_segment, scratch_of, segmented_cost_s, staged, stages_fit
from collectives.parameters import RANKS_PER_NODE, SEGMENTS
from commsim import COMMUTATIVE, Rank, Step, algorithm


def _stages(n_ranks: int, *, root: int = 0, for_bytes: int, ranks_per_node: int, intra: str, inter: str) -> list[Stage]:
    nodes = led_nodes(n_ranks, ranks_per_node, root)
    leaders = [node[0] for node in nodes]
    return [
        Stage("reduce", intra, nodes, for_bytes),
        Stage("reduce", inter, [leaders], for_bytes, root // ranks_per_node),
    ]


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, root: int, segments: int, **parts: Any
) -> float:
    """T_intra(l, n) + T_inter(⌈p/l⌉, n), l = ranks_per_node; segments overlap: no formula"""
    stages = of_segment(_stages, n_ranks, root=root, segments=segments, **parts)
    return segmented_cost_s(stages, segments, n_ranks, n_bytes, alpha, beta, gamma)


@algorithm(
    "reduce",
    chunks=chunks_of(_stages),
    scratch=scratch_of(_stages),
    cost=cost,
    defaults=broadcast.hierarchical.defaults,
    constraints=(COMMUTATIVE, RANKS_PER_NODE, SEGMENTS, stages_fit(_stages)),
    source=broadcast.hierarchical.source,
    names={"Open MPI": "han", "MPICH": "smp", "UCC": "cl/hier 2step"},
)
def hierarchical(
    rank: Rank,
    n_ranks: int,
    *,
    root: int,
    for_bytes: int,
    ranks_per_node: int,
    segments: int,
    intra: str = "binomial",
    inter: str = "binomial",
) -> Iterator[Step]:
    case = {"root": root, "ranks_per_node": ranks_per_node, "segments": segments, "for_bytes": for_bytes}
    stages = of_segment(_stages, n_ranks, **case, intra=intra, inter=inter)
    yield from staged(rank, stages, segments)
