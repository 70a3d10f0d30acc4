"""Multi-leader allreduce (DPML): each leader of a node reduces, exchanges and spreads a part of the vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from collectives.grids import led_nodes
from collectives.hierarchy import Stage, as_stages, chunks_of, scratch_of, stages_fit
from collectives.parameters import RANKS_PER_NODE, nodes_by_machine, together
from commsim import (
    COMMUTATIVE,
    ROUNDS_APART,
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


def _across(n_ranks: int, *, for_bytes: int, ranks_per_node: int, leaders: int, inter: str) -> list[Stage]:
    nodes = led_nodes(n_ranks, ranks_per_node)
    groups, part = [[node[index] for node in nodes] for index in range(leaders)], np.arange(n_ranks) % ranks_per_node
    return [Stage("allreduce", inter, groups, for_bytes, share=leaders, piece=part)]


def cost(
    n_ranks: int,
    n_bytes: int,
    alpha: float,
    beta: float,
    gamma: float,
    *,
    ranks_per_node: int,
    leaders: int,
    **parts: Any,
) -> float:
    """2α + (l-1)/m·n(2β + γ) + T_inter(p/l, n/m), l = ranks_per_node > 1, m = leaders"""
    others = min(ranks_per_node, n_ranks) - 1
    inside_s = 2 * alpha + others / leaders * n_bytes * (2 * beta + gamma) if others else 0.0
    (across,) = _across(n_ranks, ranks_per_node=ranks_per_node, leaders=leaders, **parts)
    return inside_s + across.cost_s(n_bytes, alpha, beta, gamma)


def _smallest_node(n_ranks: int, ranks_per_node: int) -> int:
    return n_ranks % ranks_per_node or min(ranks_per_node, n_ranks)


def _leaders(n_ranks: int, n_bytes: int, groups: Groups, *, ranks_per_node: int, **given: Any) -> dict[str, int]:
    """A leader for every 16 KiB, as many as every node has."""
    return {"leaders": min(max(n_bytes // (16 * 1024), 1), _smallest_node(n_ranks, max(ranks_per_node, 1)))}


def _not_in_every_node(n_ranks: int, *, ranks_per_node: int, leaders: int, **others: Any) -> str | None:
    smallest = _smallest_node(n_ranks, ranks_per_node)
    if 1 <= leaders <= smallest:
        return None
    return f"leaders={leaders}, and the smallest node has {smallest} ranks; use 1 to {smallest}"


@algorithm(
    "allreduce",
    chunks=chunks_of(_across),
    scratch=scratch_of(_across),
    cost=cost,
    defaults=together(nodes_by_machine, _leaders),
    constraints=(
        as_stages(COMMUTATIVE, _across),
        as_stages(ROUNDS_APART, _across),
        RANKS_PER_NODE,
        Constraint("leaders in every node", _not_in_every_node),
        stages_fit(_across),
    ),
    source="Bayatpour et al.: Scalable reduction collectives with data partitioning-based multi-leader design, SC 2017",
    names={"MVAPICH": "DPML"},
)
def multi_leader(
    rank: Rank, n_ranks: int, *, for_bytes: int, ranks_per_node: int, leaders: int, inter: str = "recursive_doubling"
) -> Iterator[Step]:
    nodes = led_nodes(n_ranks, ranks_per_node)
    (across,) = _across(n_ranks, for_bytes=for_bytes, ranks_per_node=ranks_per_node, leaders=leaders, inter=inter)
    parts = Window(0, leaders, across.n_chunks // leaders)

    def reduce_parts(me: Rank, n_node: int) -> Iterator[Step]:
        yield [fan_in(me, n_node, k, send=chunk(k), receive=chunk(k), reduce=True) for k in range(leaders)]

    def spread_parts(me: Rank, n_node: int) -> Iterator[Step]:
        yield [fan_out(me, n_node, k, send=chunk(k), receive=chunk(k)) for k in range(leaders)]

    yield from within(nodes, rank, reduce_parts, parts)
    yield from across.steps(rank, 0, across.n_chunks)
    yield from within(nodes, rank, spread_parts, parts)
