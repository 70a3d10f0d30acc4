"""Hierarchical broadcast: among the leaders of the nodes, then inside each node, segment behind segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.grids import led_nodes
from collectives.hierarchy import Stage, chunks_of, scratch_of, staged, staged_cost_s, stages_fit
from collectives.parameters import RANKS_PER_NODE, SEGMENTS, nodes_by_machine, segments_between_nodes, together
from commsim import Rank, Step, algorithm


def _stages(n_ranks: int, root: int = 0, *, ranks_per_node: int, intra: str, inter: str) -> list[Stage]:
    nodes = led_nodes(n_ranks, ranks_per_node, root)
    leaders = [node[0] for node in nodes]
    return [Stage("broadcast", inter, [leaders], root // ranks_per_node), Stage("broadcast", intra, nodes)]


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, **parts: Any) -> float:
    """T_inter(⌈p/l⌉, n) + T_intra(l, n), l = ranks_per_node, one segment; estimated for more"""
    return staged_cost_s(_stages(n_ranks, **parts), n_bytes, alpha, beta, gamma, segments)


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
    ranks_per_node: int,
    segments: int,
    intra: str = "binomial",
    inter: str = "binomial",
) -> Iterator[Step]:
    stages = _stages(n_ranks, root, ranks_per_node=ranks_per_node, intra=intra, inter=inter)
    yield from staged(rank, stages, segments)
