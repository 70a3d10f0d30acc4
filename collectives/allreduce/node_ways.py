"""Node ways: parts of the vector take different ways through a node, so that links of unequal width are all full.

On its way a part is shared out level by level, in pairs or along rings; or one rank of a pair speaks for both. What is
left to a rank is shared out across nodes, all to all along one dimension after the other (``across=2x8``: pairs of
nodes, eight such pairs, all that are left), and everything goes back.

With several segments each is one step behind the one before: on its own clock, or (``in_step=1``) in steps that all
share, which keeps ranks and messages alike on machines of thousands of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from math import lcm, prod
from typing import Any

import numpy as np

from collectives.grids import Shape, lines, written
from collectives.helpers import beside, pipelined, staggered
from collectives.hierarchy import Level, Stage, in_turn, n_chunks, nested_stages
from collectives.parameters import SEGMENTS
from collectives.step_clocks import steps_cost_s
from commsim import COMMUTATIVE, Constraint, Groups, Rank, Step, algorithm, lanes
from commsim.errors import RefusedError

SYNTAX = "levels of a way are parted by -, groups by +, ranks by . (a ring) or ~ (the first speaks for all), ways by /"


@dataclass(frozen=True)
class Way:
    """How one part goes through a node.

    Attributes
    ----------
    levels : list of (list of groups, bool)
        Ranks of a node; whether the first of a group speaks for all.
    times : int
        Size of the part.
    """

    levels: list[tuple[list[list[int]], bool]]
    times: int = 1

    @property
    def size(self) -> int:
        """Ranks of a node."""
        return sum(map(len, self.levels[0][0]))

    def holders(self) -> list[int]:
        """The ranks that have something left after the last level.

        Raises
        ------
        ValueError
            If a level is not for all ranks that had, in groups of equal size.
        """
        left = [*range(self.size)]
        for groups, speaks in self.levels:
            if sorted(chain(*groups)) != left or len({len(group) for group in groups}) > 1:
                raise ValueError
            left = sorted(group[0] for group in groups) if speaks else left
        return left


def _ways(n_ranks: int, ways: str, across: Shape) -> list[Way]:
    """``"0~1+2~3-0.2*3/1~0+3~2-1.3*2"``: two ways of two levels each, of parts of 3/5 and 2/5 of the vector.

    Raises
    ------
    RefusedError
        If it is written wrongly.
    """
    if not ways:
        return [Way([([[*range(max(n_ranks // max(prod(across), 1), 1))]], False)])]
    try:
        found = [_way(text) for text in ways.split("/")]
        for way in found:
            way.holders()
    except ValueError:
        raise RefusedError(f"ways={ways}: {SYNTAX}; a level is for all ranks that have something left") from None
    return found


def _way(text: str) -> Way:
    steps, _, times = text.partition("*")
    levels = [
        ([[int(rank) for rank in group.replace("~", ".").split(".")] for group in level.split("+")], "~" in level)
        for level in steps.split("-")
    ]
    return Way(levels, max(int(times or 1), 1))


def _stages(n_ranks: int, way: Way, across: Shape) -> list[Stage]:
    """One way: through every node, and across nodes, whose last dimension is what the others leave."""
    levels: list[Level] = []
    for groups, speaks in way.levels:
        everywhere = [[first + rank for rank in group] for first in range(0, n_ranks, way.size) for group in groups]
        levels.append(Level(everywhere, None if speaks else "ring" if len(groups[0]) > 2 else "linear"))
    inner = (way.size, *across)
    holders, shape = set(way.holders()), (*inner, n_ranks // prod(inner))
    for dimension in range(1, len(shape)):
        across_nodes = [line for line in lines(shape, dimension) if line[0] % way.size in holders]
        levels.append(Level(across_nodes, "linear"))
    return nested_stages(n_ranks, [level for level in levels if len(level.groups[0]) > 1])


def _parts(n_ranks: int, ways: str, across: Shape) -> tuple[list[list[Stage]], list[int], int]:
    """The stages of every way, how often it takes the smallest part, and that part's chunks."""
    found = _ways(n_ranks, ways, across)
    stages = [_stages(n_ranks, way, across) for way in found]
    return stages, [way.times for way in found], lcm(*map(n_chunks, stages))


def _no_ways(n_ranks: int, *, ways: str, across: Shape, **others: int) -> str | None:
    try:
        sizes = {way.size for way in _ways(n_ranks, ways, across)}
    except RefusedError as error:
        return str(error)
    if len(sizes) > 1:
        return f"ways={ways}: all must be for the same ranks of a node"
    if min(across) >= 1 and n_ranks % (prod(across) * max(sizes)) == 0:
        return None
    return f"they are not a multiple of the ranks of a node in across={written(across)} nodes"


def _n_chunks(n_ranks: int, *, ways: str, across: Shape, segments: int, in_step: int) -> int:
    _, times, length = _parts(n_ranks, ways, across)
    return segments * sum(times) * length


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, in_step: int, **case: Any) -> float:
    """Ranks' clocks, step by step, where segments and ways share their steps; there is no formula"""
    steps = node_ways.program(np.arange(n_ranks), n_ranks, in_step=1, **case)
    return steps_cost_s(steps, n_ranks, n_bytes / _n_chunks(n_ranks, in_step=1, **case), alpha, beta, gamma)


def _across(n_ranks: int, n_bytes: int, groups: Groups, *, ways: str, **given: Any) -> dict[str, Any]:
    """All nodes in one dimension; the machine's, where there are no ways to tell what a node is."""
    return {"across": (1 if ways or not groups else max(n_ranks // groups, 1),)}


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    cost=cost,
    defaults=_across,
    constraints=(
        COMMUTATIVE,
        Constraint("ways of all ranks", _no_ways),
        SEGMENTS,
        Constraint("in_step 0 or 1", lambda n_ranks, **p: None if p["in_step"] in (0, 1) else "write in_step=0 or 1"),
    ),
    source="Wang et al.: Blink: fast and generic collectives for distributed ML, MLSys 2020 (parts by the width of "
    "links; there along trees)",
)
def node_ways(
    rank: Rank, n_ranks: int, *, ways: str = "", across: tuple[int, ...], segments: int = 1, in_step: int = 0
) -> Iterator[Step]:
    parts, times, length = _parts(n_ranks, ways, across)
    begins = [sum(times[:way]) for way in range(len(times))]

    def piece(way: int, segment: int) -> Iterator[Step]:
        first = (segment * sum(times) + begins[way]) * length
        return in_turn(rank, parts[way], first, times[way] * length)

    if in_step or segments * len(parts) == 1:
        yield from pipelined(beside([piece(way, k) for way in range(len(parts))]) for k in range(segments))
    else:
        yield lanes(*(staggered([piece(way, k) for k in range(segments)]) for way in range(len(parts))))
