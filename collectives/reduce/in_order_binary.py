"""In-order binary tree reduce: below every rank stand those before it on the left, those after it on the right.

Open MPI roots its tree at the last rank, which sends the result on; here the root stands where its rank belongs, and
how long it takes depends on where that is.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import SEGMENTS, segments_by_size
from collectives.tree_clocks import tree_cost_s
from collectives.trees import in_order_tree, reduce_up
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, root: int, segments: int) -> float:
    """≈ (S+L-1)(α + 2n/S·(β + γ)), S segments, L = ⌈log2 of the ranks on the larger side of the root⌉"""
    return tree_cost_s([in_order_tree(n_ranks, root)], segments, n_bytes, alpha, beta, gamma, down=False)


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(SEGMENTS,),
    source="Open MPI coll/base: reduce_intra_in_order_binary",
    names={"Open MPI": "6 in-order_binary", "SMPI": "ompi_in_order_binary"},
)
def in_order_binary(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    yield from reduce_up(rank, [in_order_tree(n_ranks, root)], segments)
