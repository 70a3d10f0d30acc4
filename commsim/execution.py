"""All ranks of a schedule in one process, step after step: checked, expanded to chunks, and applied to states.

What is sent is the state before the step; what arrives is applied in the order of exchanges. A state is anything that
can be read and written by (rank, chunk): counts of contributions, fingerprints, intervals of ranks, numpy buffers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from commsim.errors import ScheduleError
from commsim.messages import Matcher, Messages
from commsim.program import Exchange, Lanes, Repeat, Step
from commsim.schedule import Schedule
from commsim.selection import Ints, Selection, spread

MAX_ROWS_AT_ONCE = 1 << 18  # chunks of one exchange that are expanded together: as many as a cache holds


@dataclass(frozen=True)
class Moves:
    """Part of an exchange, chunk by chunk, arrays (n,): ``send_chunk`` of ``src`` goes to ``receive_chunk`` of ``dst``.

    Chunks are counted over all buffers. ``received_first`` is a bool or an array (n,).
    """

    src: Ints
    dst: Ints
    send_chunk: Ints
    receive_chunk: Ints
    reduce: bool
    received_first: Any
    one_each: bool = False  # every chunk is written at most once


class State(Protocol):
    """What the ranks hold."""

    def read(self, rank: Ints, chunk: Ints) -> Any:
        """Copies of the values of these chunks."""

    def write(self, moves: Moves, values: Any) -> None:
        """Apply values that arrived."""


@dataclass
class Counts:
    """What was walked through."""

    n_steps: int = 0
    n_messages: int = 0


def run_in_process(schedule: Schedule, states: Sequence[State], writer: Ints | None = None) -> Counts:
    """Apply the whole schedule to the states.

    Parameters
    ----------
    schedule : Schedule
        Of all ranks.
    states : sequence of State
    writer : array (n_ranks, n_chunks, 2), optional
        Filled with the step and the peer that wrote each chunk last.

    Raises
    ------
    ScheduleError
        Where the two ends of an exchange do not fit, a step writes a chunk twice, or lanes use each other's chunks.
    """
    counts = Counts()
    for messages in steps_in_process(schedule, states, writer):
        counts.n_steps += 1
        counts.n_messages += sum(len(part.src) for part in messages)
    return counts


def steps_in_process(
    schedule: Schedule, states: Sequence[State], writer: Ints | None = None
) -> Iterator[list[Messages]]:
    """The same step by step: the messages of each, after they were applied. Lanes come one after the other."""
    yield from _Walk(schedule, states, writer).steps(schedule.blocks())


class _Walk:
    def __init__(self, schedule: Schedule, states: Sequence[State], writer: Ints | None) -> None:
        self._schedule, self._states, self._writer = schedule, states, writer
        self._matcher = Matcher(schedule)
        self._n_steps = 0
        self._used: list[_Footprint] = []  # of the lanes that are open, from the outermost in

    def steps(self, steps: Iterable[Step]) -> Iterator[list[Messages]]:
        for step in steps:
            if isinstance(step, Lanes):
                yield from self._fork(step)
                continue
            first, times, shift = (step.step, step.times, step.shift) if isinstance(step, Repeat) else (step, 1, 0)
            messages = self._matched(first) if times else []
            for time in range(times):  # the same messages again, of chunks further on
                yield self._apply([part.shifted(time * shift) for part in messages] if time else messages)

    def _matched(self, step: list[Exchange]) -> list[Messages]:
        return [self._matcher.messages(exchange, self._n_steps) for exchange in step]

    def _apply(self, messages: list[Messages]) -> list[Messages]:
        index = self._n_steps
        self._n_steps += 1
        moved = None  # a large step is expanded several times, not kept
        if all(_n_moves(part) <= MAX_ROWS_AT_ONCE for part in messages):
            moved = [_moves(part, None) for part in messages]
        self._refuse_conflicts(messages, moved, index)
        sent = [[s.read(moves.src, moves.send_chunk) for s in self._states] for moves in moved or _all_moves(messages)]
        for moves, values in zip(moved or _all_moves(messages), sent, strict=True):
            for state, value in zip(self._states, values, strict=True):
                try:
                    state.write(moves, value)
                except ScheduleError as error:
                    raise ScheduleError(f"{self._schedule.at(index)}: {error}") from None
            if self._writer is not None:
                self._writer[moves.dst, moves.receive_chunk, 0] = index
                self._writer[moves.dst, moves.receive_chunk, 1] = moves.src
            for footprint in self._used:
                footprint.add(moves)
        return messages

    def _fork(self, fork: Lanes) -> Iterator[list[Messages]]:
        """Lanes may run in any order, so one after the other is as good: no chunk may belong to two."""
        done: list[_Footprint] = []
        for number, program in enumerate(fork.programs):
            mine = _Footprint(self._schedule)
            self._used.append(mine)
            yield from self.steps(program)
            self._used.pop()
            for other, earlier in enumerate(done):
                clash = mine.clash(earlier)
                if clash is not None:
                    rank, chunk = clash
                    raise ScheduleError(
                        f"{self._schedule.algorithm.name}: lanes {other} and {number} both use chunk {chunk} of rank "
                        f"{rank}, and one of them writes it"
                    )
            done.append(mine)

    def _refuse_conflicts(self, step: list[Messages], moved: list[Moves] | None, index: int) -> None:
        """Two writes to one chunk in a step, unless both are reductions, have no defined result."""
        if len(step) == 1 and (step[0].one_each or step[0].reduce):
            return  # a selection names no chunk twice
        if all(part.reduce for part in step):
            return
        n_chunks = self._schedule.space.n_chunks
        keys, reduced = [], []
        for moves in moved or _all_moves(step):
            keys.append(moves.dst * n_chunks + moves.receive_chunk)
            reduced.append(moves.reduce)
        ordered = np.sort(np.concatenate(keys))
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        if not len(twice):
            return
        clash = [key[np.isin(key, twice)] for key, reduce in zip(keys, reduced, strict=True) if not reduce]
        if any(len(key) for key in clash):
            rank, chunk = divmod(int(np.concatenate(clash)[0]), n_chunks)
            raise ScheduleError(f"{self._schedule.at(index)}: chunk {chunk} of rank {rank} is written twice")


class _Footprint:
    """Chunks that a lane reads and writes, (n_ranks, n_chunks) each."""

    def __init__(self, schedule: Schedule) -> None:
        shape = (schedule.n_ranks, schedule.space.n_chunks)
        self._reads, self._writes = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)

    def add(self, moves: Moves) -> None:
        self._reads[moves.src, moves.send_chunk] = True
        self._writes[moves.dst, moves.receive_chunk] = True

    def clash(self, other: _Footprint) -> tuple[int, int] | None:
        both = (self._writes & (other._writes | other._reads)) | (self._reads & other._writes)
        found = np.argwhere(both)
        return (int(found[0, 0]), int(found[0, 1])) if len(found) else None


def _all_moves(messages: list[Messages]) -> Iterator[Moves]:
    return (moves for part in messages for moves in _expanded(part))


def _n_moves(part: Messages) -> int:
    n_selected = part.receive.n_selected()
    return n_selected * len(part.src) if isinstance(n_selected, int) else int(n_selected.sum())


def _expanded(messages: Messages) -> Iterator[Moves]:
    """The messages chunk by chunk, a bounded number of chunks at a time."""
    n = len(messages.src)
    if _n_moves(messages) <= MAX_ROWS_AT_ONCE:
        yield _moves(messages, None)
        return
    lengths = np.broadcast_to(np.asarray(messages.receive.n_selected()), n)
    ends = np.cumsum(lengths)
    begin = 0
    while begin < n:
        limit = (ends[begin - 1] if begin else 0) + MAX_ROWS_AT_ONCE
        end = max(int(np.searchsorted(ends, limit, side="right")), begin + 1)
        yield _moves(messages, slice(begin, end))
        begin = end


def _is_one_chunk(selection: Selection) -> bool:
    length, scale = selection.length, selection.scale
    return selection.is_range and type(length) is int and type(scale) is int and length == scale == 1


def _moves(messages: Messages, part: slice | None) -> Moves:
    src, dst, send, receive, first = (
        messages.src,
        messages.dst,
        messages.send,
        messages.receive,
        messages.received_first,
    )
    if (
        part is None and _is_one_chunk(send) and _is_one_chunk(receive)
    ):  # the common case, cheaply: starts were checked to be in range
        from_chunk, to_chunk = (spread(one.first + one.start, len(src)) for one in (send, receive))
        return Moves(src, dst, from_chunk, to_chunk, messages.reduce, first, messages.one_each)
    if part is not None:
        rows = np.arange(len(src))[part]
        src, dst, send, receive = src[part], dst[part], send.rows(rows), receive.rows(rows)
        first = first[part] if isinstance(first, np.ndarray) else first
    row, send_chunk = send.expand(len(src))
    _, receive_chunk = receive.expand(len(src))
    if isinstance(first, np.ndarray):
        first = first[row]
    return Moves(src[row], dst[row], send_chunk, receive_chunk, messages.reduce, first, messages.one_each)
