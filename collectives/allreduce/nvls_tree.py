"""NVLS tree: the node's switches reduce every rank's piece, an allreduce takes it across nodes, they copy it to all.

NCCL overlaps the levels; here one follows the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

from collectives.allreduce.node_split import defaults as node_split_defaults
from collectives.allreduce.node_split import node_split
from collectives.trees import half_segments_by_size
from commsim import Groups, Rank, Step, algorithm


def cost(
    n_ranks: int,
    n_bytes: int,
    alpha: float,
    beta: float,
    gamma: float,
    *,
    ranks_per_node: tuple[int, ...],
    inter: str,
) -> float:
    """2α + 2(l-1)/l·nβ + T_inter(p/l, n/l), l = ranks_per_node; one α and β for both levels"""
    sizes = {"ranks_per_node": ranks_per_node, "intra": "nvls", "inter": inter}
    return node_split.with_params(**sizes).cost_s(n_ranks, n_bytes, alpha, beta, gamma)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Nodes as the machine has them; across them a double binary tree, as NCCL's."""
    nodes = node_split_defaults(n_ranks, n_bytes, groups, **given)["ranks_per_node"]
    segments = half_segments_by_size(n_ranks, n_bytes // max(prod(nodes), 1), groups)["segments"]
    return {"ranks_per_node": nodes, "inter": f"double_binary_tree:segments={segments}"}


@algorithm(
    "allreduce",
    chunks=partial(node_split.chunks, intra="nvls"),
    scratch=partial(node_split.scratch, intra="nvls"),
    cost=cost,
    defaults=defaults,
    constraints=tuple(
        replace(one, refuses=one.refuses and partial(one.refuses, intra="nvls")) for one in node_split.constraints
    ),
    source="NCCL user guide: NCCL_ALGO, NVLSTree; NCCL issue 1649",
    names={"NCCL": "NVLSTree"},
)
def nvls_tree(rank: Rank, n_ranks: int, *, ranks_per_node: tuple[int, ...], inter: str) -> Iterator[Step]:
    yield from node_split.program(rank, n_ranks, ranks_per_node=ranks_per_node, intra="nvls", inter=inter)
