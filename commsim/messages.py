"""Messages: the sends and receives of an exchange of all ranks, checked and paired."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.errors import ScheduleError
from commsim.program import Exchange, Ints, Selection, Side
from commsim.schedule import Schedule

PAIRINGS_KEPT = 64


@dataclass(frozen=True)
class Messages:
    """The messages of one exchange. Arrays (n,), in the order in which each receiver takes them."""

    src: Ints
    dst: Ints
    send: Selection
    receive: Selection
    reduce: bool
    one_each: bool
    key: bytes  # the same for messages between the same ends in the same order


class Matcher:
    """Pairs every send of a schedule's exchanges with its receive; pairs that come again are not searched again."""

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._orders: dict[bytes, Ints | None] = {}

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
        key = b"%d " % len(sends.row) + b"".join(np.asarray(end, dtype=np.int64).tobytes() for end in ends)
        if key not in self._orders:
            if len(self._orders) >= PAIRINGS_KEPT:
                self._orders.pop(next(iter(self._orders)))
            self._orders[key] = _order(exchange, self._schedule, step)
        order = self._orders[key]
        for side in (sends, receives):
            in_range(side, self._schedule, step)
        send = sends.selection if order is None else sends.selection.rows(order)
        done = Messages(receives.peer, receives.row, send, receives.selection, exchange.reduce, exchange.one_each, key)
        _lengths_agree(done, self._schedule, step)
        return done


def _order(exchange: Exchange, schedule: Schedule, step: int) -> Ints | None:
    """For each receive the number of its send; None where that is the order of the sends already."""
    _check_peers(exchange, schedule, step)
    (send_src, send_dst), (receive_src, receive_dst) = _ends(exchange)
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
    for side, word in ((exchange.sends, "sends to"), (exchange.receives, "receives from")):
        if len(side.row) and int(side.row.max()) >= schedule.n_ranks:
            row = int(side.row.max())
            raise ScheduleError(
                f"{schedule.at(step)}: row {row} {word} somebody, but there are {schedule.n_ranks} "
                "ranks; an array of peers holds one for each rank"
            )
        if len(side.peer) and int(side.peer.max()) >= schedule.n_ranks:
            bad = int(np.argmax(side.peer))
            raise ScheduleError(
                f"{schedule.at(step)}: rank {side.row[bad]} {word} {side.peer[bad]}, "
                f"which is not a rank of {schedule.n_ranks}"
            )


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
    lengths = messages.send.length, messages.receive.length
    if all(isinstance(length, int) for length in lengths) and lengths[0] == lengths[1]:
        return
    n = len(messages.src)
    sent, taken = (np.broadcast_to(np.asarray(s.length), n) for s in (messages.send, messages.receive))
    if (sent == taken).all():
        return
    bad = int(np.argmax(sent != taken))
    raise ScheduleError(
        f"{schedule.at(step)}: rank {messages.src[bad]} sends {sent[bad]} chunks to "
        f"{messages.dst[bad]}, which receives {taken[bad]}"
    )


def in_range(side: Side, schedule: Schedule, step: int) -> None:
    """Every selection must lie in the buffer.

    Raises
    ------
    ScheduleError
        Naming rank, step and chunks.
    """
    values = side.selection.within_buffer(schedule.n_chunks).values()
    start, length, first, size = values
    if all(isinstance(value, int) for value in (length, first, size)) and isinstance(start, np.ndarray) and len(start):
        window_fits = 0 <= length <= size and 0 <= first <= schedule.n_chunks - size
        if window_fits and int(start.min()) >= 0 and int(start.max()) < size:
            return  # the common case, cheaply
    start, length, first, size = (np.broadcast_to(value, len(side.row)) for value in values)
    outside = (start < 0) | (start >= size) | (length < 0) | (length > size)
    outside |= (first < 0) | (first + size > schedule.n_chunks)
    if outside.any():
        bad = int(np.argmax(outside))
        row = schedule.rank if schedule.rank is not None else int(side.row[bad])
        raise ScheduleError(
            f"{schedule.at(step)}: rank {row} selects {length[bad]} chunks from {start[bad]} on, of a window of "
            f"{size[bad]} at {first[bad]} (the buffer has {schedule.n_chunks} chunks)"
        )
