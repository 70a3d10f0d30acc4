"""Multi-ring allreduce: each node is walked in several rings, both ways: NCCL's channels.

Rings that share no link use all links of a node without a switch at once. A ring's reduce-scatter is followed by an
allreduce of each piece across nodes and by an allgather. Each direction of each ring is a lane; several segments are
as many lanes of it, and all begin one step behind another, so that nodes and network work at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from collectives.helpers import largest_power_of_two
from collectives.hierarchy import Stage, as_stages, in_turn, n_chunks, scratch_of
from collectives.parameters import SEGMENTS
from commsim import COMMUTATIVE, ROUNDS_APART, Constraint, Groups, Rank, Step, algorithm, lanes
from commsim.errors import RefusedError


def _orders(rings: str) -> list[list[int]]:
    """``"0.1.2.3*2/0.2.1.3"``: the ranks of each ring in order, with how often it is taken; both ways."""
    orders: list[list[int]] = []
    for text in rings.split("/"):
        ranks, _, times = text.partition("*")
        try:
            orders += [[int(rank) for rank in ranks.split(".")]] * int(times or 1)
        except ValueError:
            raise RefusedError(f"rings={rings}: write the ranks of each ring, as in 0.1.2.3/0.2.1.3") from None
    return [walk for order in orders for walk in (order, order[::-1])]


def _stages(n_ranks: int, order: list[int], inter: str) -> list[Stage]:
    """One lane: along the ring in each node, and across nodes."""
    size = len(order)
    nodes = [[first + place for place in order] for first in range(0, n_ranks, size)]
    piece = np.argsort(order)[np.arange(n_ranks) % size]
    across = [list(range(place, n_ranks, size)) for place in range(size)]
    pieces: dict[str, Any] = {"share": size, "piece": piece}
    between = [Stage("allreduce", inter, across, **pieces)] if size < n_ranks else []
    return [Stage("reduce_scatter", "ring", nodes), *between, Stage("allgather", "ring", nodes)]


def _whole(n_ranks: int, rings: str) -> str:
    return rings or ".".join(map(str, range(n_ranks)))


def _no_rings(n_ranks: int, *, rings: str, inter: str, segments: int) -> str | None:
    try:
        orders = _orders(_whole(n_ranks, rings))
    except RefusedError as error:
        return str(error)
    size = len(orders[0])
    if any(sorted(order) != [*range(size)] for order in orders):
        return f"rings={rings}: each must hold the ranks 0 to {size - 1} of a node once"
    return f"they are not a multiple of the {size} ranks of a ring" if n_ranks % size else None


def _n_chunks(n_ranks: int, *, rings: str, inter: str, segments: int) -> int:
    orders = _orders(_whole(n_ranks, rings))
    return segments * sum(n_chunks(_stages(n_ranks, order, inter)) for order in orders)


def _first_lane(n_ranks: int, *, rings: str, inter: str, **case: int) -> list[Stage]:
    return _stages(n_ranks, _orders(_whole(n_ranks, rings))[0], inter)


def _across(n_ranks: int, n_bytes: int, groups: Groups, *, rings: str, **given: Any) -> Mapping[str, Any]:
    """Across nodes Rabenseifner's where none has to fold, else a ring."""
    n_nodes = max(n_ranks // len(_whole(n_ranks, rings).split("/")[0].split(".")), 1)
    return {"inter": "rabenseifner" if n_nodes == largest_power_of_two(n_nodes) else "ring"}


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    scratch=scratch_of(_first_lane),
    defaults=_across,
    constraints=(
        COMMUTATIVE,
        Constraint("rings of a node's ranks", _no_rings),
        SEGMENTS,
        as_stages(ROUNDS_APART, _first_lane),
    ),
    source="NCCL 2.30, src/graph/rings.cc and search.cc: rings over the links of a node, a channel each",
    names={"NCCL": "Ring, its channels", "RCCL": "Ring, its channels"},
)
def multi_ring(rank: Rank, n_ranks: int, *, rings: str = "", inter: str, segments: int = 1) -> Iterator[Step]:
    walks = [_stages(n_ranks, order, inter) for order in _orders(_whole(n_ranks, rings))]
    length = n_chunks(walks[0])

    programs = (in_turn(rank, walk, lane * length, length) for lane, walk in enumerate(walks * segments))
    yield lanes(*programs, stagger=int(segments > 1))
