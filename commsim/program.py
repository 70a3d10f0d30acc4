"""The words an algorithm is written in: exchange, fan_in, fan_out, direct, lanes, fabric operations, where.

A program is a generator of steps; a step is a list of exchanges that each rank posts and waits for together. ``rank``
is an int (one real rank's program) or ``numpy.arange(n_ranks)`` (everyone's, vectorised): the text is the same. An
exchange keeps active pairs only, as rows: with an int rank every row is that rank, with an array row r is rank r.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from commsim.errors import RefusedError, ScheduleError
from commsim.selection import NOTHING, Ints, Selection, numbers

PROC_NULL = -1
MOST_AT_ONCE = 1 << 25  # messages of one step that a program of all ranks may ask for: some GiB

Rank: TypeAlias = Any  # int or Ints: arithmetic on it is the same text
PlainStep: TypeAlias = "list[Exchange] | Lanes"
Step: TypeAlias = "PlainStep | Repeat"
Program: TypeAlias = Callable[..., Iterator[Step]]


def where(condition: Any, value: Any, otherwise: Any) -> Any:
    """``value`` where the condition holds, else ``otherwise``; plain ints stay ints."""
    if isinstance(condition, (bool, np.bool_)):
        return value if condition else otherwise
    return np.where(condition, value, otherwise)


def _require_selection(value: Any) -> None:
    if not isinstance(value, Selection):
        raise ScheduleError(f"{value!r} is no selection; write chunk(…), chunks(start, length) or listed([…])")


@dataclass(frozen=True)
class Side:
    """One end of an exchange's messages: whose (``row``), with whom (``peer``), which chunks. Arrays (n,)."""

    row: Ints
    peer: Ints
    selection: Selection

    def __post_init__(self) -> None:
        row, peer = self.row, self.peer
        _require_selection(self.selection)
        if not (
            isinstance(row, np.ndarray) and isinstance(peer, np.ndarray) and row.shape == peer.shape == (len(row),)
        ):
            raise ScheduleError("the ranks and the peers of a side are two equally long arrays (n,)")
        if row.dtype != np.int64 or peer.dtype != np.int64:
            raise ScheduleError(f"ranks and peers are int64, not {row.dtype} and {peer.dtype}")
        self.selection.require(len(self.row))

    def rows(self, index: Ints) -> Side:
        """Only the messages of the given numbers, in their order."""
        return Side(self.row[index], self.peer[index], self.selection.rows(index))

    def of_rank(self, rank: int) -> Side:
        """The messages of one rank, as its own program would write them: all rows are 0."""
        mine = np.flatnonzero(self.row == rank)
        return Side(np.zeros_like(mine), self.peer[mine], self.selection.rows(mine)) if len(mine) else NOBODY


NOBODY = Side(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), NOTHING)


@dataclass(frozen=True)
class Exchange:
    """Messages that are posted together, at most one for each pair of ranks in each direction.

    Attributes
    ----------
    sends, receives : Side
        Active pairs only. A rank that receives several takes them in the order of the rows.
    reduce : bool
        Whether what arrives is combined with what is there, or replaces it.
    one_each : bool
        Whether each rank sends at most once and receives at most once (a partial permutation).
    received_first : bool or array (n_receives,)
        Whether what arrives is the left operand of a reduction; matters for operations that do not commute.
    fabric : str or None
        "reduce" or "multicast": the switches combine what goes to one rank, or copy what one rank sends.
    group : array, optional
        Of a fabric operation in the program of one rank: all ranks that take part.
    """

    sends: Side
    receives: Side
    reduce: bool
    one_each: bool = False
    received_first: Any = False
    fabric: str | None = None
    group: Ints | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.sends, Side) or not isinstance(self.receives, Side):
            raise ScheduleError("an exchange is made by exchange(…), fan_in(…), fan_out(…) or direct(…)")
        first = self.received_first
        if isinstance(first, np.ndarray) and first.shape != self.receives.row.shape:
            raise ScheduleError(
                f"received_first is one value, or one for each of {len(self.receives.row)} messages received, not of "
                f"shape {first.shape}"
            )

    def shifted(self, n_chunks: int) -> Exchange:
        """The same messages of chunks further on."""
        sends, receives = (Side(s.row, s.peer, s.selection.shifted(n_chunks)) for s in (self.sends, self.receives))
        return Exchange(sends, receives, self.reduce, self.one_each, self.received_first, self.fabric, self.group)

    def of_rank(self, rank: int) -> Exchange:
        """The part of one rank, as its own program would write it: all rows are 0."""
        first = self.received_first
        if isinstance(first, np.ndarray):
            first = first[self.receives.row == rank]
        sends, receives = self.sends.of_rank(rank), self.receives.of_rank(rank)
        return Exchange(sends, receives, self.reduce, self.one_each, first, self.fabric, self.group)


@dataclass(frozen=True)
class Lanes:
    """Programs that each rank runs at the same time, over chunks of their own; see :func:`lanes`."""

    programs: tuple[Iterator[Step], ...]
    stagger: int = 0


def lanes(*programs: Iterator[Step], stagger: int = 0) -> Lanes:
    """Fork: the rank runs all programs at once, each on a clock of its own, and goes on when all have ended.

    Parameters
    ----------
    programs : generators of steps
        No chunk may be written by one and used by another.
    stagger : int
        On every rank, a lane begins when the one before it has ended that many steps.

    Raises
    ------
    ScheduleError
        If there is no program, or the stagger is negative.
    """
    if not programs or not isinstance(stagger, int) or stagger < 0:
        raise ScheduleError(f"lanes needs at least one program, and a stagger of whole steps, not {stagger!r}")
    return Lanes(programs, stagger)


@dataclass(frozen=True)
class Repeat:
    """One step, several times over; see :func:`repeat`."""

    step: list[Exchange]
    times: int
    shift: int = 0

    def steps(self) -> Iterator[list[Exchange]]:
        """What it means: the steps one by one."""
        for time in range(self.times):
            yield [one.shifted(time * self.shift) for one in self.step] if time else self.step

    def map(self, function: Callable[[Exchange], Exchange]) -> Repeat:
        """The same of changed exchanges."""
        return Repeat([function(one) for one in self.step], self.times, self.shift)


def repeat(times: int, step: list[Exchange], *, shift: int = 0) -> Repeat:
    """The same step `times` over, between the same peers; each time all selections have moved on by `shift` chunks.

    It means the steps one by one. A simulation does not have to look at each of them to know that they are alike.

    Parameters
    ----------
    times : int
    step : list of Exchange
        The first one.
    shift : int
        Each selection wraps around in its window, so it must have one: ``chunk(…, size=n_chunks)``.

    Raises
    ------
    ScheduleError
        If a selection that moves has no window, or is a list.
    """
    if not isinstance(step, list) or not all(isinstance(part, Exchange) for part in step):
        raise ScheduleError(f"what is repeated is a step, a list of exchanges, not {type(step).__name__}")
    if times < 0:
        raise ScheduleError(f"a step cannot be repeated {times} times")
    if shift:
        for side in (side for part in step for side in (part.sends, part.receives)):
            side.selection.shifted(shift)
    return Repeat(step, times, shift)


def unrolled(steps: Iterable[Step]) -> Iterator[PlainStep]:
    """A program's steps with every repetition written out."""
    for step in steps:
        if isinstance(step, Repeat):
            yield from step.steps()
        else:
            yield step


def exchange(
    dst: Any,
    src: Any,
    *,
    send: Selection = NOTHING,
    receive: Selection = NOTHING,
    reduce: bool = False,
    received_first: Any = False,
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
    received_first : bool or array (n_ranks,)
        Whether what arrives is the left operand.
    """
    receives, rows = _dense_side(src, receive)
    first: Any = received_first if isinstance(received_first, bool) else np.asarray(received_first, dtype=bool)
    if isinstance(first, np.ndarray) and not first.ndim:
        first = bool(first)
    elif isinstance(first, np.ndarray):
        if first.shape != (np.size(src),):
            raise ScheduleError(f"received_first is one value, or one for each rank, not of shape {first.shape}")
        first = first if rows is None else first[rows]
    return Exchange(_dense_side(dst, send)[0], receives, bool(reduce), one_each=True, received_first=first)


def _dense_side(peer: Any, selection: Selection) -> tuple[Side, Ints | None]:
    """The side, and which rows are active (None: all)."""
    if type(peer) is int and PROC_NULL <= peer < 2**63:  # of one rank, cheaply
        _require_selection(selection)
        return (NOBODY, NOBODY.row) if peer == PROC_NULL else (Side(numbers(1), np.array([peer]), selection), None)
    peers = np.atleast_1d(np.asarray(peer))
    if peers.dtype.kind not in "iu" or peers.ndim != 1:
        raise ScheduleError(f"a peer must be a rank (an int, or one int for each rank), not {peer!r}")
    side = Side(numbers(len(peers)), peers.astype(np.int64, copy=False), selection)
    lowest = int(side.peer.min(initial=0))
    if lowest >= 0:
        return side, None
    if lowest < PROC_NULL:
        raise ScheduleError(f"a peer must be a rank or PROC_NULL ({PROC_NULL}), not {lowest}")
    rows = np.flatnonzero(side.peer >= 0)
    return side.rows(rows), rows


def fan_in(
    rank: Rank, n_ranks: int, root: int, *, send: Selection, receive: Selection, reduce: bool = False
) -> Exchange:
    """Everyone sends to ``root``. Selections are the same for all pairs.

    A reduction keeps the order of ranks: the root takes those below it from the nearest on, in front of what it has,
    and then those above it.
    """
    _require_root(root, n_ranks)
    before, after = np.arange(root - 1, -1, -1), np.arange(root + 1, n_ranks)
    others = np.concatenate([before, after])
    first = others < root
    if not isinstance(rank, np.ndarray) and rank != root:
        first = first[:0]
    fan = _fan(rank, root, others, _one_value(send), _one_value(receive), inward=True)
    return Exchange(*fan, reduce, one_each=False, received_first=first if reduce else False)


def fan_out(rank: Rank, n_ranks: int, root: int, *, send: Selection, receive: Selection) -> Exchange:
    """``root`` sends to everyone else. Selections are the same for all pairs."""
    _require_root(root, n_ranks)
    others = np.delete(np.arange(n_ranks), root)
    fan = _fan(rank, root, others, _one_value(send), _one_value(receive), inward=False)
    return Exchange(*fan, reduce=False, one_each=False)


def _require_root(root: Any, n_ranks: int) -> None:
    if not isinstance(root, (int, np.integer)) or not 0 <= root < n_ranks:
        raise ScheduleError(f"root={root!r} is not a rank of {n_ranks}")


def _one_value(selection: Selection) -> Selection:
    _require_selection(selection)
    if any(isinstance(value, np.ndarray) and value.ndim for value in selection.values()):
        raise ScheduleError("fan_in and fan_out take one selection for all pairs, not one for each rank")
    return selection


def _fan(
    rank: Rank, root: int, others: Ints, send: Selection, receive: Selection, *, inward: bool
) -> tuple[Side, Side]:
    empty = np.empty(0, dtype=np.int64)
    hub_row, hub_peer = np.full_like(others, root), others
    leaf_row, leaf_peer = others, hub_row
    if not isinstance(rank, np.ndarray):
        if rank == root:
            hub_row, leaf_row, leaf_peer = np.zeros_like(others), empty, empty
        else:
            hub_row, hub_peer, leaf_row, leaf_peer = empty, empty, np.array([0]), np.array([root])
    leaf, hub = (leaf_row, leaf_peer), (hub_row, hub_peer)
    sender, receiver = (leaf, hub) if inward else (hub, leaf)
    return Side(*sender, send), Side(*receiver, receive)


Chooser: TypeAlias = Callable[[Any, Any], Selection]


def direct(
    rank: Rank,
    n_ranks: int,
    *,
    send: Chooser,
    receive: Chooser,
    reduce: bool = False,
    distances: tuple[int, int] | None = None,
) -> Exchange:
    """Everyone sends to everyone else, each pair its own chunks.

    Parameters
    ----------
    rank, n_ranks
        As the program has them.
    send, receive : callable
        ``send(me, peer)`` and ``receive(me, peer)``: the selection of each pair; both take arrays.
    reduce : bool
        Every rank then keeps the order of ranks, as in :func:`fan_in`.
    distances : (int, int), optional
        Only to the ranks ``first`` to ``last - 1`` places on (cyclically), and from those as many places before;
        not with ``reduce``.
    """
    if distances is not None and reduce:
        raise ScheduleError("direct keeps the order of ranks only where everyone sends to everyone")
    n_messages = n_ranks * (n_ranks - 1 if distances is None else distances[1] - distances[0])
    if isinstance(rank, np.ndarray) and n_messages > MOST_AT_ONCE:
        raise RefusedError(
            f"{n_messages} messages in one step ({n_ranks} ranks to each other) are too many; at most {MOST_AT_ONCE}"
        )
    me = rank if isinstance(rank, np.ndarray) else np.array([rank])
    offset = np.arange(1, n_ranks) if distances is None else np.arange(*distances)
    row = np.repeat(numbers(len(me)), len(offset))
    mine = row if np.array_equal(me, numbers(len(me))) else me[row]
    to, source = (np.empty(len(row), dtype=np.int64) for _ in range(2))
    me, shape = me[:, None], (len(me), len(offset))
    np.remainder(me + offset, n_ranks, out=to.reshape(shape))
    below: Any = False
    if reduce:  # the nearest below first, then those above
        below = (offset <= me).ravel()
        np.copyto(source.reshape(shape), offset)
        np.subtract(me, offset, out=source.reshape(shape), where=offset <= me)
    else:
        np.remainder(me - offset, n_ranks, out=source.reshape(shape))
    for array in (row, mine, to, source):  # there may be millions: what is not written need not be copied
        array.flags.writeable = False
    sends, receives = Side(row, to, send(mine, to)), Side(row, source, receive(mine, source))
    return Exchange(sends, receives, reduce, one_each=len(offset) < 2, received_first=below)


def fabric_reduce(
    rank: Rank, n_ranks: int, root: int | None, *, send: Selection | Chooser, receive: Selection | Chooser
) -> Exchange:
    """The switches reduce what all ranks send to ``root``, which gets it once; or each rank is root of its own chunks.

    Parameters
    ----------
    rank, n_ranks
        As the program has them; within groups, the group is what is reduced over.
    root : int or None
        None: every rank is a root.
    send, receive : Selection or callable
        With one root as in :func:`fan_in`; where every rank is one as in :func:`direct`, ``send(me, peer)``.

    Raises
    ------
    ScheduleError
        If selections and root do not go together.
    """
    return _in_fabric("reduce", rank, n_ranks, root, send, receive)


def fabric_multicast(
    rank: Rank, n_ranks: int, root: int | None, *, send: Selection | Chooser, receive: Selection | Chooser
) -> Exchange:
    """What ``root`` sends once, the switches copy to all ranks; or each rank is a root of its own chunks.

    Parameters as those of :func:`fabric_reduce`.
    """
    return _in_fabric("multicast", rank, n_ranks, root, send, receive)


def _in_fabric(
    fabric: str, rank: Rank, n_ranks: int, root: int | None, send: Selection | Chooser, receive: Selection | Chooser
) -> Exchange:
    reduce = fabric == "reduce"
    if isinstance(send, Selection) and isinstance(receive, Selection) and root is not None:
        pair = {"send": send, "receive": receive}
        made = fan_in(rank, n_ranks, root, **pair, reduce=True) if reduce else fan_out(rank, n_ranks, root, **pair)
    elif not isinstance(send, Selection) and not isinstance(receive, Selection) and root is None:
        made = direct(rank, n_ranks, send=send, receive=receive, reduce=reduce)
    else:
        raise ScheduleError("a fabric operation with a root takes selections, one without send(me, peer) for each pair")
    return replace(made, fabric=fabric, group=None if isinstance(rank, np.ndarray) else np.arange(n_ranks))
