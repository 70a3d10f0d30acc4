"""Pieces that several algorithms are made of, each written once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from commsim import (
    PROC_NULL,
    Constraint,
    Exchange,
    Groups,
    Program,
    Rank,
    Selection,
    Step,
    chunks,
    exchange,
    where,
    within,
)
from commsim.errors import ScheduleError
from commsim.program import Lanes
from commsim.selection import Ints


def largest_power_of_two(n_ranks: int) -> int:
    """The largest power of two that is at most `n_ranks`."""
    return 1 << (n_ranks.bit_length() - 1)


def rounds(n_ranks: int, radix: int = 2) -> int:
    """``ceil(log n_ranks)`` to the base `radix`: the steps after which everyone can have heard of everyone."""
    count, reached = 0, 1
    while reached < n_ranks:
        count, reached = count + 1, reached * radix
    return count


def halvings(n_ranks: int) -> list[int]:
    """``[…, 4, 2, 1]``: the powers of two below `n_ranks`, largest first."""
    return [1 << k for k in reversed(range(rounds(n_ranks)))]


def folded(
    rank: Rank,
    n_ranks: int,
    program: Program,
    *,
    n_chunks: int,
    left: int | None = None,
    back: tuple[Selection, Selection] | None = None,
) -> Iterator[Step]:
    """A `program` for fewer ranks, on any number up to twice as many; neighbours act as one.

    The even ranks below ``2*(n_ranks - left)`` hand their vector to the next rank before, and get the result from it
    after (Thakur, Rabenseifner, Gropp 2005, section 4.5). The order of ranks is kept if the program keeps it.

    Parameters
    ----------
    rank, n_ranks
        As the program that is folded has them.
    program : callable
        ``program(rank, n_ranks)``, called for `left` ranks.
    n_chunks : int
        In the vector.
    left : int, optional
        None: the largest power of two.
    back : (Selection, Selection), optional
        The result that is sent and received after. None: the whole vector.
    """
    left = largest_power_of_two(n_ranks) if left is None else left
    up, down = fold_edges(rank, n_ranks, left)
    everything = chunks(0, n_chunks)
    send, receive = back or (everything, everything)
    if left < n_ranks:
        yield [exchange(up, down, send=everything, receive=everything, reduce=True, received_first=True)]
    yield from within([left_after_fold(n_ranks, left).tolist()], rank, program)
    if left < n_ranks:
        yield [exchange(down, up, send=send, receive=receive)]


def fold_edges(rank: Rank, n_ranks: int, left: int) -> tuple[Rank, Rank]:
    """Of the ranks that fold: the partner of one that hands its vector on, and of one that takes it."""
    folds = rank < 2 * (n_ranks - left)
    return where(folds & (rank % 2 == 0), rank + 1, PROC_NULL), where(folds & (rank % 2 == 1), rank - 1, PROC_NULL)


def left_after_fold(n_ranks: int, left: int) -> Ints:
    """The `left` ranks that go on: of every pair the odd one, and those that have no partner."""
    index = np.arange(left)
    return index + np.minimum(index + 1, n_ranks - left)


def fold_cost_s(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, left: int | None = None) -> float:
    """What :func:`folded` adds: nothing where all ranks are left."""
    left = largest_power_of_two(n_ranks) if left is None else left
    return 2 * alpha + 2 * n_bytes * beta + n_bytes * gamma if left < n_ranks else 0.0


def binomial_edges(virtual: Rank, rank: Rank, n_ranks: int, half: int) -> tuple[Rank, Rank]:
    """In the round of a binomial tree that spans `half`: whom a rank sends to, and whom it receives from.

    ``virtual`` is the rank counted from the root.
    """
    gives = (virtual % (2 * half) == 0) & (virtual + half < n_ranks)
    takes = virtual % (2 * half) == half
    return where(gives, (rank + half) % n_ranks, PROC_NULL), where(takes, (rank - half) % n_ranks, PROC_NULL)


def mirrored(rank: Rank, n_ranks: int, program: Program, *, reduce: bool) -> Iterator[Step]:
    """A program backwards, every message the other way: reduce from broadcast, gather from scatter, and so on.

    Parameters
    ----------
    rank, n_ranks
        As the program has them.
    program : callable
        ``program(rank, n_ranks)``, without lanes, that brings every chunk to every rank at most once. It is kept whole.
    reduce : bool
        Combine (reduce from broadcast, reduce_scatter from allgather) instead of replacing (gather from scatter).
    """
    for step in reversed(list(program(rank, n_ranks))):
        if isinstance(step, Lanes):
            raise ScheduleError("a program with lanes cannot be mirrored")
        yield [mirror(e, reduce=reduce) for e in reversed(step)]


def mirror(e: Exchange, *, reduce: bool) -> Exchange:
    """The same messages the other way; see :func:`mirrored`."""
    return replace(e, sends=e.receives, receives=e.sends, reduce=reduce)


MAX_SEGMENTS = 1 << 20


def _no_segments(n_ranks: int, *, segments: int, **others: Any) -> str | None:
    return None if 1 <= segments <= MAX_SEGMENTS else f"segments={segments} must be 1 to {MAX_SEGMENTS}"


SEGMENTS = Constraint("segments", _no_segments)


def segments_by_size(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Segments of 128 KiB (MPICH's chunk of its pipelined broadcasts), at most 1024 of them."""
    return {"segments": min(max(-(-n_bytes // (128 * 1024)), 1), 1024)}
