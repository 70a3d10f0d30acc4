"""Node split: reduce-scatter in the node, an allreduce of each piece across nodes, allgather in the node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.helpers import largest_power_of_two, ring_allgather, ring_reduce_scatter
from collectives.registry import find
from commsim.algorithm import COMMUTATIVE, Algorithm, Constraint, Groups, algorithm
from commsim.program import Rank, Step, Window, within


def _across(inter: str, n_ranks: int, ranks_per_node: int) -> Algorithm:
    """The allreduce between the ranks of one index in their nodes."""
    return find("allreduce", inter).resolved(n_ranks // ranks_per_node)


def _n_chunks(n_ranks: int, *, ranks_per_node: int, inter: str) -> int:
    across = _across(inter, n_ranks, ranks_per_node)
    return ranks_per_node * across.chunks(n_ranks // ranks_per_node, **across.params)


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, ranks_per_node: int, inter: str
) -> float:
    """2(l-1)α + (l-1)/l·n(2β + γ) + T_inter(p/l, n/l), l = ranks_per_node; one α and β for both levels"""
    node = ranks_per_node
    inside = 2 * (node - 1) * alpha + (node - 1) / node * n_bytes * (2 * beta + gamma)
    across = _across(inter, n_ranks, node)
    return inside + across.cost_s(n_ranks // node, n_bytes // node, alpha, beta, gamma)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Nodes as the machine has them, else about as many as ranks in each; across, the fewest steps without folding."""
    square = max(d for d in range(1, n_ranks + 1) if n_ranks % d == 0 and d * d <= n_ranks)
    ranks_per_node = given.get("ranks_per_node") or (min(groups, n_ranks) if groups else square)
    n_nodes = max(n_ranks // ranks_per_node, 1)
    inter = "rabenseifner" if n_nodes == largest_power_of_two(n_nodes) else "ring"
    return {"ranks_per_node": ranks_per_node, "inter": inter}


def _unequal(n_ranks: int, *, ranks_per_node: int, inter: str) -> str | None:
    if ranks_per_node < 1 or n_ranks % ranks_per_node:
        divisors = [d for d in range(1, n_ranks + 1) if n_ranks % d == 0]
        nearest = min(divisors, key=lambda d: (abs(d - ranks_per_node), d))
        return f"they are not a multiple of ranks_per_node={ranks_per_node}; try ranks_per_node={nearest}"
    return None


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    cost=cost,
    defaults=defaults,
    constraints=(COMMUTATIVE, Constraint("equal nodes", _unequal)),
    source="Cho et al.: BlueConnect, MLSys 2019; Mikami et al.: Massively distributed SGD, arXiv 1811.05233, 2018",
    names={"Horovod": "NCCLHierarchical, NCCLTorus", "UCC": "cl/hier rab"},
)
def node_split(rank: Rank, n_ranks: int, *, ranks_per_node: int, inter: str) -> Iterator[Step]:
    across = _across(inter, n_ranks, ranks_per_node)
    n_nodes = n_ranks // ranks_per_node
    piece = across.chunks(n_nodes, **across.params)  # chunks that one rank of a node is left with
    nodes = [range(first, first + ranks_per_node) for first in range(0, n_ranks, ranks_per_node)]
    peers = [range(index, n_ranks, ranks_per_node) for index in range(ranks_per_node)]
    whole = Window(0, ranks_per_node, scale=piece)
    mine = Window((rank + 1) % ranks_per_node * piece, piece)  # the piece that the ring leaves with this rank

    yield from within(nodes, rank, ring_reduce_scatter, whole)
    yield from within(peers, rank, lambda r, n: across.program(r, n, **across.params), mine)
    yield from within(nodes, rank, lambda r, n: ring_allgather(r, n, shift=1), whole)
