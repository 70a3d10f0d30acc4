"""What two-level algorithms share: equal nodes of neighbouring ranks; rails, the ranks of one index in all nodes."""

from __future__ import annotations

from typing import Any

from collectives.grids import lines, near_square, nearest_shape
from commsim import Constraint, Groups


def nodes_of(n_ranks: int, ranks_per_node: int) -> list[range]:
    """The ranks of every node."""
    return lines(n_ranks, (ranks_per_node, n_ranks // ranks_per_node), 0)


def rails_of(n_ranks: int, ranks_per_node: int) -> list[range]:
    """For every index in a node, its ranks in all nodes."""
    return lines(n_ranks, (ranks_per_node, n_ranks // ranks_per_node), 1)


def node_ranks(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Default of ``ranks_per_node``: as the machine has them, else about as many as there are nodes."""
    return {"ranks_per_node": min(groups, n_ranks) if groups else near_square(n_ranks)[0]}


def _unequal(n_ranks: int, *, ranks_per_node: int, **others: Any) -> str | None:
    if ranks_per_node < 1 or n_ranks % ranks_per_node:
        (nearest,) = nearest_shape(n_ranks, (ranks_per_node,))
        return f"they are not a multiple of ranks_per_node={ranks_per_node}; try ranks_per_node={nearest}"
    return None


EQUAL_NODES = Constraint("equal nodes", _unequal)
