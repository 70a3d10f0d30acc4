"""Hierarchical allreduce: reduce inside each node, allreduce among the leaders, broadcast inside each node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.grids import led_nodes
from collectives.hierarchy import (
    Stage,
    as_stages,
    chunks_of,
    of_segment,
    scratch_of,
    segmented_cost_s,
    staged,
    stages_fit,
)
from collectives.parameters import RANKS_PER_NODE, SEGMENTS, nodes_by_machine, segments_between_nodes, together
from commsim import COMMUTATIVE, ROUNDS_APART, Rank, Step, algorithm


def _stages(
    n_ranks: int, *, for_bytes: int, ranks_per_node: int, intra_reduce: str, inter: str, intra_broadcast: str
) -> list[Stage]:
    nodes = led_nodes(n_ranks, ranks_per_node)
    return [
        Stage("reduce", intra_reduce, nodes, for_bytes),
        Stage("allreduce", inter, [[node[0] for node in nodes]], for_bytes),
        Stage("broadcast", intra_broadcast, nodes, for_bytes),
    ]


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, **parts: Any) -> float:
    """T_reduce(l, n) + T_inter(⌈p/l⌉, n) + T_broadcast(l, n), l = ranks_per_node; segments overlap: no formula"""
    stages = of_segment(_stages, n_ranks, segments=segments, **parts)
    return segmented_cost_s(stages, segments, n_ranks, n_bytes, alpha, beta, gamma)


@algorithm(
    "allreduce",
    chunks=chunks_of(_stages),
    scratch=scratch_of(_stages),
    cost=cost,
    defaults=together(nodes_by_machine, segments_between_nodes),
    constraints=(
        as_stages(COMMUTATIVE, _stages),
        as_stages(ROUNDS_APART, _stages),
        RANKS_PER_NODE,
        SEGMENTS,
        stages_fit(_stages),
    ),
    source="Luo et al.: HAN: a hierarchical autotuned collective communication framework, CLUSTER 2020",
    names={"Open MPI": "han", "MPICH": "smp", "UCC": "cl/hier rab", "SMPI": "smp_rdb"},
)
def hierarchical(
    rank: Rank,
    n_ranks: int,
    *,
    for_bytes: int,
    ranks_per_node: int,
    segments: int,
    intra_reduce: str = "binomial",
    inter: str = "recursive_doubling",
    intra_broadcast: str = "binomial",
) -> Iterator[Step]:
    case = {"ranks_per_node": ranks_per_node, "segments": segments, "for_bytes": for_bytes}
    inside = {"intra_reduce": intra_reduce, "intra_broadcast": intra_broadcast}
    yield from staged(rank, of_segment(_stages, n_ranks, **case, **inside, inter=inter), segments)
