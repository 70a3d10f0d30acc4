"""Bucket allreduce on a torus: rings along one dimension after the other, reduce-scatters there and allgathers back.

With several parts the vector is cut in as many, each of which begins in another dimension (and, with twice as many as
dimensions, half of them the other way round), so that all links of a torus are busy at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

from collectives import allgather, reduce_scatter
from collectives.grids import near_square, nearest_shape, there_and_back, written
from commsim import COMMUTATIVE, Constraint, Groups, Rank, Step, algorithm


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, shape: tuple[int, ...], parts: int
) -> float:
    """2Σ(s_i - 1)α + (p-1)/p·n(2β + γ), s_i the sizes of the shape; β that of all links of a rank together"""
    steps = sum(size - 1 for size in shape)
    return 2 * steps * alpha + (n_ranks - 1) / n_ranks * n_bytes * (2 * beta + gamma)


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Two dimensions, as near to a square as can be."""
    return {"shape": near_square(n_ranks)}


def _not_a_torus(n_ranks: int, *, shape: tuple[int, ...], parts: int) -> str | None:
    if min(shape) < 1 or prod(shape) != n_ranks:
        *some, _ = nearest_shape(n_ranks, shape)
        whole = (*some, n_ranks // prod(some))
        return f"shape={written(shape)} has {prod(shape)} places; try shape={written(whole)}"
    return None


def _parts(n_ranks: int, *, shape: tuple[int, ...], parts: int) -> str | None:
    n = len(shape)
    if parts in (1, n, 2 * n):
        return None
    return f"parts={parts} must be 1, {n} (one begins in each dimension) or {2 * n} (and in each direction)"


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, shape, parts: n_ranks * parts,
    cost=cost,
    defaults=defaults,
    constraints=(COMMUTATIVE, Constraint("shape", _not_a_torus), Constraint("parts", _parts)),
    source="Barnett et al.: Global combine on mesh architectures with wormhole routing, IPPS 1993; several parts: "
    "Jain, Sabharwal: Optimal bucket algorithms for large MPI collectives on torus interconnects, ICS 2010",
)
def torus_bucket(rank: Rank, n_ranks: int, *, shape: tuple[int, ...], parts: int = 1) -> Iterator[Step]:
    halves = reduce_scatter.ring, allgather.ring
    dimensions = list(range(len(shape)))

    def part(number: int) -> Iterator[Step]:
        turn, backwards = number % len(shape), number >= len(shape)
        order = dimensions[turn:] + dimensions[:turn]
        first = number * n_ranks
        yield from there_and_back(rank, shape, order, halves, _nothing, first, n_ranks, backwards=backwards)

    for steps in zip(*(part(number) for number in range(parts)), strict=True):
        yield [e for step in steps for e in step]


def _nothing(first: Rank, n_chunks: int) -> Iterator[Step]:
    yield from ()
