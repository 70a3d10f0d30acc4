"""What a picture of an algorithm's steps shows: its messages step by step, and what every chunk then holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commsim import Algorithm, Exchange, Lanes, Schedule, Step
from commsim.execution import Moves, steps_in_process
from commsim.messages import Messages
from commsim.program import unrolled
from commsim.selection import Ints

PARTLY = 0.2, 0.8  # shades of what holds something: from little to all that it could, short of what must be there


@dataclass(frozen=True)
class Panel:
    """One step.

    Attributes
    ----------
    messages : list of Messages
    lanes : list of int
        For each of them the lane that it belongs to.
    shades : array (n_ranks, n_chunks)
        After it, for each chunk of all buffers: 0 empty, 1 what the rank must end with, between them anything else.
    """

    messages: list[Messages]
    lanes: list[int]
    shades: NDArray[np.float64]


@dataclass(frozen=True)
class Walk:
    """A schedule of few ranks, for drawing.

    Attributes
    ----------
    schedule : Schedule
    start : array (n_ranks, n_chunks)
        Shades before the first step.
    panels : list of Panel
    buffers : dict
        Name of each buffer that is worth drawing to the numbers of its chunks.
    """

    schedule: Schedule
    start: NDArray[np.float64]
    panels: list[Panel]
    buffers: dict[str, Ints]

    @staticmethod
    def of(algorithm: Algorithm, n_ranks: int, root: int) -> Walk:
        """Apply the schedule of a resolved algorithm; lanes move in lockstep."""
        lanes: list[list[int]] = []
        schedule = Schedule(_side_by_side(algorithm, lanes), n_ranks, root * algorithm.collective.rooted)
        state = _Contents(schedule)
        start = state.shades()
        steps = steps_in_process(schedule, [state])
        panels = [Panel(messages, lanes[number], state.shades()) for number, messages in enumerate(steps)]
        return Walk(schedule, start, panels, _buffers(schedule, state.written))

    @property
    def n_lanes(self) -> int:
        """Lanes that send something at the same time."""
        return 1 + max((lane for panel in self.panels for lane in panel.lanes), default=0)


def _side_by_side(algorithm: Algorithm, lanes: list[list[int]]) -> Algorithm:
    """The same algorithm with its lanes merged into steps; for each step, which lane each exchange belongs to."""

    def program(*args: Any, **kwargs: Any) -> Iterator[Step]:
        for step in _merged(algorithm.program(*args, **kwargs)):
            lanes.append([lane for lane, _ in step])
            yield [exchange for _, exchange in step]

    return replace(algorithm, program=program)


def _merged(steps: Iterator[Step], lane: int = 0) -> Iterator[list[tuple[int, Exchange]]]:
    for step in unrolled(steps):
        if not isinstance(step, Lanes):
            yield [(lane, exchange) for exchange in step]
            continue
        waiting = [(number, _merged(program, number)) for number, program in enumerate(step.programs)]
        running: list[tuple[int, Iterator[list[tuple[int, Exchange]]]]] = []
        tick = 0
        while waiting or running:
            while waiting and (not running or waiting[0][0] * step.stagger <= tick):
                running.append(waiting.pop(0))
            found = [(one, next(one[1], None)) for one in running]
            running = [one for one, parts in found if parts is not None]
            if running:
                yield [part for _, parts in found for part in parts or ()]
            tick += 1


class _Contents:
    """Whose data every chunk of every rank holds, as a set of bits (8 ranks or so), and which chunk of theirs."""

    def __init__(self, schedule: Schedule) -> None:
        collective, space, p = schedule.algorithm.collective, schedule.space, schedule.n_ranks
        each = space.n_data // collective.n_blocks(p)
        rank, chunk = np.arange(p)[:, None], np.arange(space.n_data)[None, :]
        block, shape = chunk // each, (p, space.n_data)
        self._made = np.zeros((p, space.n_chunks), dtype=object)
        self._home = np.full((p, space.n_chunks), -1)
        for r, c in np.argwhere(np.broadcast_to(collective.holds(rank, block, schedule.root), shape)).tolist():
            self._made[r, c], self._home[r, c] = 1 << r, c
        first = space.n_data if collective.has_output else 0
        self._needed = slice(first, first + space.n_data)
        self._needs = np.broadcast_to(collective.needs(rank, block, schedule.root), shape)
        self._whole = np.full(shape, (1 << p) - 1, dtype=object)
        if collective.origin is not None:
            origin = np.broadcast_to(collective.origin(rank, block, schedule.root), shape)
            self._whole = np.array([[1 << one for one in row] for row in origin.tolist()], dtype=object)
        self._must_be = np.broadcast_to(rank * each + chunk % each if collective.has_output else chunk, shape)
        self._most = p if collective.origin is None else 1
        self.written = np.zeros(space.n_chunks, dtype=bool)

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return self._made[rank, chunk], self._home[rank, chunk]

    def write(self, moves: Moves, values: Any) -> None:
        self.written[moves.receive_chunk] = True
        for dst, chunk, made, home in zip(moves.dst.tolist(), moves.receive_chunk.tolist(), *values, strict=True):
            self._made[dst, chunk] = made | (self._made[dst, chunk] if moves.reduce else 0)
            self._home[dst, chunk] = home

    def shades(self) -> NDArray[np.float64]:
        low, high = PARTLY
        counts = np.vectorize(int.bit_count, otypes=[int])(self._made)
        shades: NDArray[np.float64] = np.where(counts, low + (high - low) * np.minimum(counts / self._most, 1), 0.0)
        if self._most == 1:
            shades[counts > 0] = (low + high) / 2
        part = shades[:, self._needed]
        right = (self._made[:, self._needed] == self._whole) & (self._home[:, self._needed] == self._must_be)
        part[right & self._needs] = 1.0
        return shades


def _buffers(schedule: Schedule, written: NDArray[np.bool_]) -> dict[str, Ints]:
    """The buffers that change, in the order of a message's way: of scratch only the chunks that are used."""
    space = schedule.space
    n, has_output = space.n_data, space.has_output
    chunk = np.arange(space.n_chunks)
    scratch = chunk[(1 + has_output) * n :]
    found = {
        "data": chunk[:n],
        "scratch": scratch[written[scratch]],
        "output": chunk[n : 2 * n] if has_output else chunk[:0],
    }
    if has_output and not written[:n].any():
        del found["data"]
    return {name: numbers for name, numbers in found.items() if len(numbers)}
