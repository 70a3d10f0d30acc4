"""Double binary tree reduce: half of the vector goes up each tree; the leaves of one work in the other."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import broadcast
from collectives.parameters import SEGMENTS, segments_of_halves
from collectives.tree_clocks import tree_cost_s
from collectives.trees import double_tree_of_root, reduce_up
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(S+⌈log2 p⌉-1)(α + n/S·(β + γ)), S segments of each half; p a power of two"""
    return tree_cost_s(double_tree_of_root(n_ranks), segments, n_bytes, alpha, beta, gamma, down=False)


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments: 2 * segments,
    cost=cost,
    defaults=segments_of_halves,
    constraints=(COMMUTATIVE, SEGMENTS),
    source=broadcast.double_binary_tree.source,
    names=broadcast.double_binary_tree.names,
)
def double_binary_tree(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    yield from reduce_up(rank, [tree.rooted(root) for tree in double_tree_of_root(n_ranks)], segments)
