"""Hierarchical broadcast: among the leaders of the nodes, then inside each node, segment behind segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.grids import led_nodes
from collectives.hierarchy import Stage, chunks_of, of_segment, scratch_of, segmented_cost_s, staged, stages_fit
from collectives.parameters import RANKS_PER_NODE, SEGMENTS, nodes_by_machine, segments_between_nodes, together
from commsim import Rank, Step, algorithm


def _stages(n_ranks: int, *, root: int = 0, for_bytes: int, ranks_per_node: int, intra: str, inter: str) -> list[Stage]:
    nodes = led_nodes(n_ranks, ranks_per_node, root)
    leaders = [node[0] for node in nodes]
    return [
        Stage("broadcast", inter, [leaders], for_bytes, root // ranks_per_node),
        Stage("broadcast", intra, nodes, for_bytes),
    ]


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, root: int, segments: int, **parts: Any
) -> float:
    """T_inter(⌈p/l⌉, n) + T_intra(l, n), l = ranks_per_node; segments overlap: no formula"""
    stages = of_segment(_stages, n_ranks, root=root, segments=segments, **parts)
    return segmented_cost_s(stages, segments, n_ranks, n_bytes, alpha, beta, gamma)


@algorithm(
    "broadcast",
    chunks=chunks_of(_stages),
    scratch=scratch_of(_stages),
    cost=cost,
    defaults=together(nodes_by_machine, segments_between_nodes),
    constraints=(RANKS_PER_NODE, SEGMENTS, stages_fit(_stages)),
    source="Luo et al.: HAN: a hierarchical autotuned collective communication framework, CLUSTER 2020",
    names={"Open MPI": "han", "MPICH": "smp", "UCC": "cl/hier 2step", "SMPI": "SMP_binomial"},
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
