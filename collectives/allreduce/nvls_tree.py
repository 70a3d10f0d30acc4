"""NVLS tree: the node's switches reduce every rank's piece, an allreduce takes it across nodes, they copy it to all.

NCCL overlaps the levels; here one follows the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from math import prod
from typing import Any

from collectives.grids import Shape, as_shape
from collectives.hierarchy import as_stages, chunks_of, node_stages, scratch_of, staged, staged_cost_s, stages_fit
from collectives.parameters import EQUAL_NODES, equal_nodes_by_machine, segments_of_halves, together
from commsim import COMMUTATIVE, ROUNDS_APART, Groups, Rank, Step, algorithm

_stages = partial(node_stages, intra="nvls")


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, **parts: Any) -> float:
    """2α + 2(l-1)/l·nβ + T_inter(p/l, n/l), l = ranks_per_node; one α and β for both levels"""
    return staged_cost_s(_stages(n_ranks, **parts), n_bytes, alpha, beta, gamma)


def _across(n_ranks: int, n_bytes: int, groups: Groups, *, ranks_per_node: int | Shape, **given: Any) -> dict[str, Any]:
    """Across nodes a double binary tree, as NCCL's."""
    shape = as_shape(ranks_per_node)
    segments = segments_of_halves(n_ranks, n_bytes // max(prod(shape), 1), groups)["segments"]
    return {"ranks_per_node": shape, "inter": f"double_binary_tree:segments={segments}"}


@algorithm(
    "allreduce",
    chunks=chunks_of(_stages),
    scratch=scratch_of(_stages),
    cost=cost,
    defaults=together(equal_nodes_by_machine, _across),
    constraints=(COMMUTATIVE, as_stages(ROUNDS_APART, _stages), EQUAL_NODES, stages_fit(_stages)),
    source="NCCL user guide: NCCL_ALGO, NVLSTree; NCCL issue 1649",
    names={"NCCL": "NVLSTree"},
)
def nvls_tree(
    rank: Rank, n_ranks: int, *, for_bytes: int, ranks_per_node: tuple[int, ...], inter: str
) -> Iterator[Step]:
    yield from staged(rank, _stages(n_ranks, for_bytes=for_bytes, ranks_per_node=ranks_per_node, inter=inter))
