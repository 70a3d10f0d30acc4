"""NCCL's Tree: a double binary tree over the nodes, the ranks of each node in a chain below its first one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.parameters import RANKS_PER_NODE, SEGMENTS, nodes_by_machine, segments_of_halves
from collectives.tree_clocks import tree_cost_s
from collectives.trees import Tree, chains_below, double_tree, up_and_down
from commsim import COMMUTATIVE, Groups, Rank, Step, algorithm


def _trees(n_ranks: int, ranks_per_node: int) -> list[Tree]:
    return [chains_below(tree, n_ranks, ranks_per_node) for tree in double_tree(-(-n_ranks // ranks_per_node))]


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, ranks_per_node: int, segments: int
) -> float:
    """≈ (S+2(l+L)-3)α + 3nβ + 2nγ, many S segments of each half, l = ranks_per_node, L = ⌈log2 p/l⌉"""
    return tree_cost_s(_trees(n_ranks, ranks_per_node), segments, n_bytes, alpha, beta, gamma)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Nodes as the machine has them, else about as many as ranks in each; segments of 128 KiB of each half."""
    return {**nodes_by_machine(n_ranks, n_bytes, groups), **segments_of_halves(n_ranks, n_bytes, groups)}


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, ranks_per_node, segments: 2 * segments,
    cost=cost,
    defaults=defaults,
    constraints=(COMMUTATIVE, RANKS_PER_NODE, SEGMENTS),
    source="NCCL 2.30.7: src/graph/trees.cc (ncclGetDtree), src/graph/tuning.cc; Jeaugey: Massively scale your deep "
    "learning training with NCCL 2.4, NVIDIA developer blog, 2019",
    names={"NCCL": "Tree", "RCCL": "Tree"},
)
def nccl_tree(rank: Rank, n_ranks: int, *, ranks_per_node: int, segments: int) -> Iterator[Step]:
    yield from up_and_down(rank, _trees(n_ranks, ranks_per_node), segments)
