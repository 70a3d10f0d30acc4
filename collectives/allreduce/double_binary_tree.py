"""Double binary tree allreduce: half of the vector goes up and down each tree; the leaves of one work in the other."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import SEGMENTS, segments_of_halves
from collectives.tree_clocks import tree_cost_s
from collectives.trees import double_tree, up_and_down
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """≈ (S+2L-1)α + (2 + (2L-3)/S)nβ + (1 + (L-3/2)/S)nγ, L = ⌈log2 p⌉, p > 2, S segments of each half"""
    return tree_cost_s(double_tree(n_ranks), segments, n_bytes, alpha, beta, gamma)


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments: 2 * segments,
    cost=cost,
    defaults=segments_of_halves,
    constraints=(COMMUTATIVE, SEGMENTS),
    source="Sanders, Speck, Träff: Two-tree algorithms for full bandwidth broadcast, reduction and scan, Parallel "
    "Computing 35(12), 2009; NCCL src/graph/trees.cc: ncclGetDtree",
    names={"UCC": "dbt", "oneCCL": "double_tree"},
)
def double_binary_tree(rank: Rank, n_ranks: int, *, segments: int) -> Iterator[Step]:
    yield from up_and_down(rank, double_tree(n_ranks), segments)
