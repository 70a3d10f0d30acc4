"""Double binary tree broadcast: half of the vector goes down each tree; the leaves of one work in the other."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import SEGMENTS, segments_of_halves
from collectives.tree_clocks import tree_cost_s
from collectives.trees import broadcast_down, double_tree_of_root
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(S+⌈log2 p⌉-1)(α + n/S·β), S segments of each half; p a power of two"""
    return tree_cost_s(double_tree_of_root(n_ranks), segments, n_bytes, alpha, beta, gamma, up=False)


@algorithm(
    "broadcast",
    chunks=lambda n_ranks, *, segments: 2 * segments,
    cost=cost,
    defaults=segments_of_halves,
    constraints=(SEGMENTS,),
    source="Sanders, Speck, Träff: Two-tree algorithms for full bandwidth broadcast, reduction and scan, Parallel "
    "Computing 35(12), 2009",
    names={"UCC": "dbt", "oneCCL": "double_tree"},
)
def double_binary_tree(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    yield from broadcast_down(rank, [tree.rooted(root) for tree in double_tree_of_root(n_ranks)], segments)
