"""Multi-leader allreduce (DPML): each leader of a node reduces, exchanges and spreads a part of the vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives import hierarchy
from collectives.hierarchy import RANKS_PER_NODE, Stage, led_nodes
from collectives.trees import at_least
from commsim import (
    COMMUTATIVE,
    Constraint,
    Groups,
    Rank,
    Step,
    Window,
    algorithm,
    chunk,
    fan_in,
    fan_out,
    within,
)


def _across(n_ranks: int, *, ranks_per_node: int, leaders: int, inter: str) -> Stage:
    nodes = led_nodes(n_ranks, ranks_per_node)
    return Stage("allreduce", inter, [[node[index] for node in nodes] for index in range(leaders)])


def cost(
    n_ranks: int,
    n_bytes: int,
    alpha: float,
    beta: float,
    gamma: float,
    *,
    ranks_per_node: int,
    leaders: int,
    inter: str,
) -> float:
    """2α + (l-1)/m·n(2β + γ) + T_inter(p/l, n/m), l = ranks_per_node > 1, m = leaders"""
    others = min(ranks_per_node, n_ranks) - 1
    inside = 2 * alpha + others / leaders * n_bytes * (2 * beta + gamma) if others else 0.0
    across = _across(n_ranks, ranks_per_node=ranks_per_node, leaders=leaders, inter=inter)
    return inside + across.cost_s(n_bytes // leaders, alpha, beta, gamma)


def _smallest(n_ranks: int, ranks_per_node: int) -> int:
    return n_ranks % ranks_per_node or min(ranks_per_node, n_ranks)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Nodes as the machine has them, else about as many as ranks in each; a leader for every 16 KiB."""
    nodes = {**hierarchy.nodes_by_machine(n_ranks, n_bytes, groups), **given}
    smallest = _smallest(n_ranks, max(nodes["ranks_per_node"], 1))
    return {**nodes, "leaders": min(max(n_bytes // (16 * 1024), 1), smallest)}


def _too_many(n_ranks: int, *, ranks_per_node: int, leaders: int, **others: Any) -> str | None:
    smallest = _smallest(n_ranks, ranks_per_node)
    return f"a node has {smallest} ranks only; try leaders={smallest}" if leaders > smallest else None


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, leaders, **parts: leaders * _across(n_ranks, leaders=leaders, **parts).n_chunks,
    scratch=lambda n_ranks, **parts: _across(n_ranks, **parts).n_scratch,
    cost=cost,
    defaults=defaults,
    constraints=(
        COMMUTATIVE,
        RANKS_PER_NODE,
        at_least("leaders", 1),
        Constraint("leaders", _too_many),
        hierarchy.stages_fit(lambda n_ranks, **parts: [_across(n_ranks, **parts)]),
    ),
    source="Bayatpour et al.: Scalable reduction collectives with data partitioning-based multi-leader design, SC 2017",
    names={"MVAPICH": "DPML"},
)
def multi_leader(
    rank: Rank, n_ranks: int, *, ranks_per_node: int, leaders: int, inter: str = "recursive_doubling"
) -> Iterator[Step]:
    across = _across(n_ranks, ranks_per_node=ranks_per_node, leaders=leaders, inter=inter)
    part = across.n_chunks
    nodes, parts = led_nodes(n_ranks, ranks_per_node), Window(0, leaders, part)

    def reduce_parts(me: Rank, n_node: int) -> Iterator[Step]:
        yield [fan_in(me, n_node, k, send=chunk(k), receive=chunk(k), reduce=True) for k in range(leaders)]

    def spread_parts(me: Rank, n_node: int) -> Iterator[Step]:
        yield [fan_out(me, n_node, k, send=chunk(k), receive=chunk(k)) for k in range(leaders)]

    yield from within(nodes, rank, reduce_parts, parts)
    yield from across.steps(rank, rank % ranks_per_node * part, part)
    yield from within(nodes, rank, spread_parts, parts)
