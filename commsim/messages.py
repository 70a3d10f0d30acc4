"""Messages: the sends and receives of an exchange of all ranks, checked and paired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from commsim.errors import ScheduleError
from commsim.program import Exchange, Side, where
from commsim.schedule import Schedule
from commsim.selection import DATA, Ints, Selection, spread
from commsim.units import format_count

PAIRINGS_KEPT = 64
MESSAGES_KEPT = 2**25  # of all pairings that are kept
FEW = 1024  # messages whose pairs are written out faster than compared
SAMPLES = 64  # of them that are compared first


@dataclass(frozen=True)
class Messages:
    """The messages of one exchange. Arrays (n,), in the order in which each receiver takes them; selections placed."""

    src: Ints
    dst: Ints
    sent: Selection  # in the order of the sends
    order: Any  # for each message the number of its send; None where that is their order
    receive: Selection
    reduce: bool
    one_each: bool
    key: bytes  # the same for messages between the same ends in the same order
    received_first: Any = False
    fabric: str | None = None

    @cached_property
    def send(self) -> Selection:
        """The chunks that leave, of each message."""
        return self.sent if self.order is None else self.sent.rows(self.order)

    def shifted(self, n_chunks: int) -> Messages:
        """The same messages of chunks further on; see :func:`commsim.program.repeat`."""
        return replace(self, sent=self.sent.shifted(n_chunks), receive=self.receive.shifted(n_chunks))


@dataclass(frozen=True)
class _Pairing:
    """The ends of an exchange's sends and receives, not to be written, and which send belongs to each receive."""

    ends: tuple[Ints, ...]
    order: Any

    def is_of(self, ends: tuple[Ints, ...]) -> bool:
        """Whether these are the ends; most others differ in a few of them already."""
        few = slice(None, None, max(len(ends[0]) // SAMPLES, 1))
        both = list(zip(self.ends, ends, strict=True))
        if not all(np.array_equal(mine[few], other[few]) for mine, other in both):
            return False
        return all(mine is other or np.array_equal(mine, other) for mine, other in both)


class Matcher:
    """Pairs every send of a schedule's exchanges with its receive; pairs that come again are not searched again."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._pairings: dict[bytes, _Pairing] = {}
        self._n_seen = 0

    def messages(self, exchange: Exchange, step: int) -> Messages:
        """The messages of one exchange.

        Raises
        ------
        ScheduleError
            Where a message has one end only, leaves the communicator, or has ends of different lengths, or a selection
            lies outside the buffer; names rank, step and peer.
        """
        sends, receives = exchange.sends, exchange.receives
        ends = (sends.row, sends.peer, receives.row, receives.peer)
        key = self._key(ends)
        if key not in self._pairings:
            own = _own(ends)
            order = _order(own, exchange, self._schedule, step)
            keep(self._pairings, len(own[0]), lambda pairing: len(pairing.ends[0]))
            self._pairings[key] = _Pairing(own, order)
        pairing = self._pairings[key]
        sent, receive = (placed(side, self._schedule, step) for side in (sends, receives))
        done = Messages(
            pairing.ends[3],
            pairing.ends[2],
            sent,
            pairing.order,
            receive,
            exchange.reduce,
            exchange.one_each,
            key,
            exchange.received_first,
            exchange.fabric,
        )
        _lengths_agree(done, self._schedule, step)
        if exchange.fabric:
            _one_for_all(exchange, self._schedule, step)
        return done

    def _key(self, ends: tuple[Ints, ...]) -> bytes:
        """What identifies the pairs: themselves if they are few, else a number for those that were seen lately."""
        n = len(ends[0])
        if n < FEW:
            return b"%d " % n + b"".join(end.tobytes() for end in ends)
        for key, pairing in self._pairings.items():
            if pairing.is_of(ends):
                return key
        self._n_seen += 1
        return b"#%d" % self._n_seen


def keep(known: dict[bytes, Any], n_new: int, size: Callable[[Any], int]) -> list[Any]:
    """Make room for what has `n_new` messages among what is known of others; what had to go, the oldest first."""
    n_messages, gone = n_new + sum(map(size, known.values())), []
    while known and (len(known) >= PAIRINGS_KEPT or n_messages > MESSAGES_KEPT):
        gone.append(known.pop(next(iter(known))))
        n_messages -= size(gone[-1])
    return gone


def _own(ends: tuple[Ints, ...]) -> tuple[Ints, ...]:
    """Copies, each array once: a program may write into its arrays, and into what a read-only view shows."""
    copies = {id(end): end if end.base is None and not end.flags.writeable else end.copy() for end in ends}
    for copy in copies.values():
        copy.flags.writeable = False
    return tuple(copies[id(end)] for end in ends)


def _order(ends: tuple[Ints, ...], exchange: Exchange, schedule: Schedule, step: int) -> Any:
    """For each receive the number of its send, array (n,); None where that is the order of the sends already."""
    send_src, send_dst, receive_dst, receive_src = ends
    if len(send_src) == len(receive_src) == 1:  # of a program for one rank, most often
        [src], [dst] = send_src.tolist(), send_dst.tolist()
        if (src, dst) == (receive_src[0], receive_dst[0]) and 0 <= min(src, dst) <= max(src, dst) < schedule.n_ranks:
            return None
    n_places = schedule.n_ranks if exchange.one_each else schedule.n_ranks**2
    if len(send_src) == len(receive_src) >= max(FEW, n_places // 8):
        from commsim.hops import paired

        order, place = np.empty(len(send_src), dtype=np.int32), np.full(n_places, -1, dtype=np.int32)
        found = paired(send_src, send_dst, receive_src, receive_dst, schedule.n_ranks, place, order)
        if found >= 0:
            return None if found else order
    _check_peers(exchange, schedule, step)
    send_key, receive_key = send_src * schedule.n_ranks + send_dst, receive_src * schedule.n_ranks + receive_dst
    by_send, by_receive = np.argsort(send_key, kind="stable"), np.argsort(receive_key, kind="stable")
    if len(send_key) != len(receive_key) or not (send_key[by_send] == receive_key[by_receive]).all():
        raise ScheduleError(_mismatch(exchange, schedule, step))
    if (np.diff(send_key[by_send]) == 0).any():
        raise ScheduleError(f"{schedule.at(step)}: two messages of one exchange have the same two ends")
    order = np.empty_like(by_send)
    order[by_receive] = by_send
    return None if (order == np.arange(len(order))).all() else order


def _ends(exchange: Exchange) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """(src, dst) of the sends, then of the receives."""
    return (exchange.sends.row, exchange.sends.peer), (exchange.receives.peer, exchange.receives.row)


def _check_peers(exchange: Exchange, schedule: Schedule, step: int) -> None:
    n_ranks = schedule.n_ranks
    for side, word in ((exchange.sends, "sends to"), (exchange.receives, "receives from")):
        bad = _first_outside(side.row, n_ranks)
        if bad is not None:
            raise ScheduleError(
                f"{schedule.at(step)}: row {side.row[bad]} {word} somebody, but there are {n_ranks} ranks; an array of "
                "peers holds one for each rank"
            )
        bad = _first_outside(side.peer, n_ranks)
        if bad is not None:
            raise ScheduleError(
                f"{schedule.at(step)}: rank {side.row[bad]} {word} {side.peer[bad]}, which is not a rank of {n_ranks}"
            )


def _first_outside(ranks: Ints, n_ranks: int) -> int | None:
    if not len(ranks) or (int(ranks.min()) >= 0 and int(ranks.max()) < n_ranks):
        return None
    return int(np.argmax((ranks < 0) | (ranks >= n_ranks)))


def _mismatch(exchange: Exchange, schedule: Schedule, step: int) -> str:
    (send_src, send_dst), (receive_src, receive_dst) = _ends(exchange)
    sent = set(zip(send_src.tolist(), send_dst.tolist(), strict=True))
    expected = set(zip(receive_src.tolist(), receive_dst.tolist(), strict=True))
    where = f"{schedule.at(step)}"
    if sent - expected:
        src, dst = min(sent - expected)
        real = [s for s, d in sorted(expected) if d == dst]
        return f"{where}: rank {src} sends to {dst}, but {dst} receives from {real or 'nobody'}"
    if expected - sent:
        src, dst = min(expected - sent)
        real = [d for s, d in sorted(sent) if s == src]
        return f"{where}: rank {dst} receives from {src}, but {src} sends to {real or 'nobody'}"
    return f"{where}: a message is sent or received more often than once"


def _lengths_agree(messages: Messages, schedule: Schedule, step: int) -> None:
    """Both ends of every message must count the same number of chunks."""
    lengths = messages.sent.n_selected(), messages.receive.n_selected()
    if type(lengths[0]) is int and type(lengths[1]) is int and lengths[0] == lengths[1]:
        return
    lengths = messages.send.n_selected(), lengths[1]
    n = len(messages.src)
    sent, taken = (spread(length, n) for length in lengths)
    if (sent == taken).all():
        return
    bad = int(np.argmax(sent != taken))
    raise ScheduleError(
        f"{schedule.at(step)}: rank {messages.src[bad]} sends {format_count(sent[bad], 'chunk')} to "
        f"{messages.dst[bad]}, which receives {taken[bad]}"
    )


def _one_for_all(exchange: Exchange, schedule: Schedule, step: int) -> None:
    """What the fabric copies to many must be the same for all, and what it reduces goes to one place."""
    multicast = exchange.fabric == "multicast"
    side = exchange.sends if multicast else exchange.receives
    _, first, which = np.unique(side.row, return_index=True, return_inverse=True)
    wanted, found = side.selection.rows(first[which]), side.selection
    differ: Any = np.zeros(len(side.row), dtype=bool)
    for one, other in zip(wanted.values(), found.values(), strict=True):
        differ = differ | (one != other)
    if found.index is not None:
        differ = differ | np.any(wanted.index != found.index, axis=1)
    if differ.any():
        rank = side.row[np.argmax(differ)]
        does = "sends chunks of their own to several ranks" if multicast else "receives into several places"
        raise ScheduleError(f"{schedule.at(step)}: rank {rank} {does} in one {exchange.fabric} of the fabric")


def placed(side: Side, schedule: Schedule, step: int) -> Selection:
    """The selection counted over all buffers; it must lie in its own.

    Raises
    ------
    ScheduleError
        Naming rank, step and chunks.
    """
    try:
        inside = side.selection.within_window(schedule.n_chunks)
        in_range(inside, side, schedule, step)
        return inside.placed(schedule.space)
    except ScheduleError as error:
        where = schedule.at(step)
        raise error if str(error).startswith(where) else ScheduleError(f"{where}: {error}") from None


def in_range(inside: Selection, side: Side, schedule: Schedule, step: int) -> None:
    """Every selection of a side, with its window filled in, must lie in the buffer.

    Raises
    ------
    ScheduleError
        Naming rank, step and chunks.
    """
    if inside.index is not None:
        _list_in_range(inside, side, schedule, step)
        return
    start, length, first, size, scale = inside.start, inside.length, inside.first, inside.size, inside.scale
    limit, n = _limit(inside, schedule), len(side.row)
    if not n:
        return
    lowest, highest = (int(start.min()), int(start.max())) if isinstance(start, np.ndarray) else (start, start)
    fits = (lowest >= 0) & (highest < size) & (length >= 0) & (length <= size)
    fits = fits & (first >= 0) & (first + size * scale <= limit)
    if fits is True or np.all(fits):  # all ints, most often
        return
    start, length, first, size, scale = (spread(value, n) for value in (start, length, first, size, scale))
    outside = (start < 0) | (start >= size) | (length < 0) | (length > size) | (first < 0)
    outside |= first + size * scale > limit
    if outside.any():
        bad = int(np.argmax(outside))
        raise ScheduleError(
            f"{schedule.at(step)}: rank {_whose(side, bad, schedule)} selects {length[bad]} chunks from {start[bad]} "
            f"on, of a window of {size[bad]} at {first[bad]} (the buffer has {schedule.n_chunks} chunks)"
        )


def _limit(inside: Selection, schedule: Schedule) -> Any:
    """Chunks that a window may reach from its buffer's beginning on: one copy, or more if it is larger than one."""
    n_chunks = schedule.n_chunks
    if isinstance(inside.buffer, int) and inside.buffer == DATA:
        return n_chunks
    schedule.space.first_of(inside.buffer)  # refuses a buffer that is not there
    return where(inside.size * inside.scale > n_chunks, schedule.space.n_from(inside.buffer), n_chunks)


def _list_in_range(inside: Selection, side: Side, schedule: Schedule, step: int) -> None:
    n, listed = len(side.row), np.asarray(inside.index)
    first, size, scale = (spread(v, n) for v in (inside.first, inside.size, inside.scale))
    limit = spread(_limit(inside, schedule), n)
    if not listed.shape[1]:
        return
    outside = (listed.min(axis=1) < -1) | (listed.max(axis=1, initial=-1) >= size)
    outside |= (first < 0) | (first + size * scale > limit)
    ordered = np.sort(listed, axis=1)
    twice = ((np.diff(ordered, axis=1) == 0) & (ordered[:, 1:] >= 0)).any(axis=1)
    bad = np.flatnonzero(outside | twice)
    if len(bad):
        row = int(bad[0])
        raise ScheduleError(
            f"{schedule.at(step)}: rank {_whose(side, row, schedule)} selects the chunks "
            f"{listed[row if len(listed) > 1 else 0].tolist()} of a window of {size[row]} at {first[row]}: each must "
            "lie in it, and none twice"
        )


def _whose(side: Side, row: int, schedule: Schedule) -> int:
    return schedule.rank if schedule.rank is not None else int(side.row[row])
