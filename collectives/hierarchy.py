"""Collectives made of others: in stages, each in groups of ranks side by side, and segment behind segment."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import lcm, prod
from typing import Any

import numpy as np

from collectives.grids import Shape, lines
from collectives.helpers import beside, pipelined
from collectives.registry import find
from commsim import Algorithm, Constraint, Rank, Step, Window, within
from commsim.errors import RefusedError
from commsim.selection import Ints

BACK = {  # allgathers of another name than the reduce_scatter that they take back
    "butterfly": "recursive_doubling",
    "pairwise": "ring",
    "recursive_halving": "recursive_doubling",
}


@dataclass(frozen=True, eq=False)
class Stage:
    """A collective in every group, by the algorithm that ``spec`` names.

    Attributes
    ----------
    collective : str
    spec : str
        Parameters that it leaves open are chosen as for a small vector.
    groups : sequence of sequences of int
    root : int
        Its place in each group.
    share : int
        The vector is cut in so many equal pieces, and every rank works on one of them.
    piece : array (n_ranks,), optional
        On which; None: on the first.
    """

    collective: str
    spec: str
    groups: Sequence[Sequence[int]]
    root: int = 0
    share: int = 1
    piece: Ints | None = None

    @cached_property
    def parts(self) -> list[tuple[Algorithm, list[Sequence[int]]]]:
        """The groups of each size, with the algorithm in them."""
        chosen = find(self.collective, self.spec)
        if chosen.collective.rooted:
            chosen = replace(chosen, program=partial(chosen.program, root=self.root))
        sizes = sorted({len(group) for group in self.groups})
        return [(chosen.resolved(n), [group for group in self.groups if len(group) == n]) for n in sizes]

    @property
    def n_chunks(self) -> int:
        """Into how many chunks the vector must be cut."""
        return self.share * lcm(*(one.space(len(groups[0])).n_data for one, groups in self.parts))

    @property
    def n_scratch(self) -> int:
        """Copies of the vector beside it."""
        return max(one.space(len(groups[0])).n_scratch for one, groups in self.parts)

    def steps(self, rank: Rank, first: int, n_chunks: int) -> Iterator[Step]:
        """Its steps, where the `n_chunks` chunks from `first` on are the vector."""
        length = n_chunks // self.share
        begin = first if self.piece is None else first + self.piece[rank] * length
        yield from beside([_in_groups(groups, rank, one, begin, length) for one, groups in self.parts])

    def cost_s(self, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
        """Time of the slowest group."""
        piece_bytes = n_bytes // self.share
        return max(one.cost_s(len(groups[0]), piece_bytes, alpha, beta, gamma) for one, groups in self.parts)


def _in_groups(
    groups: Sequence[Sequence[int]], rank: Rank, one: Algorithm, first: Rank, n_chunks: int
) -> Iterator[Step]:
    n_inner = one.space(len(groups[0])).n_data
    window = Window(first, n_inner, n_chunks // n_inner)
    yield from within(groups, rank, lambda r, n: one.program(r, n, **one.params), window)


def n_chunks(stages: Sequence[Stage]) -> int:
    """Into how many chunks a vector must be cut that goes through all these stages."""
    return lcm(*(stage.n_chunks for stage in stages))


def in_turn(rank: Rank, stages: Sequence[Stage], first: int, n_chunks: int) -> Iterator[Step]:
    """All stages, one after the other, where the `n_chunks` chunks from `first` on are the vector."""
    for stage in stages:
        yield from stage.steps(rank, first, n_chunks)


def staged(rank: Rank, stages: Sequence[Stage], segments: int = 1) -> Iterator[Step]:
    """All stages, of every segment; while one is in a stage, the next one is in the stage before."""
    length = n_chunks(stages)
    for turn in range(segments + len(stages) - 1):
        at_work = [(stage, turn - place) for place, stage in enumerate(stages) if 0 <= turn - place < segments]
        yield from beside([stage.steps(rank, segment * length, length) for stage, segment in at_work])


def stepped(rank: Rank, stages: Sequence[Stage], segments: int) -> Iterator[Step]:
    """All stages, of every segment; each segment is one step behind the one before."""
    length = n_chunks(stages)
    yield from pipelined(in_turn(rank, stages, segment * length, length) for segment in range(segments))


def staged_cost_s(
    stages: Sequence[Stage], n_bytes: int, alpha: float, beta: float, gamma: float, segments: int = 1
) -> float:
    """The sum of the stages' times. With several segments, about: as if everyone had work in each stage at any time."""
    segment = n_bytes // segments
    once_s = sum(stage.cost_s(segment, alpha, beta, gamma) for stage in stages)
    latencies_s = [stage.cost_s(segment, alpha, 0.0, 0.0) for stage in stages]
    return once_s + (segments - 1) * (once_s - sum(latencies_s) + max(latencies_s))


def chunks_of(stages_of: Callable[..., Sequence[Stage]]) -> Callable[..., int]:
    """Chunks of an algorithm that is made of stages; ``stages_of(n_ranks, **params)``, without the segments."""
    return lambda n_ranks, *, segments=1, **params: segments * n_chunks(stages_of(n_ranks, **params))


def scratch_of(stages_of: Callable[..., Sequence[Stage]]) -> Callable[..., int]:
    """Copies of the vector beside it; see :func:`chunks_of`."""
    return lambda n_ranks, *, segments=1, **params: max(stage.n_scratch for stage in stages_of(n_ranks, **params))


def stages_fit(stages_of: Callable[..., Sequence[Stage]]) -> Constraint:
    """What the algorithms of the stages ask of their groups; see :func:`chunks_of`."""

    def refuses(n_ranks: int, *, segments: int = 1, **params: Any) -> str | None:
        try:
            n_chunks(stages_of(n_ranks, **params))
        except RefusedError as error:
            return str(error)
        return None

    return Constraint("what its stages take", refuses)


def split_stages(
    shape: Shape, order: Sequence[int], intra: str, inter: str | None = None, *, backwards: bool = False
) -> list[Stage]:
    """Reduce-scatter along one dimension after the other, each time on what is left to a rank, and allgathers back.

    Parameters
    ----------
    shape : tuple of int
        Of all ranks.
    order : sequence of int
        Dimensions.
    intra : str
        The reduce_scatter.
    inter : str, optional
        An allreduce between the two halves, along the last dimension.
    backwards : bool
        Whether lines are walked from their last rank to their first.
    """
    there, back = list[Stage](), list[Stage]()
    share, rank = 1, np.arange(prod(shape))
    piece = np.zeros_like(rank)
    name, colon, params = intra.partition(":")
    for dimension in order:
        size, stride = shape[dimension], prod(shape[:dimension])
        groups = [line[:: -1 if backwards else 1] for line in lines(shape, dimension)]
        there.append(Stage("reduce_scatter", intra, groups, share=share, piece=piece))
        back.insert(0, Stage("allgather", BACK.get(name, name) + colon + params, groups, share=share, piece=piece))
        place = rank // stride % size
        share, piece = share * size, piece * size + (size - 1 - place if backwards else place)
    across = [Stage("allreduce", inter, lines(shape, -1), share=share, piece=piece)] if inter else []
    return [*there, *across, *back]


def node_stages(n_ranks: int, *, ranks_per_node: Shape, intra: str, inter: str) -> list[Stage]:
    """The same in equal nodes, which may have levels, and across them."""
    shape = (*ranks_per_node, n_ranks // prod(ranks_per_node))
    return split_stages(shape, range(len(ranks_per_node)), intra, inter)
