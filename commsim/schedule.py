"""Schedule: an algorithm applied to a number of ranks. Lazy and re-iterable; it is never stored whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from commsim.algorithm import Algorithm
from commsim.errors import CommsimError, InputError, ScheduleError
from commsim.program import Exchange, Ints, Selection, Side, Step


@dataclass(frozen=True)
class Schedule:
    """The steps of all ranks (``rank`` None), or of one.

    Attributes
    ----------
    algorithm : Algorithm
        Resolved: no parameter is open.
    n_ranks, root : int
    rank : int or None
    """

    algorithm: Algorithm
    n_ranks: int
    root: int = 0
    rank: int | None = None
    n_chunks: int = field(init=False)

    def __post_init__(self) -> None:
        if not 0 <= self.root < self.n_ranks:
            raise InputError(f"root={self.root} is not a rank of {self.n_ranks}; use 0 to {self.n_ranks - 1}")
        object.__setattr__(self, "n_chunks", self.algorithm.chunks(self.n_ranks, **self.algorithm.params))
        if self.n_chunks < 1:
            raise ScheduleError(
                f"{self.algorithm.name} cuts the vector in {self.n_chunks} chunks; it needs at least one"
            )

    def __iter__(self) -> Iterator[Step]:
        rank = np.arange(self.n_ranks) if self.rank is None else self.rank
        rooted = {"root": self.root} if self.algorithm.collective.rooted else {}
        index = 0
        try:
            for step in self.algorithm.program(rank, self.n_ranks, **rooted, **self.algorithm.params):
                if not isinstance(step, list) or not all(isinstance(part, Exchange) for part in step):
                    raise ScheduleError(f"{self._at(index)}: a step is a list of exchanges, not {step!r}")
                yield step
                index += 1
        except CommsimError:
            raise
        except Exception as error:  # whatever a user's program does wrong
            hint = "; in a simulation rank is an array of all ranks: use where(condition, a, b) instead of if"
            remedy = hint if "truth value of an array" in str(error) else ""
            raise ScheduleError(f"{self._at(index)}: {type(error).__name__}: {error}{remedy}") from error

    def _at(self, step: int) -> str:
        return f"{self.algorithm.name}, step {step}"


@dataclass(frozen=True)
class Messages:
    """The messages of one exchange. Arrays (n,), in the order in which each receiver takes them."""

    src: Ints
    dst: Ints
    send: Selection
    receive: Selection
    reduce: bool
    one_each: bool


def matched(exchange: Exchange, schedule: Schedule, step: int) -> Messages:
    """Pair every send of an all-ranks exchange with its receive.

    Raises
    ------
    ScheduleError
        Where a message has one end only, leaves the communicator, or has ends of different lengths; names rank, step
        and peer.
    """
    sends, receives = exchange.sends, exchange.receives
    _check_peers(exchange, schedule, step)
    in_range(sends, schedule, step)
    in_range(receives, schedule, step)
    if exchange.one_each:
        position = np.full(schedule.n_ranks, -1)
        position[sends.row] = np.arange(len(sends.row))
        order = position[receives.peer]
        fits = len(sends.row) == len(receives.row) and bool(
            (sends.peer[order] == receives.row).all() and (order >= 0).all()
        )
    else:
        send_key, receive_key = (s * schedule.n_ranks + d for s, d in _ends(exchange))
        by_send = np.argsort(send_key, kind="stable")
        place = np.searchsorted(send_key[by_send], receive_key).clip(max=max(len(by_send) - 1, 0))
        order = by_send[place] if len(by_send) else by_send
        fits = len(send_key) == len(receive_key) and bool((send_key[order] == receive_key).all())
    if not fits:
        raise ScheduleError(_mismatch(exchange, schedule, step))
    in_order = len(order) == len(sends.row) and bool((order == np.arange(len(order))).all())
    send = sends.selection if in_order else sends.selection.rows(order)
    messages = Messages(receives.peer, receives.row, send, receives.selection, exchange.reduce, exchange.one_each)
    _lengths_agree(messages, schedule, step)
    return messages


def _ends(exchange: Exchange) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """(src, dst) of the sends, then of the receives."""
    return (exchange.sends.row, exchange.sends.peer), (exchange.receives.peer, exchange.receives.row)


def _check_peers(exchange: Exchange, schedule: Schedule, step: int) -> None:
    for side, word in ((exchange.sends, "sends to"), (exchange.receives, "receives from")):
        if len(side.row) and int(side.row.max()) >= schedule.n_ranks:
            row = int(side.row.max())
            raise ScheduleError(
                f"{schedule.algorithm.name}, step {step}: row {row} {word} somebody, but there are {schedule.n_ranks} "
                "ranks; an array of peers holds one for each rank"
            )
        if len(side.peer) and int(side.peer.max()) >= schedule.n_ranks:
            bad = int(np.argmax(side.peer))
            raise ScheduleError(
                f"{schedule.algorithm.name}, step {step}: rank {side.row[bad]} {word} {side.peer[bad]}, "
                f"which is not a rank of {schedule.n_ranks}"
            )


def _mismatch(exchange: Exchange, schedule: Schedule, step: int) -> str:
    (send_src, send_dst), (receive_src, receive_dst) = _ends(exchange)
    sent = set(zip(send_src.tolist(), send_dst.tolist(), strict=True))
    expected = set(zip(receive_src.tolist(), receive_dst.tolist(), strict=True))
    where = f"{schedule.algorithm.name}, step {step}"
    if sent - expected:
        src, dst = min(sent - expected)
        real = [s for s, d in sorted(expected) if d == dst]
        return f"{where}: rank {src} sends to {dst}, but {dst} receives from {real or 'nobody'}"
    if expected - sent:
        src, dst = min(expected - sent)
        real = [d for s, d in sorted(sent) if s == src]
        return f"{where}: rank {dst} receives from {src}, but {src} sends to {real or 'nobody'}"
    return f"{where}: two messages of one exchange have the same two ends"


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
        f"{schedule.algorithm.name}, step {step}: rank {messages.src[bad]} sends {sent[bad]} chunks to "
        f"{messages.dst[bad]}, which receives {taken[bad]}"
    )


def in_range(side: Side, schedule: Schedule, step: int) -> None:
    """Every selection must lie in the buffer.

    Raises
    ------
    ScheduleError
        Naming rank, step and chunks.
    """
    values = side.selection.within_buffer(schedule.n_chunks)._values()
    start, length, first, size = values
    outside = (start < 0) | (start >= size)
    outside = outside | (length < 0) | (length > size)
    outside = outside | (first < 0) | (first + size > schedule.n_chunks)
    if len(side.row) and np.any(outside):
        bad = int(np.argmax(np.broadcast_to(outside, len(side.row))))
        start, length, first, size = (np.broadcast_to(value, len(side.row)) for value in values)
        row = schedule.rank if schedule.rank is not None else int(side.row[bad])
        raise ScheduleError(
            f"{schedule.algorithm.name}, step {step}: rank {row} selects {length[bad]} chunks from {start[bad]} on, "
            f"of a window of {size[bad]} at {first[bad]} (the buffer has {schedule.n_chunks} chunks)"
        )
