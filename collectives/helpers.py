"""Pieces that most algorithms are made of: numbers of rounds; programs backwards, side by side, behind one another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, zip_longest
from typing import Any

from commsim import PROC_NULL, Exchange, Program, Rank, Step, lanes, where
from commsim.errors import ScheduleError
from commsim.program import Lanes, PlainStep, unrolled


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


def distances(n_ranks: int, radix: int) -> list[range]:
    """For each digit of a distance below `n_ranks`, lowest first: the distances that have this digit only.

    Of 7 ranks and radix 3: 1 and 2, 3 and 6. The step of a range is the place of its digit.
    """
    places = (radix**digit for digit in range(rounds(n_ranks, radix)))
    return [range(place, min(radix * place, n_ranks), place) for place in places]


def binomial_edges(virtual: Rank, rank: Rank, n_ranks: int, half: int) -> tuple[Rank, Rank]:
    """In the round of a binomial tree that spans `half`: whom a rank sends to, and whom it receives from.

    ``virtual`` is the rank counted from the root.
    """
    gives = (virtual % (2 * half) == 0) & (virtual + half < n_ranks)
    takes = virtual % (2 * half) == half
    return where(gives, (rank + half) % n_ranks, PROC_NULL), where(takes, (rank - half) % n_ranks, PROC_NULL)


def mirrored(rank: Rank, n_ranks: int, program: Program, *, reduce: bool, **params: Any) -> Iterator[Step]:
    """A program backwards, every message the other way: reduce from broadcast, gather from scatter, and so on.

    Parameters
    ----------
    rank, n_ranks
        As the program has them.
    program : callable
        ``program(rank, n_ranks, **params)``, without lanes, that brings every chunk to every rank at most once. Its
        steps are all kept.
    reduce : bool
        Combine (reduce from broadcast, reduce_scatter from allgather) instead of replacing (gather from scatter).
    params
        The program's own.
    """
    steps = list(unrolled(program(rank, n_ranks, **params)))
    while steps:  # what was given is let go of
        yield [mirror(e, reduce=reduce) for e in reversed(_exchanges(steps.pop()))]


def mirror(e: Exchange, *, reduce: bool) -> Exchange:
    """The same messages the other way; see :func:`mirrored`."""
    return replace(e, sends=e.receives, receives=e.sends, reduce=reduce)


def beside(programs: Sequence[Iterator[Step]]) -> Iterator[Step]:
    """Programs side by side: their exchanges in common steps."""
    if len(programs) == 1:
        yield from programs[0]
        return
    for steps in zip_longest(*map(unrolled, programs), fillvalue=()):
        yield [e for step in steps for e in _exchanges(step)]


def pipelined(programs: Iterable[Iterator[Step]]) -> Iterator[Step]:
    """Programs that each begin one step behind the one before, their exchanges in common steps."""
    waiting, running = iter(programs), list[Iterator[PlainStep]]()
    while True:
        running += map(unrolled, islice(waiting, 1))
        now = [(program, step) for program in running if (step := next(program, None)) is not None]
        if not now:
            return
        running = [program for program, _ in now]
        yield [e for _, step in now for e in _exchanges(step)]


def staggered(programs: Iterable[Iterator[Step]], stagger: int = 1) -> Iterator[Step]:
    """Programs that each begin so many steps behind the one before, and then go on by their own clocks."""
    yield lanes(*programs, stagger=stagger)


def _exchanges(step: PlainStep | tuple[()]) -> Sequence[Exchange]:
    if isinstance(step, Lanes):
        raise ScheduleError("a program with lanes can neither be mirrored nor share its steps with another")
    return step
