"""What allreduces in the fabric share: the vector goes through them in segments, one behind the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isqrt
from typing import Any

from commsim import Exchange, Groups, Step
from commsim.errors import ScheduleError
from commsim.program import Lanes

MIB = 1 << 20


def pipelined(program: Callable[[int], Iterator[Step]], segments: int) -> Iterator[Step]:
    """The program of each segment, given its number, one step behind that of the segment before.

    Raises
    ------
    ScheduleError
        If the program forks lanes.
    """
    waiting, running = iter(range(segments)), list[Iterator[Step]]()
    while True:
        running += [program(segment) for segment in [next(waiting, None)] if segment is not None]
        steps = [(steps, next(steps, None)) for steps in running]
        running = [steps for steps, step in steps if step is not None]
        if not running:
            return
        yield [part for _, step in steps if step is not None for part in _without_lanes(step)]


def _without_lanes(step: Step) -> list[Exchange]:
    if isinstance(step, Lanes):
        raise ScheduleError("a program with lanes cannot be pipelined")
    return step


def segments_by_root(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """The root of the size in MiB: the best where a latency is worth about 1 MiB of bandwidth, as it is of NVLink."""
    return {"segments": min(max(isqrt(n_bytes // MIB), 1), 1024)}
