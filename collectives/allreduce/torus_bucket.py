"""Bucket allreduce on a torus: rings along one dimension after the other, reduce-scatters there and allgathers back.

With several parts the vector is cut in as many, each of which begins in another dimension (and, with twice as many as
dimensions, half of them the other way round), so that all links of a torus are busy at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from collectives.grids import Shape, near_square, nearest_shape, written
from collectives.helpers import beside
from collectives.hierarchy import Stage, in_turn, split_stages
from commsim import COMMUTATIVE, Constraint, Groups, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, shape: Shape, parts: int) -> float:
    """2Σ(s_i - 1)α + (p-1)/p·n(2β + γ), s_i the sizes of the shape; β that of all links of a rank together"""
    steps = sum(size - 1 for size in shape)
    return 2 * steps * alpha + (n_ranks - 1) / n_ranks * n_bytes * (2 * beta + gamma)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Two dimensions, as near to a square as can be."""
    return {"shape": near_square(n_ranks)}


def _not_all_ranks(n_ranks: int, *, shape: Shape, parts: int) -> str | None:
    if min(shape) >= 1 and prod(shape) == n_ranks:
        return None
    *some, _ = nearest_shape(n_ranks, shape)
    whole = (*some, n_ranks // prod(some))
    return f"shape={written(shape)} has {prod(shape)} places; try shape={written(whole)}"


def _parts(n_ranks: int, *, shape: Shape, parts: int) -> str | None:
    n = len(shape)
    if parts in (1, n, 2 * n):
        return None
    return f"parts={parts} must be 1, or as many as dimensions ({n}) or directions ({2 * n})"


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, shape, parts: n_ranks * parts,
    cost=cost,
    defaults=defaults,
    constraints=(
        COMMUTATIVE,
        Constraint("shape of all ranks", _not_all_ranks),
        Constraint("parts by dimensions", _parts),
    ),
    source="Barnett et al.: Global combine on mesh architectures with wormhole routing, IPPS 1993; several parts: "
    "Jain, Sabharwal: Optimal bucket algorithms for large MPI collectives on torus interconnects, ICS 2010",
)
def torus_bucket(rank: Rank, n_ranks: int, *, shape: tuple[int, ...], parts: int = 1) -> Iterator[Step]:
    dimensions = list(range(len(shape)))

    def stages(part: int) -> list[Stage]:
        turn = part % len(shape)
        order = dimensions[turn:] + dimensions[:turn]
        return split_stages(shape, order, "ring", backwards=part >= len(shape))

    yield from beside([in_turn(rank, stages(part), part * n_ranks, n_ranks) for part in range(parts)])
