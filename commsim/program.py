"""The words an algorithm is written in: exchange, chunk(s), fan_in, fan_out, within, where.

A program is a generator of steps; a step is a list of exchanges that each rank posts and waits for together. ``rank``
is an int (one real rank's program) or ``numpy.arange(n_ranks)`` (everyone's, vectorised): the text is the same. An
exchange keeps active pairs only, as rows: with an int rank every row is that rank, with an array row r is rank r.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from commsim.errors import ScheduleError

PROC_NULL = -1

Ints: TypeAlias = NDArray[np.int64]
Rank: TypeAlias = Any  # int or Ints: arithmetic on it is the same text
Step: TypeAlias = "list[Exchange]"
Program: TypeAlias = Callable[..., Iterator[Step]]


def where(condition: Any, value: Any, otherwise: Any) -> Any:
    """``value`` where the condition holds, else ``otherwise``; plain ints stay ints."""
    if isinstance(condition, (bool, np.bool_)):
        return value if condition else otherwise
    return np.where(condition, value, otherwise)


@dataclass(frozen=True)
class Selection:
    """The chunks ``first + (start + i) mod size`` for ``0 <= i < length``: what one message carries.

    Attributes
    ----------
    start, length : int or array (n_rows,)
        First chunk and number of chunks, relative to the window.
    first, size : int or array (n_rows,)
        The window of the buffer inside which the range wraps around; ``size`` 0 is the whole buffer.
    """

    start: Any
    length: Any = 1
    first: Any = 0
    size: Any = 0

    def rows(self, index: Ints) -> Selection:
        """The selections of the given rows (a value that is the same for all rows stays one value)."""
        return self._map(lambda value: value[index] if isinstance(value, np.ndarray) and value.ndim else value)

    def tiled(self, n_times: int) -> Selection:
        """The same rows, `n_times` over."""
        return self._map(
            lambda value: np.tile(value, n_times) if isinstance(value, np.ndarray) and value.ndim else value
        )

    def inside(self, window: Window, rows: Ints | None) -> Selection:
        """Make this selection of an inner program's chunks, as one of the outer chunks that `window` says."""
        first = window.first if rows is None or not isinstance(window.first, np.ndarray) else window.first[rows]
        inner, scale = self.within_buffer(window.n_chunks), window.scale
        return Selection(inner.start * scale, inner.length * scale, first + inner.first * scale, inner.size * scale)

    def within_buffer(self, n_chunks: int) -> Selection:
        """The same with the window's size filled in."""
        if isinstance(self.size, np.ndarray):
            return replace(self, size=np.where(self.size == 0, n_chunks, self.size))
        return self if self.size else Selection(self.start, self.length, self.first, n_chunks)

    def expand(self, n_rows: int) -> tuple[Ints, Ints]:
        """Chunk by chunk: arrays (n,) of the row and of the chunk, in row order. The window must be filled in."""
        start, length, first, size = (np.broadcast_to(np.asarray(v, dtype=np.int64), n_rows) for v in self.values())
        row = np.repeat(np.arange(n_rows), length)
        offset = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        return row, first[row] + (start[row] + offset) % size[row]

    def values(self) -> tuple[Any, Any, Any, Any]:
        """Start, length, first, size."""
        return self.start, self.length, self.first, self.size

    def _map(self, function: Callable[[Any], Any]) -> Selection:
        return Selection(*(function(value) for value in self.values()))

    @staticmethod
    def joined(parts: Sequence[tuple[Selection, int]]) -> Selection:
        """One selection whose rows are those of the parts, each given with its number of rows."""
        columns = zip(*(selection.values() for selection, _ in parts), strict=True)
        n_rows = [n for _, n in parts]
        return Selection(
            *(
                np.concatenate([np.broadcast_to(v, n) for v, n in zip(values, n_rows, strict=True)])
                for values in columns
            )
        )


def chunk(index: Any) -> Selection:
    """One chunk."""
    return Selection(_whole(index))


def chunks(start: Any, length: Any) -> Selection:
    """A range of chunks that wraps around at the end of the buffer."""
    return Selection(_whole(start), _whole(length))


def _whole(value: Any) -> Any:
    if isinstance(value, int) or np.asarray(value).dtype.kind in "iu":
        return value
    raise ScheduleError(f"chunks are counted in whole numbers, not {value!r}; use // instead of /")


@dataclass(frozen=True)
class Side:
    """One end of an exchange's messages: whose (``row``), with whom (``peer``), which chunks. Arrays (n,)."""

    row: Ints
    peer: Ints
    selection: Selection


@dataclass(frozen=True)
class Exchange:
    """Messages that are posted together, at most one for each pair of ranks in each direction.

    Attributes
    ----------
    sends, receives : Side
        Active pairs only.
    reduce : bool
        Whether what arrives is combined with what is there, or replaces it.
    one_each : bool
        Whether each rank sends at most once and receives at most once (a partial permutation).
    """

    sends: Side
    receives: Side
    reduce: bool
    one_each: bool = True


NOTHING = Selection(0, 0)


def exchange(
    dst: Any, src: Any, *, send: Selection = NOTHING, receive: Selection = NOTHING, reduce: bool = False
) -> Exchange:
    """Send to ``dst`` and receive from ``src`` at the same time; ``PROC_NULL`` where there is none.

    Parameters
    ----------
    dst, src : int or array (n_ranks,)
        The peers; as arrays, ``dst[src[r]] == r`` wherever ``src[r]`` is a rank. Oneself: a local move.
    send, receive : Selection
        The chunks that leave and those that are written.
    reduce : bool
        Combine what arrives with what is there (by the collective's operation) instead of replacing it.
    """
    return Exchange(_dense_side(dst, send), _dense_side(src, receive), bool(reduce))


def _dense_side(peer: Any, selection: Selection) -> Side:
    peers = np.atleast_1d(np.asarray(peer))
    if peers.dtype.kind not in "iu" or peers.ndim != 1:
        raise ScheduleError(f"a peer must be a rank (an int, or one int for each rank), not {peer!r}")
    lowest = int(peers.min(initial=0))
    if lowest >= 0:
        return Side(np.arange(len(peers)), peers, selection)
    if lowest < PROC_NULL:
        raise ScheduleError(f"a peer must be a rank or PROC_NULL ({PROC_NULL}), not {lowest}")
    rows = np.flatnonzero(peers >= 0)
    return Side(rows, peers[rows], selection.rows(rows))


def fan_in(
    rank: Rank, n_ranks: int, root: int, *, send: Selection, receive: Selection, reduce: bool = False
) -> Exchange:
    """Everyone sends to ``root``, which takes them in the order of ranks. Selections are the same for all pairs."""
    return _fan(rank, n_ranks, root, _one_value(send), _one_value(receive), reduce, inward=True)


def fan_out(rank: Rank, n_ranks: int, root: int, *, send: Selection, receive: Selection) -> Exchange:
    """``root`` sends to everyone else. Selections are the same for all pairs."""
    return _fan(rank, n_ranks, root, _one_value(send), _one_value(receive), reduce=False, inward=False)


def _one_value(selection: Selection) -> Selection:
    if any(isinstance(value, np.ndarray) and value.ndim for value in selection.values()):
        raise ScheduleError("fan_in and fan_out take one selection for all pairs, not one for each rank")
    return selection


def _fan(
    rank: Rank, n_ranks: int, root: int, send: Selection, receive: Selection, reduce: bool, *, inward: bool
) -> Exchange:
    others = np.delete(np.arange(n_ranks), root)
    empty = np.empty(0, dtype=np.int64)
    if isinstance(rank, np.ndarray):
        leaf_row, leaf_peer, root_row, root_peer = (
            others,
            np.full_like(others, root),
            np.full_like(others, root),
            others,
        )
    elif rank == root:
        leaf_row, leaf_peer, root_row, root_peer = empty, empty, np.zeros_like(others), others
    else:
        leaf_row, leaf_peer, root_row, root_peer = np.array([0]), np.array([root]), empty, empty
    leaf, hub = (leaf_row, leaf_peer), (root_row, root_peer)
    sender, receiver = (leaf, hub) if inward else (hub, leaf)
    return Exchange(Side(*sender, send), Side(*receiver, receive), reduce, one_each=False)


@dataclass(frozen=True)
class Window:
    """Where an inner program's chunks lie in the outer buffer: chunk c at ``first + c*scale``, ``scale`` chunks long.

    ``first`` may be an array (n_ranks,): a window for each rank. ``n_chunks`` counts inner chunks.
    """

    first: Any
    n_chunks: int
    scale: int = 1


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
    members = [member for group in groups for member in group]
    if len(set(members)) < len(members):
        twice = next(member for member in members if members.count(member) > 1)
        raise ScheduleError(f"groups must be disjoint, but rank {twice} is in several (or twice in one)")
    by_size: dict[int, list[Sequence[int]]] = {}
    for group in groups:
        by_size.setdefault(len(group), []).append(group)
    everyone = isinstance(rank, np.ndarray)
    streams = [_in_groups(by_size[n], None if everyone else rank, program, window) for n in sorted(by_size)]
    for parts in zip_longest(*streams, fillvalue=()):
        yield [_merged([e for e in column if e is not None]) for column in zip_longest(*parts)]


def _in_groups(
    groups: list[Sequence[int]], rank: int | None, program: Program, window: Window | None
) -> Iterator[Step]:
    """The steps of groups of one size, in outer ranks: of all, or of one rank (idle if it is in none of them)."""
    members = np.array(groups, dtype=np.int64)
    size = members.shape[1]
    if rank is None:
        for step in program(np.arange(size), size):
            yield [_embedded(e, members, window, keep_rows=False) for e in step]
        return
    home = np.argwhere(members == rank)
    group, local = (int(home[0, 0]), int(home[0, 1])) if len(home) else (0, 0)
    for step in program(local, size):  # an outsider only learns how many steps there are
        yield [_embedded(e, members[group : group + 1], window, keep_rows=True) if len(home) else _IDLE for e in step]


def _embedded(inner: Exchange, members: Ints, window: Window | None, *, keep_rows: bool) -> Exchange:
    def embed(side: Side) -> Side:
        n_groups = len(members)
        rows = side.row if keep_rows else members[:, side.row].ravel()
        selection = side.selection.tiled(n_groups)
        if window is not None:
            selection = selection.inside(window, None if keep_rows else rows)
        return Side(rows, members[:, side.peer].ravel(), selection)

    return Exchange(embed(inner.sends), embed(inner.receives), inner.reduce, inner.one_each)


def _merged(parts: list[Exchange]) -> Exchange:
    if len(parts) == 1:
        return parts[0]
    if len({part.reduce for part in parts if len(part.receives.row)}) > 1:
        raise ScheduleError("groups of different sizes must reduce, or copy, in the same exchange of a step")

    def merge(sides: list[Side]) -> Side:
        counts = [(side.selection, len(side.row)) for side in sides]
        row, peer = (np.concatenate([getattr(side, name) for side in sides]) for name in ("row", "peer"))
        return Side(row, peer, Selection.joined(counts))

    reduce = any(part.reduce for part in parts)
    one_each = all(part.one_each for part in parts)
    return Exchange(merge([p.sends for p in parts]), merge([p.receives for p in parts]), reduce, one_each)


_EMPTY = Side(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), NOTHING)
_IDLE = Exchange(_EMPTY, _EMPTY, reduce=False)
