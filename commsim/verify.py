"""Proof that a schedule does what its collective promises.

Five means. *Sizes*: both ends of every message are equally long, for any number of elements. *Counting*: how often each
rank's data is in each chunk of each rank; a multiset, not a mark. *Fingerprints*, for thousands of ranks: every (rank,
chunk) starts as a random number, and reductions add modulo a prime; a wrong schedule ends right with a probability of
1 in 2^31. *Intervals*, where the order of ranks must be kept: a value is a range of ranks, and only neighbours join.
*Execution* on numpy buffers (:func:`execute_in_process`), which knows no promises.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from commsim.algorithm import Algorithm
from commsim.errors import InputError, ScheduleError, VerificationError, unknown_name
from commsim.execution import Moves, run_in_process
from commsim.layout import Layout, MatrixLayout
from commsim.messages import placed
from commsim.program import Exchange, Lanes
from commsim.schedule import Schedule
from commsim.selection import Ints
from commsim.units import format_volume

COUNTED_BYTES = 1 << 28  # a state of counts up to so large; beyond that, fingerprints
RANK_BYTES, FINGERPRINT_BYTES, INTERVAL_BYTES = 200, 4, 8  # what proving takes at least: of a rank, of its chunks
MANY = 2**31  # what is counted no further
PRIME = 2**31 - 1
MEANS = ("auto", "counting", "fingerprints")
UNDEFINED, MIXED = -1, -2  # instead of the number of a chunk: nothing was there; chunks were mixed


@dataclass(frozen=True)
class Verification:
    """What was proven: this algorithm, on so many ranks, in so many steps and messages, by these means."""

    algorithm: str
    collective: str
    n_ranks: int
    root: int
    n_chunks: int
    n_steps: int
    n_messages: int
    means: str


@dataclass(frozen=True)
class _Promise:
    """What a schedule's ranks hold and need, chunk by chunk, arrays (n_ranks, n_data)."""

    holds: NDArray[np.bool_]
    needs: NDArray[np.bool_]
    origin: Ints | None  # whose data is needed; None: everyone's
    home: Ints  # which chunk of theirs
    first_needed: int  # where the needed chunks begin in the space: 0, or the output

    @staticmethod
    def of(schedule: Schedule) -> _Promise:
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
        return _Promise(holds, needs, origin, np.broadcast_to(home, (p, space.n_data)), first)


class _Counting:
    """A multiset of ranks for each chunk, and which chunk of theirs it is."""

    def __init__(self, schedule: Schedule, promise: _Promise) -> None:
        p, space = schedule.n_ranks, schedule.space
        self.counts = np.zeros((p, space.n_chunks, p), dtype=np.int64)
        self.home = np.full((p, space.n_chunks), UNDEFINED)
        rank, chunk = np.nonzero(promise.holds)
        self.counts[rank, chunk, rank] = 1
        self.home[rank, chunk] = chunk
        self._schedule, self._promise = schedule, promise

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return np.minimum(self.counts[rank, chunk], MANY), self.home[rank, chunk]

    def write(self, moves: Moves, values: Any) -> None:
        counts, home = values
        if not moves.reduce:
            target = (moves.dst, moves.receive_chunk)
            self.counts[target], self.home[target] = counts, home
            return
        for turn in _turns(moves):
            target = (moves.dst[turn], moves.receive_chunk[turn])
            own, other = self.home[target], home[turn]
            self.counts[target] += counts[turn]
            self.home[target] = np.where((own == other) & (own >= 0), own, MIXED)

    def wrong(self, writer: Ints) -> str | None:
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
        return self._said(rank, chunk, counts[rank, chunk], int(home[rank, chunk]), writer[rank, part.start + chunk])

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
        least = "at least " * collective.joins
        times = f"{counts[whose]} times instead of {least}{int(wanted[whose])}"
        return f"rank {rank} ends with the value of rank {whose} {times} in {where} ({last})"


class _Sizes:
    """Chunks of the same number have one size for any number of elements; others may differ by one element."""

    def __init__(self, schedule: Schedule) -> None:
        collective, self._n_data = schedule.algorithm.collective, schedule.space.n_data
        self._matrix = collective.sizes_each
        blocks = (
            collective.n_blocks(schedule.n_ranks) if collective.has_output else 1
        )  # blocks of an alltoall are equal
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

    def wrong(self, writer: Ints) -> str | None:
        return None


class _Fingerprints:
    """A number modulo a prime for each chunk: the sum of what was combined in it.

    ``values`` has a row for each rank; or, where messages carry single chunks, a row for each distance of chunk and
    rank: a ring then finds what it needs side by side.
    """

    def __init__(self, schedule: Schedule, promise: _Promise) -> None:
        self._schedule, self._promise = schedule, promise
        self._n_ranks, self._width = schedule.n_ranks, schedule.space.n_chunks
        self._by_distance = _single_chunks(schedule)
        shape = (self._width, self._n_ranks) if self._by_distance else (self._n_ranks, self._width)
        self.values = np.empty(shape, dtype=np.uint32)
        self._flat = self.values.ravel()
        self._total = np.zeros(schedule.space.n_data, dtype=np.int64)
        for number, row in enumerate(self.values):
            rank, chunk = self._place(number)
            row[:] = _random(rank, chunk, 0)
            is_data = chunk < schedule.space.n_data
            held, data = promise.holds[rank[is_data], chunk[is_data]], chunk[is_data]
            self._total += np.bincount(data, row[is_data], len(self._total)).astype(np.int64)  # exact: below 2^53
            row[is_data] = np.where(held, row[is_data], _random(rank[is_data], data, 1))  # what is not held differs
        self._total %= PRIME

    def _place(self, number: int) -> tuple[Ints, Ints]:
        """Rank and chunk of the values of a row."""
        if not self._by_distance:
            return np.full(self._width, number), np.arange(self._width)
        rank = np.arange(self._n_ranks)
        return rank, (rank + number) % self._width

    def _at(self, rank: Ints, chunk: Ints) -> Ints:
        if not self._by_distance:
            return rank * self._width + chunk
        distance = chunk - rank
        if self._n_ranks > self._width:
            distance %= self._width
        else:
            distance += (distance < 0) * self._width
        return distance * self._n_ranks + rank

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return self._flat.take(self._at(rank, chunk))

    def write(self, moves: Moves, values: Any) -> None:
        target = self._at(moves.dst, moves.receive_chunk)
        if not moves.reduce:
            self._flat[target] = values
        elif _distinct(moves):
            total = self._flat.take(target)
            total += values
            np.subtract(total, PRIME, out=total, where=total >= PRIME)
            self._flat[target] = total
        else:
            chunk, which = np.unique(target, return_inverse=True)
            arrived = np.zeros(len(chunk), dtype=np.uint64)
            np.add.at(arrived, which, values.astype(np.uint64))
            self._flat[chunk] = (self._flat[chunk] + arrived) % PRIME

    def wrong(self, writer: Ints) -> str | None:
        """What is wrong first, in words."""
        schedule, promise = self._schedule, self._promise
        n_data, first = schedule.space.n_data, promise.first_needed
        for number, row in enumerate(self.values):
            rank, chunk = self._place(number)
            mine = (chunk >= first) & (chunk < first + n_data)
            rank, chunk, found = rank[mine], chunk[mine] - first, row[mine]
            home = promise.home[rank, chunk]
            wanted: Any = self._total[home]
            if promise.origin is not None:
                wanted = _random(promise.origin[rank, chunk], home, 0)
            bad = (found != wanted) & promise.needs[rank, chunk]
            if bad.any():
                at = int(np.argmax(bad))
                what = schedule.algorithm.collective.end_s()
                return f"rank {rank[at]} does not end with {what} in chunk {chunk[at]}"
        return None


def _single_chunks(schedule: Schedule) -> bool:
    """Whether the messages of the first step that has any carry one chunk each."""
    for step in schedule:
        if isinstance(step, Lanes):
            return False
        for exchange in step:
            if len(exchange.sends.row):
                return bool(np.all(np.asarray(exchange.sends.selection.n_selected()) == 1))
    return False


def _random(rank: Any, chunk: Any, salt: int) -> NDArray[np.uint32]:
    """Numbers below the prime that depend on all three, scattered as SplitMix64 does (Steele et al., OOPSLA 2014)."""
    x = (np.asarray(rank).astype(np.uint64) << np.uint64(32)) + np.asarray(chunk).astype(np.uint64)
    x += np.uint64((salt + 1) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    return (x >> np.uint64(33)).astype(np.uint32) % np.uint32(PRIME)


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


class _Intervals:
    """The ranks in each chunk as a range low … high, for operations that do not commute: only neighbours may join."""

    def __init__(self, schedule: Schedule, promise: _Promise) -> None:
        p, space = schedule.n_ranks, schedule.space
        self.low = np.full((p, space.n_chunks), -1, dtype=np.int32)
        self.high = np.full((p, space.n_chunks), -3, dtype=np.int32)  # next to nothing
        rank, chunk = np.nonzero(promise.holds)
        self.low[rank, chunk] = self.high[rank, chunk] = rank
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
        for turn in _turns(moves):
            target = (moves.dst[turn], moves.receive_chunk[turn])
            own_low, own_high = self.low[target], self.high[target]
            left_low, left_high = (np.where(first[turn], a[turn], b) for a, b in ((low, own_low), (high, own_high)))
            right_low, right_high = (np.where(first[turn], b, a[turn]) for a, b in ((low, own_low), (high, own_high)))
            joins = (left_high + 1 == right_low) & (left_low >= 0)
            self.low[target] = np.where(joins, left_low, -1)
            self.high[target] = np.where(joins, right_high, -3)

    def wrong(self, writer: Ints) -> str | None:
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


def _turns(moves: Moves) -> list[Any]:
    """Numbers of the moves in groups that write each chunk once, in order."""
    if _distinct(moves):
        return [slice(None)]
    key = moves.dst * (int(moves.receive_chunk.max()) + 1) + moves.receive_chunk
    order = np.argsort(key, kind="stable")
    turn = np.empty(len(key), dtype=np.int64)
    turn[order] = np.arange(len(key)) - np.searchsorted(key[order], key[order])
    return [np.flatnonzero(turn == number) for number in range(int(turn.max()) + 1)]


def verify(algorithm: Algorithm, n_ranks: int, *, root: int = 0, means: str = "auto") -> Verification:
    """Prove that `algorithm` is right on `n_ranks` ranks.

    Parameters
    ----------
    algorithm : Algorithm
        Open parameters take their defaults. Unless it is commutative, the order of ranks is proven too.
    n_ranks, root : int
    means : {"auto", "counting", "fingerprints"}
        By itself: counting as long as the counts take less than 256 MiB.

    Returns
    -------
    Verification

    Raises
    ------
    VerificationError
        Where a chunk ends with the wrong contributions; names rank, chunk, and the step and peer that wrote it last.
    ScheduleError
        Where the two ends of an exchange do not fit, or a step writes a chunk twice.
    RefusedError
        If the algorithm does not take this number of ranks.
    InputError
        If there is not enough memory, or if a barrier is to be proven by fingerprints.
    """
    if means not in MEANS:
        raise unknown_name("means of proof", means, MEANS)
    schedule = Schedule(algorithm.resolved(n_ranks), n_ranks, root)
    collective, space = schedule.algorithm.collective, schedule.space
    count_bytes = 8 * n_ranks  # of a chunk
    if means == "auto":
        small = count_bytes * n_ranks * space.n_chunks <= COUNTED_BYTES
        means = "counting" if small or collective.joins else "fingerprints"
    if collective.joins and means != "counting":
        raise InputError(f"a {collective.name} is proven by counting alone: a rank may be heard of more than once")
    counted = means == "counting"
    _require_memory(schedule, (count_bytes if counted else FINGERPRINT_BYTES) + INTERVAL_BYTES * algorithm.keeps_order)
    promise = _Promise.of(schedule)
    states: list[Any] = [_Counting(schedule, promise) if counted else _Fingerprints(schedule, promise)]
    if not collective.joins:
        states.append(_Sizes(schedule))
    if schedule.keeps_order:
        states.append(_Intervals(schedule, promise))
    writer = np.full((n_ranks, space.n_chunks, 2), -1) if counted else None
    done = run_in_process(schedule, states, writer)
    for state in states:
        wrong = state.wrong(writer)
        if wrong:
            article = "an" if collective.name[0] in "aeiou" else "a"
            with_root = f" with root {root}" if collective.rooted else ""
            raise VerificationError(
                f"{schedule.algorithm.name} on {n_ranks} ranks{with_root} is not {article} {collective.name}: {wrong}"
            )
    shown = f"{means} and order" if schedule.keeps_order else means
    return Verification(
        schedule.algorithm.spec, collective.name, n_ranks, root, space.n_data, done.n_steps, done.n_messages, shown
    )


def _require_memory(schedule: Schedule, chunk_bytes: int) -> None:
    """Refuse what would run out of memory, where the needed bytes of each rank's chunks are known."""
    needed = schedule.n_ranks * (RANK_BYTES + chunk_bytes * schedule.space.n_chunks)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        raise InputError(
            f"{schedule.algorithm.name}: proving {schedule.n_ranks} ranks of {schedule.space.n_chunks} chunks takes at "
            f"least {format_volume(needed)}; this host has {format_volume(memory)}"
        )


def same_program(algorithm: Algorithm, n_ranks: int, rank: int, *, root: int = 0) -> None:
    """Check that the program of one int rank is that rank's part of the program of all ranks, step by step.

    Raises
    ------
    ScheduleError
        Naming rank and step.
    """
    resolved = algorithm.resolved(n_ranks)
    everyone, alone = Schedule(resolved, n_ranks, root), Schedule(resolved, n_ranks, root, rank)
    _same_steps(iter(everyone), iter(alone), rank, alone, "")


def _same_steps(everyone: Any, alone: Any, rank: int, schedule: Schedule, lane: str) -> None:
    for index, (theirs, mine) in enumerate(zip_longest(everyone, alone)):
        if isinstance(theirs, Lanes) and isinstance(mine, Lanes) and _fork(theirs) == _fork(mine):
            for number, pair in enumerate(zip(theirs.programs, mine.programs, strict=True)):
                _same_steps(*pair, rank, schedule, f"{lane}lane {number} ")
            continue
        same = isinstance(theirs, list) and isinstance(mine, list)
        if same:
            same = _parts([part.of_rank(rank) for part in theirs], schedule, index) == _parts(mine, schedule, index)
        if not same:
            raise ScheduleError(
                f"{schedule.at(index, lane)}: the program of rank {rank} alone differs from that of all ranks: the "
                "text must not ask whether rank is an int or an array"
            )


def _fork(lanes: Lanes) -> tuple[int, int]:
    return len(lanes.programs), lanes.stagger


def _parts(step: list[Exchange], schedule: Schedule, index: int) -> list[tuple[object, ...]]:
    """What one rank's exchanges do, in a form that compares; those in which it is idle do not count."""
    parts = [_part(exchange, schedule, index) for exchange in step]
    return [part for part in parts if part[0] or part[1]]


def _part(exchange: Exchange, schedule: Schedule, index: int) -> tuple[object, ...]:
    sides: list[object] = []
    for side in (exchange.sends, exchange.receives):
        line, chunk = placed(side, schedule, index).expand(len(side.row))
        taken = [chunk[line == number].tolist() for number in range(len(side.row))]
        ends = list(zip(side.peer.tolist(), taken, strict=True))
        sides.append(ends if side is exchange.receives and exchange.reduce else sorted(ends))
    reduce = exchange.reduce and bool(sides[1])
    first = np.broadcast_to(exchange.received_first, len(exchange.receives.row)).tolist() if reduce else []
    return (*sides, reduce, first, exchange.fabric)


Operation = Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]


class _Buffers:
    """Elements of all chunks of every rank, (n_ranks, n_chunks, width): chunks are padded to the largest."""

    def __init__(self, schedule: Schedule, layout: Layout, vectors: NDArray[Any], op: Operation) -> None:
        self._schedule, self._layout, self._op = schedule, layout, op
        p, n_chunks, n_data = schedule.n_ranks, schedule.space.n_chunks, schedule.space.n_data
        chunk = np.arange(n_chunks)
        bounds = [layout.bounds(chunk, rank) for rank in range(p)]
        self._begin, end = (np.stack([bound[side] for bound in bounds]) for side in (0, 1))
        self.sizes = end - self._begin
        self.values = np.zeros((p, n_chunks, int(self.sizes.max(initial=0))), vectors.dtype)
        for rank, vector in enumerate(vectors):
            place, inside = self._places(rank, slice(0, n_data))
            self.values[rank, :n_data][inside] = vector[place[inside]]

    def _places(self, rank: int, chunks: slice) -> tuple[Ints, NDArray[np.bool_]]:
        """Where in the rank's elements those of the chunks lie, and which of the padded ones are real."""
        offset = np.arange(self.values.shape[2])
        return self._begin[rank, chunks, None] + offset, offset < self.sizes[rank, chunks, None]

    def read(self, rank: Ints, chunk: Ints) -> Any:
        return self.values[rank, chunk], self.sizes[rank, chunk]

    def write(self, moves: Moves, values: Any) -> None:
        arrived, sizes = values
        fits = sizes == self.sizes[moves.dst, moves.receive_chunk]
        if not fits.all():
            bad = int(np.argmin(fits))
            rank, chunk = int(moves.dst[bad]), int(moves.receive_chunk[bad])
            raise ScheduleError(
                f"{sizes[bad]} elements arrive at rank {rank} in chunk {chunk}, which has {self.sizes[rank, chunk]}"
            )
        if not moves.reduce:
            self.values[moves.dst, moves.receive_chunk] = arrived
            return
        first = np.broadcast_to(moves.received_first, len(sizes))
        for turn in _turns(moves):
            target = (moves.dst[turn], moves.receive_chunk[turn])
            own, other, left = self.values[target], arrived[turn], first[turn][:, None]
            self.values[target] = self._op(np.where(left, other, own), np.where(left, own, other))

    def elements(self, rank: int, chunks: slice) -> NDArray[Any]:
        """The elements of some chunks of a rank, one behind the other."""
        return self.values[rank, chunks][self._places(rank, chunks)[1]]


def execute_in_process(
    algorithm: Algorithm,
    buffers: NDArray[Any],
    *,
    root: int = 0,
    op: Operation = np.add,
    counts: Ints | None = None,
) -> NDArray[Any]:
    """Run all ranks of `algorithm` on numpy buffers in this process, by the same rules as on real ranks.

    Parameters
    ----------
    algorithm : Algorithm
    buffers : array (n_ranks, n_elements)
        Row r is rank r's vector; it is not changed.
    root : int
    op : callable
        Associative, elementwise; the left operand first. It must commute if the algorithm says so.
    counts : array (n_ranks, n_ranks), optional
        For alltoallv: elements that each rank sends to each; of a row of `buffers` only their sum is used.

    Returns
    -------
    array (n_ranks, n_elements)
        What each rank's vector, or its output, holds at the end. Where a rank receives fewer elements (alltoallv) the
        rest is 0.

    Raises
    ------
    InputError
        If `buffers` is not two-dimensional.
    """
    if buffers.ndim != 2 or len(buffers) == 0:
        raise InputError(f"buffers must be (n_ranks, n_elements) of at least one rank, not of shape {buffers.shape}")
    n_ranks, n_elements = buffers.shape
    resolved = algorithm.resolved(n_ranks, buffers[0].nbytes)
    schedule = Schedule(resolved, n_ranks, root)
    layout: Layout
    if counts is not None:
        layout = MatrixLayout.of_counts(schedule.space, counts, buffers.itemsize)
    else:
        layout = Layout.of(schedule.space, resolved.collective, n_ranks, n_elements, buffers.itemsize)
    state = _Buffers(schedule, layout, buffers, op)
    run_in_process(schedule, [state])
    first = schedule.space.n_data if resolved.collective.has_output else 0
    found = [state.elements(rank, slice(first, first + schedule.space.n_data)) for rank in range(n_ranks)]
    done = np.zeros((n_ranks, max(len(row) for row in found)), buffers.dtype)
    for row, elements in zip(done, found, strict=True):
        row[: len(elements)] = elements
    return done
