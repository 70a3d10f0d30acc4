"""Bucket allreduce on a torus: rings along one dimension after the other, reduce-scatters there and allgathers back.

Dimensions that do not wrap are lines instead of rings: no message comes back over the links that it went. With several
parts the vector is cut in as many, each of which begins in another dimension (and, with twice as many as dimensions,
half of them the other way round), so that all links of a torus are busy at once. With several segments each part is a
lane, and so is each segment of it, one step behind the one before (where there are lines, spread over the steps): while
one reduces another is on its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np

from collectives.grids import Shape, near_square, nearest_shape, written
from collectives.helpers import beside, staggered
from collectives.hierarchy import Stage, in_turn, split_stages
from collectives.parameters import SEGMENTS
from collectives.step_clocks import steps_cost_s
from commsim import COMMUTATIVE, Constraint, Groups, Rank, Step, algorithm, lanes


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, shape: Shape, wrap: Shape, **others: Any
) -> float:
    """2Σ(s_i - 1)α + (p-1)/p·n(2β + γ), s_i sizes of the shape; β of all a rank's links together; one segment, rings"""
    if not min(wrap) and others["segments"] == 1:
        walked = torus_bucket.program(np.arange(n_ranks), n_ranks, shape=shape, wrap=wrap, **others)
        return steps_cost_s(walked, n_ranks, n_bytes / n_ranks / others["parts"], alpha, beta, gamma)
    steps = sum(size - 1 for size in shape)
    return 2 * steps * alpha + (n_ranks - 1) / n_ranks * n_bytes * (2 * beta + gamma)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Two dimensions, as near to a square as can be; all wrap."""
    shape = given.get("shape", near_square(n_ranks))
    return {"shape": shape, "wrap": (1,) * len(shape)}


def _not_all_ranks(n_ranks: int, *, shape: Shape, **others: Any) -> str | None:
    if min(shape) >= 1 and prod(shape) == n_ranks:
        return None
    *some, _ = nearest_shape(n_ranks, shape)
    whole = (*some, n_ranks // prod(some))
    return f"shape={written(shape)} has {prod(shape)} places; try shape={written(whole)}"


def _wraps(n_ranks: int, *, shape: Shape, wrap: Shape, **others: Any) -> str | None:
    if len(wrap) == len(shape) and set(wrap) <= {0, 1}:
        return None
    return f"wrap={written(wrap)}: write a 1 (ring) or a 0 (line) for each dimension of shape={written(shape)}"


def _parts(n_ranks: int, *, shape: Shape, parts: int, **others: Any) -> str | None:
    n = len(shape)
    if parts in (1, n, 2 * n):
        return None
    return f"parts={parts} must be 1, or as many as dimensions ({n}) or directions ({2 * n})"


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, parts, segments, **others: n_ranks * parts * segments,
    cost=cost,
    defaults=defaults,
    constraints=(
        COMMUTATIVE,
        Constraint("shape of all ranks", _not_all_ranks),
        Constraint("wrap 0 or 1 for each dimension", _wraps),
        Constraint("parts by dimensions", _parts),
        SEGMENTS,
    ),
    source="Barnett et al.: Global combine on mesh architectures with wormhole routing, IPPS 1993; several parts: "
    "Jain, Sabharwal: Optimal bucket algorithms for large MPI collectives on torus interconnects, ICS 2010",
)
def torus_bucket(
    rank: Rank, n_ranks: int, *, shape: tuple[int, ...], wrap: tuple[int, ...], parts: int = 1, segments: int = 1
) -> Iterator[Step]:
    dimensions, intra = list(range(len(shape))), ["ring" if each else "line" for each in wrap]

    def stages(part: int) -> list[Stage]:
        turn = part % len(shape)
        order = dimensions[turn:] + dimensions[:turn]
        return split_stages(shape, order, intra, backwards=part >= len(shape))

    def piece(part: int, segment: int) -> Iterator[Step]:
        return in_turn(rank, stages(part), (part * segments + segment) * n_ranks, n_ranks)

    if segments == 1:
        yield from beside([piece(part, 0) for part in range(parts)])
    else:
        behind = _stagger(shape, wrap, segments)
        yield lanes(
            *(staggered([piece(part, segment) for segment in range(segments)], behind) for part in range(parts))
        )


def _stagger(shape: Shape, wrap: Shape, segments: int) -> int:
    """Steps between segments: on a line the way there and the way back of two of them fill its links together."""
    return 1 if min(wrap) else max(1, sum(size - 1 for size in shape) // segments)
