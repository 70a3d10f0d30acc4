"""Proof that a schedule does what its collective promises: exact counting, and execution on numpy buffers.

Both run all ranks of a schedule step by step: what is sent is the state before the step, what arrives is applied in
the order of exchanges. Counting keeps how often each rank's value is in each chunk of each rank: no mark, a multiset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from commsim.algorithm import Algorithm
from commsim.errors import InputError, ScheduleError, VerificationError
from commsim.layout import Layout
from commsim.messages import Matcher
from commsim.program import Exchange, Ints
from commsim.schedule import Schedule


@dataclass(frozen=True)
class Verification:
    """What was proven: this algorithm, on so many ranks, in so many steps and messages."""

    algorithm: str
    collective: str
    n_ranks: int
    root: int
    n_chunks: int
    n_steps: int
    n_messages: int


@dataclass(frozen=True)
class _Moves:
    """One exchange, chunk by chunk, arrays (n,): ``send_chunk`` of ``src`` goes into ``receive_chunk`` of ``dst``."""

    step: int
    src: Ints
    dst: Ints
    send_chunk: Ints
    receive_chunk: Ints
    reduce: bool
    n_messages: int


def verify(algorithm: Algorithm, n_ranks: int, *, root: int = 0) -> Verification:
    """Prove by exact counting that `algorithm` is right on `n_ranks` ranks.

    Parameters
    ----------
    algorithm : Algorithm
        Open parameters take their defaults.
    n_ranks, root : int

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
    """
    schedule = Schedule(algorithm.resolved(n_ranks), n_ranks, root)
    counts = np.zeros((n_ranks, schedule.n_chunks, n_ranks), dtype=np.int64)
    counts[np.arange(n_ranks), :, np.arange(n_ranks)] = 1
    writer = np.full((n_ranks, schedule.n_chunks, 2), -1)
    n_messages = n_steps = 0
    for step in _steps(schedule):
        n_steps += 1
        sent = [counts[moves.src, moves.send_chunk] for moves in step]
        for moves, value in zip(step, sent, strict=True):
            n_messages += moves.n_messages
            target = (moves.dst, moves.receive_chunk)
            if moves.reduce:
                np.add.at(counts, target, value)
            else:
                counts[target] = value
            writer[target] = np.stack([np.full(len(moves.src), moves.step), moves.src], axis=-1)
    wanted = schedule.algorithm.collective.wanted(n_ranks, root)[:, None, :]
    if not (counts == wanted).all():
        raise VerificationError(_first_wrong(schedule, counts, np.broadcast_to(wanted, counts.shape), writer))
    name = schedule.algorithm.collective.name
    return Verification(schedule.algorithm.spec, name, n_ranks, root, schedule.n_chunks, n_steps, n_messages)


def _steps(schedule: Schedule) -> Iterator[list[_Moves]]:
    """All exchanges of each step, chunk by chunk, checked to fit and not to overwrite one another."""
    matcher = Matcher(schedule)
    for index, step in enumerate(schedule):
        moves = []
        for exchange in step:
            messages = matcher.messages(exchange, index)
            n = len(messages.src)
            row, send_chunk = messages.send.within_buffer(schedule.n_chunks).expand(n)
            _, receive_chunk = messages.receive.within_buffer(schedule.n_chunks).expand(n)
            src, dst = messages.src[row], messages.dst[row]
            moves.append(_Moves(index, src, dst, send_chunk, receive_chunk, exchange.reduce, n))
        _refuse_conflicts(schedule, moves)
        yield moves


def _refuse_conflicts(schedule: Schedule, moves: list[_Moves]) -> None:
    """Two writes to one chunk in a step, unless both are reductions, have no defined result."""
    keys = [move.dst * schedule.n_chunks + move.receive_chunk for move in moves]
    targets = np.concatenate(keys) if keys else np.empty(0, dtype=np.int64)
    copies = (
        np.concatenate([np.full(len(key), not m.reduce) for key, m in zip(keys, moves, strict=True)])
        if keys
        else targets
    )
    unique, inverse, count = np.unique(targets, return_inverse=True, return_counts=True)
    clash = copies.astype(bool) & (count[inverse] > 1)
    if clash.any():
        rank, chunk = divmod(int(unique[inverse[np.argmax(clash)]]), schedule.n_chunks)
        raise ScheduleError(
            f"{schedule.algorithm.name}, step {moves[0].step}: chunk {chunk} of rank {rank} is written twice"
        )


def _first_wrong(schedule: Schedule, counts: Ints, wanted: Ints, writer: Ints) -> str:
    rank, chunk, whose = (int(i) for i in np.argwhere(counts != wanted)[0])
    step, peer = (int(value) for value in writer[rank, chunk])
    last = f"last written in step {step} by a message from rank {peer}" if step >= 0 else "never written"
    collective = schedule.algorithm.collective.name
    return (
        f"{schedule.algorithm.name} on {schedule.n_ranks} ranks is no {collective}: rank {rank} "
        f"ends with the value of rank {whose} {counts[rank, chunk, whose]} times instead of "
        f"{wanted[rank, chunk, whose]} in chunk {chunk} ({last})"
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
    for index, (all_of_it, mine) in enumerate(zip_longest(everyone, alone)):
        parts = None if all_of_it is None else [_part(exchange, rank, alone) for exchange in all_of_it]
        if mine is None or parts != [_part(exchange, 0, alone) for exchange in mine]:
            raise ScheduleError(
                f"{alone.at(index)}: the program of rank {rank} alone differs from that of all ranks: the text must "
                "not ask whether rank is an int or an array"
            )


def _part(exchange: Exchange, row: int, schedule: Schedule) -> tuple[object, ...]:
    """What one row of an exchange does, in a form that compares."""
    sides: list[object] = []
    for side in (exchange.sends, exchange.receives):
        mine = np.flatnonzero(side.row == row)
        selection = side.selection.within_buffer(schedule.n_chunks).rows(mine)
        columns = (np.broadcast_to(value, len(mine)).tolist() for value in selection.values())
        sides.append(sorted(zip(side.peer[mine].tolist(), *columns, strict=True)))
    return (*sides, exchange.reduce and bool(sides[1]))


def execute_in_process(
    algorithm: Algorithm,
    buffers: NDArray[np.generic],
    *,
    root: int = 0,
    op: Callable[[NDArray[np.generic], NDArray[np.generic]], NDArray[np.generic]] = np.add,
) -> NDArray[np.generic]:
    """Run all ranks of `algorithm` on numpy buffers in this process, by the same rules as on real ranks.

    Parameters
    ----------
    algorithm : Algorithm
    buffers : array (n_ranks, n_elements)
        Row r is rank r's vector; it is not changed.
    root : int
    op : callable
        Commutative and associative, elementwise.

    Returns
    -------
    array (n_ranks, n_elements)
        What each rank holds at the end.

    Raises
    ------
    InputError
        If `buffers` is not two-dimensional.
    """
    if buffers.ndim != 2 or len(buffers) == 0:
        raise InputError(f"buffers must be (n_ranks, n_elements) of at least one rank, not of shape {buffers.shape}")
    n_ranks, n_elements = buffers.shape
    state = buffers.copy()
    resolved = algorithm.resolved(n_ranks, buffers[0].nbytes)
    schedule = Schedule(resolved, n_ranks, root)
    layout = Layout(n_elements, schedule.n_chunks, buffers.itemsize)
    for step in _steps(schedule):
        sent = [[state[s, _chunk(layout, c)].copy() for s, c in zip(m.src, m.send_chunk, strict=True)] for m in step]
        for moves, values in zip(step, sent, strict=True):
            for dst, chunk, value in zip(moves.dst, moves.receive_chunk, values, strict=True):
                target = state[dst, _chunk(layout, chunk)]
                if len(target) != len(value):
                    raise ScheduleError(
                        f"{schedule.algorithm.name}, step {moves.step}: {len(value)} elements arrive at rank {dst} in "
                        f"chunk {chunk}, which has {len(target)}"
                    )
                target[...] = op(target, value) if moves.reduce else value
    return state


def _chunk(layout: Layout, chunk: int) -> slice:
    return slice(int(layout.offsets[chunk]), int(layout.offsets[chunk + 1]))
