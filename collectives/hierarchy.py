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
from collectives.step_clocks import steps_cost_s
from commsim import COMMUTATIVE, Algorithm, Constraint, Rank, Step, Window, within
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
        Parameters that it leaves open are chosen by size.
    groups : sequence of sequences of int
    for_bytes : int
        Size of the vector that they are chosen for.
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
    for_bytes: int = 0
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
        piece_bytes = self.for_bytes // self.share
        return [(chosen.resolved(n, piece_bytes), [group for group in self.groups if len(group) == n]) for n in sizes]

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
        case = piece_bytes, alpha, beta, gamma, self.root
        return max(one.cost_s(len(groups[0]), *case) for one, groups in self.parts)


def _in_groups(
    groups: Sequence[Sequence[int]], rank: Rank, one: Algorithm, first: Rank, n_chunks: int
) -> Iterator[Step]:
    n_inner = one.space(len(groups[0])).n_data
    window = Window(first, n_inner, n_chunks // n_inner)
    yield from within(groups, rank, lambda r, n: one.program(r, n, **one.options), window)


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


def staged_cost_s(stages: Sequence[Stage], n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """The sum of the stages' times, one after the other."""
    return sum(stage.cost_s(n_bytes, alpha, beta, gamma) for stage in stages)


def segmented_cost_s(
    stages: Sequence[Stage], segments: int, n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float
) -> float:
    """The same of several segments at work in different stages: where ranks wait for each other there is no formula."""
    if segments == 1:
        return staged_cost_s(stages, n_bytes, alpha, beta, gamma)
    chunk_bytes = n_bytes / (segments * n_chunks(stages))
    return steps_cost_s(staged(np.arange(n_ranks), stages, segments), n_ranks, chunk_bytes, alpha, beta, gamma)


Stages = Callable[..., Sequence[Stage]]
"""``stages_of(n_ranks, *, for_bytes, **params)``: the stages of one segment, of so many bytes."""


def of_segment(
    stages_of: Stages, n_ranks: int, *, segments: Any = 1, for_bytes: Any = 0, **params: Any
) -> Sequence[Stage]:
    """The stages of an algorithm that cuts its vector in segments."""
    return stages_of(n_ranks, for_bytes=for_bytes // max(segments, 1), **params)


def chunks_of(stages_of: Stages) -> Callable[..., int]:
    """Chunks of an algorithm that is made of stages."""
    return lambda n_ranks, **params: params.get("segments", 1) * n_chunks(of_segment(stages_of, n_ranks, **params))


def scratch_of(stages_of: Stages) -> Callable[..., int]:
    """Copies of the vector beside it."""
    return lambda n_ranks, **params: max(stage.n_scratch for stage in of_segment(stages_of, n_ranks, **params))


def stages_fit(stages_of: Stages) -> Constraint:
    """What the algorithms of the stages ask of their groups."""

    def refuses(n_ranks: int, **params: Any) -> str | None:
        try:
            n_chunks(of_segment(stages_of, n_ranks, **params))
        except RefusedError as error:
            return str(error)
        return None

    return Constraint("what its stages take", refuses)


def as_stages(constraint: Constraint, stages_of: Stages) -> Constraint:
    """What an algorithm declares where one of its stages does."""

    def applies(n_ranks: int, **params: Any) -> bool:
        stages = of_segment(stages_of, n_ranks, **params)
        return any(constraint in one.constraints for stage in stages for one, _ in stage.parts)

    return constraint.only("where a stage is" if constraint == COMMUTATIVE else "where those of a stage may", applies)


@dataclass(frozen=True, eq=False)
class Level:
    """Groups of equal size that share out what each of their ranks works on, or leave it to their first.

    Attributes
    ----------
    groups : sequence of sequences of int
        Disjoint; of several levels all but the first take part with the ranks that have something left.
    spec : str or None
        The reduce_scatter, which the allgather of the same kind takes back; None: the first of each group reduces, and
        sends the result back.
    """

    groups: Sequence[Sequence[int]]
    spec: str | None


def nested_stages(
    n_ranks: int,
    levels: Sequence[Level],
    inter: str | None = None,
    across: Sequence[Sequence[int]] = (),
    for_bytes: int = 0,
) -> list[Stage]:
    """Level after level, each time on what is left to a rank, an allreduce between the two halves, and all back.

    Parameters
    ----------
    n_ranks : int
    levels : sequence of Level
    inter : str, optional
        An allreduce of what is left in the groups `across`.
    across : sequence of sequences of int
    for_bytes : int
        Size of the vector.
    """
    there, back = list[Stage](), list[Stage]()
    share, piece = 1, np.zeros(n_ranks, dtype=np.int64)
    for level in levels:
        case: dict[str, Any] = {"groups": level.groups, "for_bytes": for_bytes, "share": share, "piece": piece}
        if level.spec is None:
            there.append(Stage("reduce", "linear", **case))
            back.insert(0, Stage("broadcast", "linear", **case))
            continue
        name, colon, params = level.spec.partition(":")
        there.append(Stage("reduce_scatter", level.spec, **case))
        back.insert(0, Stage("allgather", BACK.get(name, name) + colon + params, **case))
        members = np.array([*map(list, level.groups)])
        size = members.shape[1]
        share, piece = share * size, piece * size
        piece[members] += np.arange(size)
    between = [Stage("allreduce", inter, across, for_bytes, share=share, piece=piece)] if inter else []
    return [*there, *between, *back]


def split_stages(
    shape: Sequence[int],
    order: Sequence[int],
    intra: str | Sequence[str],
    inter: str | None = None,
    *,
    for_bytes: int = 0,
    backwards: bool = False,
) -> list[Stage]:
    """Reduce-scatter along one dimension after the other, each time on what is left to a rank, and allgathers back.

    Parameters
    ----------
    shape : tuple of int
        Of all ranks.
    order : sequence of int
        Dimensions.
    intra : str, or one for each dimension
        The reduce_scatter.
    inter : str, optional
        An allreduce between the two halves, along the last dimension.
    for_bytes : int
        Size of the vector.
    backwards : bool
        Whether lines are walked from their last rank to their first.
    """
    levels = [
        Level(
            [line[:: -1 if backwards else 1] for line in lines(tuple(shape), dimension)],
            intra if isinstance(intra, str) else intra[dimension],
        )
        for dimension in order
    ]
    return nested_stages(prod(shape), levels, inter, lines(tuple(shape), -1) if inter else (), for_bytes)


def node_stages(n_ranks: int, *, for_bytes: int = 0, ranks_per_node: Shape, intra: str, inter: str) -> list[Stage]:
    """The same in equal nodes, which may have levels, and across them."""
    shape = (*ranks_per_node, n_ranks // prod(ranks_per_node))
    return split_stages(shape, range(len(ranks_per_node)), intra, inter, for_bytes=for_bytes)
