"""``within``: a program inside groups of ranks, side by side, on a window of the outer chunks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from commsim.errors import ScheduleError
from commsim.program import NOBODY, Exchange, Lanes, Program, Rank, Repeat, Side, Step, unrolled
from commsim.selection import Ints, Selection, Window


def within(
    groups: Sequence[Sequence[int]], rank: Rank, program: Program, window: Window | None = None
) -> Iterator[Step]:
    """Run ``program(local_rank, group_size)`` in every group side by side; ranks outside all groups idle.

    Parameters
    ----------
    groups : sequence of sequences of int
        Disjoint groups; the position in a group is the local rank. Sizes may differ: short programs idle at the end.
    rank : int or array
        The outer rank, as the outer program was given it.
    program : callable
        Takes ``(rank, n_ranks)`` of the group.
    window : Window, optional
        Where the inner chunks lie in the outer buffer; None: they are the same chunks.
    """
    groups = [group for group in groups if len(group)]
    members = np.concatenate([np.asarray(group) for group in groups]) if groups else NOBODY.row
    if members.dtype.kind not in "iu" or members.ndim != 1 or members.min(initial=0) < 0:
        raise ScheduleError(f"groups hold ranks, not {members.tolist()}")
    unique, count = np.unique(members, return_counts=True)
    if len(unique) < len(members):
        twice = unique[np.argmax(count > 1)]
        raise ScheduleError(f"groups must be disjoint, but rank {twice} is in several (or twice in one)")
    by_size: dict[int, list[Sequence[int]]] = {}
    for group in groups:
        by_size.setdefault(len(group), []).append(group)
    everyone = isinstance(rank, np.ndarray)
    streams = [_in_groups(by_size[n], None if everyone else rank, program, window) for n in sorted(by_size)]
    yield from _side_by_side(streams)


def _side_by_side(streams: Sequence[Iterator[Step]]) -> Iterator[Step]:
    """Steps of several disjoint groups as one stream; a fork of lanes in one is a fork in all."""
    if len(streams) == 1:
        yield from streams[0]
        return
    for parts in zip_longest(*map(unrolled, streams), fillvalue=()):
        forks = [part for part in parts if isinstance(part, Lanes)]
        if not forks:
            columns = zip_longest(*(part for part in parts if not isinstance(part, Lanes)))
            yield [e for column in columns for e in _merged([e for e in column if e is not None])]
            continue
        n_lanes = max(len(fork.programs) for fork in forks)
        if len({fork.stagger for fork in forks}) > 1:
            raise ScheduleError("groups of different sizes must fork lanes with the same stagger")
        beside = [iter([part]) if part else iter(()) for part in parts if not isinstance(part, Lanes)]
        lanes = [[fork.programs[k] for fork in forks if k < len(fork.programs)] for k in range(n_lanes)]
        lanes[0] += beside
        yield Lanes(tuple(_side_by_side(lane) for lane in lanes), forks[0].stagger)


def _in_groups(
    groups: list[Sequence[int]], rank: int | None, program: Program, window: Window | None
) -> Iterator[Step]:
    """The steps of groups of one size, in outer ranks: of all, or of one rank (idle if it is in none of them)."""
    members = np.array(groups, dtype=np.int64)
    size = members.shape[1]
    if rank is None:
        yield from _embedded(program(np.arange(size), size), members, window, keep_rows=False)
        return
    home = np.argwhere(members == rank)
    if len(home):
        group, local = int(home[0, 0]), int(home[0, 1])
        yield from _embedded(program(local, size), members[group : group + 1], window, keep_rows=True)
    else:  # an outsider only learns how many steps there are
        yield from _idle(program(0, size))


def _idle(steps: Iterator[Step]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Lanes):
            yield Lanes(tuple(_idle(lane) for lane in step.programs), step.stagger)
        elif isinstance(step, Repeat):
            yield step.map(lambda _: _IDLE)
        else:
            yield [_IDLE for _ in step]


def _embedded(steps: Iterator[Step], members: Ints, window: Window | None, *, keep_rows: bool) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Lanes):
            programs = (_embedded(lane, members, window, keep_rows=keep_rows) for lane in step.programs)
            yield Lanes(tuple(programs), step.stagger)
        elif isinstance(step, Repeat):
            yield step.map(lambda e: _embedded_exchange(e, members, window, keep_rows=keep_rows))
        else:
            yield [_embedded_exchange(e, members, window, keep_rows=keep_rows) for e in step]


def _embedded_exchange(inner: Exchange, members: Ints, window: Window | None, *, keep_rows: bool) -> Exchange:
    def embed(side: Side) -> Side:
        rows = side.row if keep_rows else members[:, side.row].ravel()
        selection = side.selection.tiled(len(members))
        if window is not None:
            selection = selection.inside(window, None if keep_rows else rows)
        return Side(rows, members[:, side.peer].ravel(), selection)

    first: Any = inner.received_first
    first = np.tile(first, len(members)) if isinstance(first, np.ndarray) else first
    group = None if inner.group is None else members[0, inner.group]
    sides = embed(inner.sends), embed(inner.receives)
    return Exchange(*sides, inner.reduce, inner.one_each, first, inner.fabric, group)


def _merged(parts: list[Exchange]) -> list[Exchange]:
    """Exchanges of different groups as one; those that differ in what they do stay apart."""
    kinds: dict[tuple[object, ...], list[Exchange]] = {}
    for part in parts:
        if len(part.sends.row) or len(part.receives.row):
            lists = [side.selection.index is not None for side in (part.sends, part.receives)]
            kinds.setdefault((part.reduce, part.fabric, *lists), []).append(part)
    if not kinds:
        return parts[:1]
    return [_joined(alike) for alike in kinds.values()]


def _joined(parts: list[Exchange]) -> Exchange:
    if len(parts) == 1:
        return parts[0]

    def merge(sides: list[Side]) -> Side:
        counts = [(side.selection, len(side.row)) for side in sides]
        row, peer = (np.concatenate([getattr(side, name) for side in sides]) for name in ("row", "peer"))
        return Side(row, peer, Selection.joined(counts))

    firsts = [part.received_first for part in parts]
    first: Any = firsts[0]
    if any(isinstance(value, np.ndarray) or value != first for value in firsts):
        lengths = [len(part.receives.row) for part in parts]
        first = np.concatenate([np.broadcast_to(v, n) for v, n in zip(firsts, lengths, strict=True)])
    sends, receives = merge([p.sends for p in parts]), merge([p.receives for p in parts])
    one_each = all(part.one_each for part in parts)
    return Exchange(sends, receives, parts[0].reduce, one_each, first, parts[0].fabric)


_IDLE = Exchange(NOBODY, NOBODY, reduce=False, one_each=True)
