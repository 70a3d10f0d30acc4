"""Hierarchical reduce: inside each node to its leader, then among the leaders, segment behind segment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives import hierarchy
from collectives.helpers import SEGMENTS
from collectives.hierarchy import RANKS_PER_NODE, Stage, led_nodes
from commsim import COMMUTATIVE, Rank, Step, algorithm


def _stages(n_ranks: int, root: int = 0, *, ranks_per_node: int, intra: str, inter: str, **others: Any) -> list[Stage]:
    nodes = led_nodes(n_ranks, ranks_per_node, root)
    leaders = [node[0] for node in nodes]
    return [Stage("reduce", intra, nodes), Stage("reduce", inter, [leaders], root // ranks_per_node)]


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, **parts: Any) -> float:
    """T_intra(l, n) + T_inter(⌈p/l⌉, n), l = ranks_per_node, one segment; estimated for more"""
    return hierarchy.staged_cost_s(_stages(n_ranks, **parts), n_bytes, alpha, beta, gamma, segments)


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments, **parts: segments * hierarchy.n_chunks(_stages(n_ranks, **parts)),
    scratch=lambda n_ranks, **parts: hierarchy.n_scratch(_stages(n_ranks, **parts)),
    cost=cost,
    defaults=hierarchy.nodes_and_segments,
    constraints=(COMMUTATIVE, RANKS_PER_NODE, SEGMENTS, hierarchy.stages_fit(_stages)),
    source="Luo et al.: HAN: a hierarchical autotuned collective communication framework, CLUSTER 2020",
    names={"Open MPI": "han", "MPICH": "smp", "UCC": "cl/hier"},
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
    yield from hierarchy.staged(rank, stages, segments)
