"""Collectives made of others: in stages, each in groups of ranks side by side, and segment behind segment.

The usual groups are nodes of neighbouring ranks, the last one maybe smaller, and their leaders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import zip_longest
from math import isqrt, lcm
from typing import Any

from collectives.grids import inside
from collectives.helpers import MAX_SEGMENTS
from collectives.registry import find
from collectives.trees import at_least
from commsim import Algorithm, Constraint, Groups, Rank, Step
from commsim.errors import RefusedError, ScheduleError
from commsim.program import Exchange, Lanes

RANKS_PER_NODE = at_least("ranks_per_node", 1)


@dataclass(frozen=True)
class Stage:
    """A collective in every group, by the algorithm that ``spec`` names; ``root`` is its place in each group."""

    collective: str
    spec: str
    groups: Sequence[Sequence[int]]
    root: int = 0

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
        """Into how many chunks it cuts what it works on."""
        return lcm(*(one.space(len(groups[0])).n_data for one, groups in self.parts))

    @property
    def n_scratch(self) -> int:
        """Copies of the vector beside it."""
        return max(one.space(len(groups[0])).n_scratch for one, groups in self.parts)

    def steps(self, rank: Rank, first: Rank, n_chunks: int) -> Iterator[Step]:
        """Its steps on the `n_chunks` chunks from `first` on."""
        yield from _beside([inside(groups, rank, one, first, n_chunks) for one, groups in self.parts])

    def cost_s(self, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
        """Time of the slowest group."""
        return max(one.cost_s(len(groups[0]), n_bytes, alpha, beta, gamma) for one, groups in self.parts)


def _beside(streams: Sequence[Iterator[Step]]) -> Iterator[Step]:
    """Streams of steps as one: their exchanges in common steps."""
    if len(streams) == 1:
        yield from streams[0]
        return
    for steps in zip_longest(*streams, fillvalue=()):
        yield [part for step in steps for part in _exchanges(step)]


def _exchanges(step: Step | tuple[()]) -> Sequence[Exchange]:
    if isinstance(step, Lanes):
        raise ScheduleError("a program with lanes cannot share its steps with another")
    return step


def n_chunks(stages: Sequence[Stage]) -> int:
    """Chunks of a segment that goes through all these stages."""
    return lcm(*(stage.n_chunks for stage in stages))


def n_scratch(stages: Sequence[Stage]) -> int:
    """Copies of the vector beside it."""
    return max(stage.n_scratch for stage in stages)


def staged(rank: Rank, stages: Sequence[Stage], segments: int = 1) -> Iterator[Step]:
    """All stages, one after the other; while a segment is in one, the next segment is in the one before."""
    length = n_chunks(stages)
    for turn in range(segments + len(stages) - 1):
        at_work = [(stage, turn - place) for place, stage in enumerate(stages) if 0 <= turn - place < segments]
        yield from _beside([stage.steps(rank, segment * length, length) for stage, segment in at_work])


def staged_cost_s(
    stages: Sequence[Stage], n_bytes: int, alpha: float, beta: float, gamma: float, segments: int = 1
) -> float:
    """The sum of the stages' times. With several segments, about: as if everyone had work in each stage at any time."""
    segment = n_bytes // segments
    once_s = sum(stage.cost_s(segment, alpha, beta, gamma) for stage in stages)
    latencies_s = [stage.cost_s(segment, alpha, 0.0, 0.0) for stage in stages]
    return once_s + (segments - 1) * (once_s - sum(latencies_s) + max(latencies_s))


def stages_fit(stages_of: Callable[..., Sequence[Stage]]) -> Constraint:
    """What the algorithms of the stages ask of their groups; ``stages_of(n_ranks, **params)``."""

    def refuses(n_ranks: int, **params: Any) -> str | None:
        try:
            n_chunks(stages_of(n_ranks, **params))
        except RefusedError as error:
            return str(error)
        return None

    return Constraint("stages", refuses)


def led_nodes(n_ranks: int, ranks_per_node: int, root: int = 0) -> list[list[int]]:
    """The ranks of every node, cyclically from its leader on: the root, or the first one."""
    starts = range(0, n_ranks, ranks_per_node)
    nodes = [list(range(first, min(first + ranks_per_node, n_ranks))) for first in starts]
    number, place = divmod(root, ranks_per_node)
    nodes[number] = nodes[number][place:] + nodes[number][:place]
    return nodes


def nodes_by_machine(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """As many ranks in a node as the machine has, else about as many as there are nodes."""
    return {"ranks_per_node": min(groups or isqrt(n_ranks), n_ranks)}


def nodes_and_segments(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Segments besides: the root of the size in 256 KiB.

    That is best for two stages where a latency is worth so much of bandwidth, as between nodes (5 µs at 50 GB/s).
    """
    segments = min(max(isqrt(n_bytes // (256 * 1024)), 1), MAX_SEGMENTS)
    return {**nodes_by_machine(n_ranks, n_bytes, groups), "segments": segments}
