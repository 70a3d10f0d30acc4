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
from commsim.states import Counting, Intervals, Promise, ProofState, Sizes, turns
from commsim.units import format_count, format_volume

COUNTED_BYTES = 1 << 28  # a state of counts up to so large; beyond that, fingerprints
RANK_BYTES, FINGERPRINT_BYTES, INTERVAL_BYTES = 200, 4, 8  # what proving takes at least: of a rank, of its chunks
MEANS = ("auto", "counting", "fingerprints")


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
    _require_memory(schedule, (count_bytes if counted else FINGERPRINT_BYTES) + INTERVAL_BYTES * schedule.keeps_order)
    promise = Promise.of(schedule)
    states: list[ProofState] = [Counting(schedule, promise) if counted else _fingerprints(schedule, promise)]
    if not collective.joins:
        states.append(Sizes(schedule))
    if schedule.keeps_order:
        states.append(Intervals(schedule, promise))
    writer = np.full((n_ranks, space.n_chunks, 2), -1) if counted else None
    done = run_in_process(schedule, states, writer)
    for state in states:
        wrong = state.wrong(writer)
        if wrong:
            article = "an" if collective.name[0] in "aeiou" else "a"
            with_root = f" with root {root}" if collective.rooted else ""
            case = f"{schedule.algorithm.name} on {format_count(n_ranks, 'rank')}{with_root}"
            raise VerificationError(f"{case} is not {article} {collective.name}: {wrong}")
    shown = f"{means} and order" if schedule.keeps_order else means
    return Verification(
        schedule.algorithm.spec, collective.name, n_ranks, root, space.n_data, done.n_steps, done.n_messages, shown
    )


def _fingerprints(schedule: Schedule, promise: Promise) -> ProofState:
    from commsim.fingerprints import Fingerprints  # needs numba, which takes a second to load

    return Fingerprints(schedule, promise)


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
        for turn in turns(moves):
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
