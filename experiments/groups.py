"""An algorithm in groups of ranks of a larger machine: side by side, everyone else idle."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from commsim import within
from commsim.algorithm import Algorithm
from commsim.selection import Ints


def side_by_side(algorithm: Algorithm, members: Ints, root: int) -> Algorithm:
    """The same in every group at once, (n_groups, size); as an algorithm of all ranks, whose chunks are a group's."""
    size = members.shape[1]
    space = algorithm.space(size)
    rooted: dict[str, Any] = {"root": root} if algorithm.collective.rooted else {}
    groups = members.tolist()

    def inner(rank: Any, n_ranks: int) -> Any:
        return algorithm.program(rank, n_ranks, **rooted, **algorithm.options)

    def program(rank: Any, *_: int, **__: Any) -> Any:
        return within(groups, rank, inner)

    return Algorithm(
        name=algorithm.name,
        collective=replace(algorithm.collective, block_each=False),
        program=program,
        chunks=lambda *_, **__: space.n_data,
        scratch=lambda *_, **__: space.n_scratch,
        params=algorithm.params,
    )
