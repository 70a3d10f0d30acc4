"""What ranks hold while a schedule is proven, in the view of each means of proof, and what is wrong with it at the end.

Each is a state of :mod:`commsim.execution`; :func:`commsim.verify.verify` says which of them prove what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from commsim.errors import ScheduleError
from commsim.execution import Moves
from commsim.schedule import Schedule
from commsim.selection import Ints
from commsim.units import format_count

MANY = 2**31  # what is counted no further
UNDEFINED, MIXED = -1, -2  # instead of the number of a chunk: nothing was there; chunks were mixed


@dataclass(frozen=True)
class Promise:
    """What a schedule's ranks hold and need, chunk by chunk, arrays (n_ranks, n_data)."""

    holds: NDArray[np.bool_]
    needs: NDArray[np.bool_]
    origin: Ints | None  # whose data is needed; None: everyone's
    home: Ints  # which chunk of theirs
    first_needed: int  # where the needed chunks begin in the space: 0, or the output

    @staticmethod
    def of(schedule: Schedule) -> Promise:
        """That of the schedule's collective."""
        collective, space, p = schedule.algorithm.collective, schedule.space, schedule.n_ranks
        each = space.n_data // collective.n_blocks(p)
        rank, chunk = np.arange(p)[:, None], np.arange(space.n_data)[None, :]
        block = chunk // each
        holds, needs = (
            np.broadcast_to(condition(rank, block, schedule.root), (p, space.n_data))
            for condition in (collective.holds, collective.needs)
        )
        origin = collective.origin and np.broadcast_to(collective.origin(rank, block, schedule.root), (p, space.n_data))
        home = rank * each + chunk % each if collective.has_output else chunk
        first = space.n_data if collective.has_output else 0
        return Promise(holds, needs, origin, np.broadcast_to(home, (p, space.n_data)), first)


class ProofState(Protocol):
    """A state that can say at the end what is wrong with it."""

    def read(self, rank: Ints, chunk: Ints) -> Any:
        """Copies of the values of these chunks."""

    def write(self, moves: Moves, values: Any) -> None:
        """Apply values that arrived."""

    def wrong(self, writer: Ints | None) -> str | None:
        """What is wrong first, in words; ``writer`` as :func:`commsim.execution.run_in_process` fills it."""


class Counting(ProofState):
    """A multiset of ranks for each chunk, and which chunk of theirs it is."""

    def __init__(self, schedule: Schedule, promise: Promise) -> None:
        p, space = schedule.n_ranks, schedule.space
        self.counts = np.zeros((p, space.n_chunks, p), dtype=np.int64)
        self.home = np.full((p, space.n_chunks), UNDEFINED)
        for rank, held in enumerate(promise.holds):
            self.counts[rank, : len(held), rank] = held
            self.home[rank, : len(held)][held] = np.flatnonzero(held)
        self._schedule, self._promise = schedule, promise

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return np.minimum(self.counts[rank, chunk], MANY), self.home[rank, chunk]

    def write(self, moves: Moves, values: Any) -> None:
        counts, home = values
        if not moves.reduce:
            target = (moves.dst, moves.receive_chunk)
            self.counts[target], self.home[target] = counts, home
            return
        for turn in turns(moves):
            target = (moves.dst[turn], moves.receive_chunk[turn])
            own, other = self.home[target], home[turn]
            self.counts[target] += counts[turn]
            self.home[target] = np.where((own == other) & (own >= 0), own, MIXED)

    def wrong(self, writer: Ints | None) -> str | None:
        """What is wrong first, in words."""
        schedule, promise = self._schedule, self._promise
        collective, p = schedule.algorithm.collective, schedule.n_ranks
        part = slice(promise.first_needed, promise.first_needed + schedule.space.n_data)
        counts, home = self.counts[:, part], self.home[:, part]
        if collective.joins:
            bad = (counts < 1).any(axis=2)
        elif promise.origin is None:
            bad = (counts != 1).any(axis=2) | (home != promise.home)
        else:
            wanted = np.arange(p) == promise.origin[..., None]
            bad = (counts != wanted).any(axis=2) | (home != promise.home)
        bad &= promise.needs
        if not bad.any():
            return None
        rank, chunk = (int(i) for i in np.argwhere(bad)[0])
        last = np.array([-1, -1]) if writer is None else writer[rank, part.start + chunk]
        return self._said(rank, chunk, counts[rank, chunk], int(home[rank, chunk]), last)

    def _said(self, rank: int, chunk: int, counts: Ints, home: int, writer: Ints) -> str:
        schedule, promise = self._schedule, self._promise
        collective, p = schedule.algorithm.collective, schedule.n_ranks
        wanted = np.ones(p, dtype=int) if promise.origin is None else np.arange(p) == promise.origin[rank, chunk]
        step, peer = (int(value) for value in writer)
        last = f"last written in step {step} by a message from rank {peer}" if step >= 0 else "never written"
        where = f"chunk {chunk} of its output" if collective.has_output else f"chunk {chunk}"
        if (counts == wanted).all() and not collective.joins:
            held = "of several chunks, or of an empty buffer," if home < 0 else f"of chunk {home}"
            return f"rank {rank} ends with data {held} instead of chunk {promise.home[rank, chunk]} in {where} ({last})"
        off = counts < 1 if collective.joins else counts != wanted
        whose = int(np.argmax(off))
        n, n_wanted = int(counts[whose]), int(wanted[whose])
        if n == 0:
            return f"rank {rank} ends without the value of rank {whose} in {where} ({last})"
        often, rightly = format_count(n, "time"), "once" if n_wanted else "never"
        return f"rank {rank} ends with the value of rank {whose} {often} instead of {rightly} in {where} ({last})"


class Sizes(ProofState):
    """Chunks of the same number have one size for any number of elements; others may differ by one element."""

    def __init__(self, schedule: Schedule) -> None:
        collective, self._n_data = schedule.algorithm.collective, schedule.space.n_data
        self._matrix = collective.sizes_each
        blocks = collective.n_blocks(schedule.n_ranks) if collective.has_output else 1  # an alltoall's are equal
        self._period = self._n_data // blocks

    def _size(self, rank: Ints, chunk: Ints) -> Ints:
        """A number that only equal sizes share: of an alltoallv, from whom and to whom."""
        if not self._matrix:
            return chunk % self._period
        inner, is_output = chunk % self._n_data, chunk >= self._n_data
        return np.where(is_output, inner * self._n_data + rank, rank * self._n_data + inner)

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return None

    def write(self, moves: Moves, values: Any) -> None:
        if not self._matrix and (moves.send_chunk == moves.receive_chunk).all():
            return  # the usual case, cheaply
        differ = self._size(moves.src, moves.send_chunk) != self._size(moves.dst, moves.receive_chunk)
        if differ.any():
            bad = int(np.argmax(differ))
            sent, taken = moves.send_chunk[bad] % self._n_data, moves.receive_chunk[bad] % self._n_data
            raise ScheduleError(
                f"rank {moves.src[bad]} sends chunk {sent} of a buffer into chunk {taken} of a buffer of rank "
                f"{moves.dst[bad]}: where elements do not divide, they differ in size"
            )

    def wrong(self, writer: Ints | None) -> str | None:
        return None


class Intervals(ProofState):
    """The ranks in each chunk as a range low … high, for operations that do not commute: only neighbours may join."""

    def __init__(self, schedule: Schedule, promise: Promise) -> None:
        p, space = schedule.n_ranks, schedule.space
        self.low = np.full((p, space.n_chunks), -1, dtype=np.int32)
        self.high = np.full((p, space.n_chunks), -3, dtype=np.int32)  # next to nothing
        for rank, held in enumerate(promise.holds):
            self.low[rank, : len(held)][held] = self.high[rank, : len(held)][held] = rank
        self._schedule, self._promise = schedule, promise

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return self.low[rank, chunk], self.high[rank, chunk]

    def write(self, moves: Moves, values: Any) -> None:
        low, high = values
        if not moves.reduce:
            target = (moves.dst, moves.receive_chunk)
            self.low[target], self.high[target] = low, high
            return
        first = np.broadcast_to(moves.received_first, len(low))
        for turn in turns(moves):
            target = (moves.dst[turn], moves.receive_chunk[turn])
            own_low, own_high = self.low[target], self.high[target]
            left_low, left_high = (np.where(first[turn], a[turn], b) for a, b in ((low, own_low), (high, own_high)))
            right_low, right_high = (np.where(first[turn], b, a[turn]) for a, b in ((low, own_low), (high, own_high)))
            joins = (left_high + 1 == right_low) & (left_low >= 0)
            self.low[target] = np.where(joins, left_low, -1)
            self.high[target] = np.where(joins, right_high, -3)

    def wrong(self, writer: Ints | None) -> str | None:
        """What is wrong first, in words."""
        schedule, promise = self._schedule, self._promise
        n_data, p = schedule.space.n_data, schedule.n_ranks
        bad = ((self.low[:, :n_data] != 0) | (self.high[:, :n_data] != p - 1)) & promise.needs
        if not bad.any():
            return None
        rank, chunk = (int(i) for i in np.argwhere(bad)[0])
        return (
            f"rank {rank} does not combine the ranks in their order in chunk {chunk}: set received_first, or declare "
            "constraints=(COMMUTATIVE,)"
        )


def turns(moves: Moves) -> list[Any]:
    """Numbers of the moves in groups that write each chunk once, in order."""
    if _distinct(moves):
        return [slice(None)]
    key = moves.dst * (int(moves.receive_chunk.max()) + 1) + moves.receive_chunk
    order = np.argsort(key, kind="stable")
    turn = np.empty(len(key), dtype=np.int64)
    turn[order] = np.arange(len(key)) - np.searchsorted(key[order], key[order])
    return [np.flatnonzero(turn == number) for number in range(int(turn.max()) + 1)]


def _distinct(moves: Moves) -> bool:
    """Whether every chunk is written once (ranks in order, each receiving one message: the usual case)."""
    if moves.one_each or len(moves.dst) < 2:
        return True
    steps = np.diff(moves.dst)
    if (steps > 0).all():
        return True
    key = moves.dst * (int(moves.receive_chunk.max()) + 1) + moves.receive_chunk
    if (np.diff(key) > 0).all():
        return True
    return len(np.unique(key)) == len(key)
