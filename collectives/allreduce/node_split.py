"""Node split: reduce-scatter in the node, an allreduce of each piece across nodes, allgather in the node.

A node may have levels: 8x4 are 4 groups of 8 neighbouring ranks, the reduce-scatter in the groups comes first. With
several segments each is a lane, one step behind the one before: while one is inside nodes another is between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from collectives.grids import Shape, as_shape
from collectives.helpers import largest_power_of_two
from collectives.hierarchy import (
    as_stages,
    chunks_of,
    in_turn,
    n_chunks,
    node_stages,
    of_segment,
    scratch_of,
    staged_cost_s,
    stages_fit,
)
from collectives.parameters import EQUAL_NODES, SEGMENTS, equal_nodes_by_machine, together
from commsim import COMMUTATIVE, ROUNDS_APART, Groups, Rank, Step, algorithm, lanes


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int = 1, **parts: Any
) -> float:
    """Σ T_intra(l_i, n/(l_1…l_(i-1))) + T_inter(p/l, n/l), l = Πl_i; ring: 2(l-1)α + (l-1)/l·n(2β + γ)"""
    stages = of_segment(node_stages, n_ranks, segments=segments, **parts)
    return segments * staged_cost_s(stages, n_bytes // segments, alpha, beta, gamma)


def _across(n_ranks: int, n_bytes: int, groups: Groups, *, ranks_per_node: int | Shape, **given: Any) -> dict[str, Any]:
    """Across nodes Rabenseifner's where none has to fold, else a ring."""
    shape = as_shape(ranks_per_node)
    n_nodes = max(n_ranks // max(prod(shape), 1), 1)
    inter = "rabenseifner" if n_nodes == largest_power_of_two(n_nodes) else "ring"
    return {"ranks_per_node": shape, "inter": inter}


@algorithm(
    "allreduce",
    chunks=chunks_of(node_stages),
    scratch=scratch_of(node_stages),
    cost=cost,
    defaults=together(equal_nodes_by_machine, _across),
    constraints=(
        as_stages(COMMUTATIVE, node_stages),
        as_stages(ROUNDS_APART, node_stages),
        EQUAL_NODES,
        SEGMENTS,
        stages_fit(node_stages),
    ),
    source="Cho et al.: BlueConnect, MLSys 2019; Mikami et al.: Massively distributed SGD, arXiv 1811.05233, 2018",
    names={"Horovod": "NCCLHierarchical, NCCLTorus", "MSCCL++": "multi_nodes", "UCC": "cl/hier split_rail"},
)
def node_split(
    rank: Rank,
    n_ranks: int,
    *,
    for_bytes: int,
    ranks_per_node: tuple[int, ...],
    intra: str = "ring",
    inter: str,
    segments: int = 1,
) -> Iterator[Step]:
    case = {"ranks_per_node": ranks_per_node, "segments": segments, "for_bytes": for_bytes}
    stages = of_segment(node_stages, n_ranks, **case, intra=intra, inter=inter)
    length = n_chunks(stages)
    programs = [in_turn(rank, stages, segment * length, length) for segment in range(segments)]
    if segments == 1:
        yield from programs[0]
    else:
        yield lanes(*programs, stagger=1)
