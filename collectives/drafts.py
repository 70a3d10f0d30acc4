"""Drafts: what the steps of one rank move, from where to where, and what must be staged.

Without MPI: whatever is wrong with a program is said before memory, requests or communicators are made.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from collectives.memory import Lease
from collectives.operations import Array
from commsim.errors import InputError, RefusedError, ScheduleError
from commsim.layout import Layout, MatrixLayout
from commsim.messages import placed
from commsim.program import Exchange, Lanes, Side, Step, unrolled
from commsim.schedule import Schedule
from commsim.selection import Ints

MOST_MESSAGES = 1 << 18  # of one rank: half a GiB, and minutes to prepare
SEGMENT_BYTES = 512 * 1024  # of what is reduced: as much as stays in a core's cache between its arrival and its use
SEGMENTS_AHEAD = 4  # receives that are posted before they are needed
MOST_LANES = 511  # at the same time; with the messages of a pair below 32768, the tags that every MPI allows


class Buffers:
    """Vector, output and scratch of a rank as one range of elements, the way its layout counts them.

    Parameters
    ----------
    schedule : Schedule
    rank : int
    buffer, output, counts, source, target
        As :class:`collectives.plan.Plan` has them.
    memory : Lease
        For scratch and stages.

    Attributes
    ----------
    own : slice
        This rank's block of the vector, where a collective has a block for each rank; else all of it.
    """

    def __init__(
        self,
        schedule: Schedule,
        rank: int,
        buffer: Array,
        output: Array | None,
        counts: Ints | None,
        source: Array | None,
        target: Array | None,
        memory: Lease,
    ) -> None:
        collective, space = schedule.algorithm.collective, schedule.space
        self.layout: Layout
        if counts is not None:
            self.layout = MatrixLayout.of_counts(space, counts, buffer.itemsize)
            n_data = int(counts[rank].sum())
        else:
            self.layout = Layout.of(space, collective, schedule.n_ranks, len(buffer), buffer.itemsize)
            n_data = len(buffer)
        self.own = collective.block_slice(rank, schedule.n_ranks, n_data)
        has_block = collective.block_each and not collective.holds(0, 1, 0)
        held = self.own if has_block else slice(0, n_data)
        for array, place in ((buffer, slice(0, n_data)), (source, held), (target, self.own)):
            if array is not None and len(array) < place.stop - place.start:
                raise InputError(f"the vector has {len(array)} elements, too few for {place.stop - place.start}")
        self._arrays = [buffer[:n_data]]
        if target is not None:
            around = buffer[: self.own.start], buffer[self.own.stop : n_data]
            self._arrays = [around[0], target[: self.own.stop - self.own.start], around[1]]
        if collective.has_output:
            n_output = self.layout.n_output(rank)
            if output is None or len(output) < n_output or output.dtype != buffer.dtype:
                raise InputError(f"{collective.name} needs an output of {n_output} elements of {buffer.dtype}")
            if np.may_share_memory(buffer if source is None else source, output):
                raise InputError(f"{collective.name} needs an output of its own, not a part of the vector")
            self._arrays.append(output[:n_output])
        self.dtype, self.memory = buffer.dtype, memory
        self._arrays.append(memory.take(space.n_scratch * n_data, buffer.dtype))  # a message may run from copy to copy
        self._ends = np.cumsum([len(array) for array in self._arrays]).tolist()
        self._source, self._held = source, held
        self._unwritten = [held] if source is not None and held.start < held.stop else []

    def cut(self, pieces: list[slice]) -> list[slice]:
        """The same elements in slices each of which lies in one buffer."""
        found = []
        for piece in pieces:
            inside = [end for end in self._ends if piece.start < end < piece.stop]
            found += [slice(begin, end) for begin, end in pairwise((piece.start, *inside, piece.stop))]
        return found

    def view(self, piece: slice) -> Array:
        """The elements of a slice, which lies in one buffer."""
        which = next(i for i, end in enumerate(self._ends) if piece.stop <= end)
        begin = self._ends[which] - len(self._arrays[which])
        return self._arrays[which][piece.start - begin : piece.stop - begin]

    def read(self, piece: slice) -> list[tuple[slice, Array]]:
        """Parts of a slice with the place where their values are: the source, until the vector was written there."""
        found, begin = [], piece.start
        for fresh in self._unwritten:
            start, stop = max(begin, fresh.start), min(piece.stop, fresh.stop)
            if self._source is None or start >= stop:
                continue
            if begin < start:
                found.append((slice(begin, start), self.view(slice(begin, start))))
            found.append((slice(start, stop), self._source[start - self._held.start : stop - self._held.start]))
            begin = stop
        if begin < piece.stop:
            found.append((slice(begin, piece.stop), self.view(slice(begin, piece.stop))))
        return found

    def is_unwritten(self, piece: slice) -> bool:
        """Whether values of a slice, all or some, are still in the source only."""
        return _overlap([piece], self._unwritten)

    def written(self, piece: slice) -> None:
        """From here on the values of a slice are in the vector."""
        left = []
        for fresh in self._unwritten:
            left += [slice(fresh.start, min(fresh.stop, piece.start)), slice(max(fresh.start, piece.stop), fresh.stop)]
        self._unwritten = [part for part in left if part.start < part.stop]


@dataclass
class Stage:
    """Elements of one lane for what cannot be sent or received in place; every step of the lane uses them anew."""

    n_elements: int = 0

    def take(self, begin: int, size: int) -> slice:
        """Room for some elements; it grows to the largest step's need."""
        end = begin + size
        self.n_elements = max(self.n_elements, end)
        return slice(begin, end)


@dataclass(eq=False)
class Message:
    """One end of a message: the elements here, and the how many-th to (or from) its peer in its step it is.

    What is reduced and large travels in segments, so that one is reduced while the next ones arrive; both ends know it,
    because both know the size. `staged` has then room for some segments only, which are used in turn.
    """

    peer: int
    pieces: list[slice]
    is_send: bool
    reduce: bool = False
    received_first: bool = False
    number: int = 0
    staged: slice | None = None
    segment: int = 0  # elements of each segment but the last; 0 where it is one message

    @property
    def cuts(self) -> list[slice]:
        """The segments, in elements of the message."""
        n = n_elements(self.pieces)
        return [slice(begin, min(begin + self.segment, n)) for begin in range(0, n, self.segment)]


@dataclass(eq=False)
class FabricOperation:
    """What the switches do for one root of a group: on real ranks the group's own MPI collective."""

    kind: str  # "reduce" or "multicast"
    group: tuple[int, ...]
    root: int
    pieces: list[slice]  # what this rank gives, or gets
    is_result: bool  # whether they hold something new afterwards
    staged: slice | None = None


@dataclass
class DraftLane:
    """The steps of one lane. No two lanes that may run at the same time have the same number."""

    number: int
    steps: list[Draft | DraftFork] = field(default_factory=list)
    stage: Stage = field(default_factory=Stage)


@dataclass
class DraftFork:
    """Lanes that run side by side."""

    lanes: list[DraftLane]
    stagger: int


@dataclass
class Drafter:
    """Drafts the steps of one rank's schedule on its buffers.

    Attributes
    ----------
    schedule : Schedule
        Of one rank.
    buffers : Buffers
    in_fabric : bool
        Whether fabric operations are the groups' own collectives; else they are messages like all others.
    n_messages : int
        Drafted so far.
    """

    schedule: Schedule
    buffers: Buffers
    in_fabric: bool
    n_messages: int = 0

    def lane(self, steps: Iterable[Step], number: int = 0) -> tuple[DraftLane, int]:
        """The steps of a lane, or of the schedule itself; and the lowest number that neither it nor a lane in it has.

        Raises
        ------
        ScheduleError
            Naming rank and step.
        RefusedError
            If there are so many messages that the memory for them would run out.
        """
        if number > MOST_LANES:
            raise ScheduleError(f"{self.schedule.algorithm.name} runs more than {MOST_LANES} lanes at the same time")
        lane, highest = DraftLane(number), number + 1
        for index, step in enumerate(unrolled(steps)):
            if isinstance(step, Lanes):
                fork, free = DraftFork([], step.stagger), number + 1  # lanes of the fork before have ended
                for program in step.programs:
                    inner, free = self.lane(program, free)
                    fork.lanes.append(inner)
                lane.steps.append(fork)
                highest = max(highest, free)
                continue
            draft = Draft(self.schedule, self.buffers, self.in_fabric, lane.stage, index, step)
            lane.steps.append(draft)
            self.n_messages += len(draft.sends) + len(draft.receives)
            if self.n_messages > MOST_MESSAGES:
                raise RefusedError(
                    f"{self.schedule.algorithm.spec} sends and receives more than {MOST_MESSAGES} messages on rank "
                    f"{self.schedule.rank}, each kept as a request of its own; choose fewer segments"
                )
        return lane, highest


class Draft:
    """What one step moves, with its part of the stage.

    Attributes
    ----------
    sends, receives : list of Message
        To and from other ranks.
    local : list of (Message, Message)
        Both ends of what a rank sends to itself.
    applied : list of Message
        All receives, those from itself too, in exchange order.
    fabric : list of FabricOperation
    """

    def __init__(
        self, schedule: Schedule, buffers: Buffers, in_fabric: bool, stage: Stage, index: int, step: list[Exchange]
    ) -> None:
        me = schedule.rank or 0
        self.sends: list[Message] = []
        self.applied: list[Message] = []
        self.local: list[tuple[Message, Message]] = []
        self.fabric: list[FabricOperation] = []
        for exchange in step:
            sends = _messages(exchange.sends, exchange, schedule, buffers, index)
            receives = _messages(exchange.receives, exchange, schedule, buffers, index)
            if exchange.fabric and exchange.group is not None and in_fabric:
                self.fabric += _operations(exchange, me, sends, receives)
                continue
            own = [[message for message in side if message.peer == me] for side in (sends, receives)]
            self.local += _paired(schedule, index, *own)
            self.sends += [message for message in sends if message.peer != me]
            self.applied += receives
        self.receives = [message for message in self.applied if message.peer != me]
        for message in (*self.sends, *self.receives):
            message.segment = _segment(message, buffers.dtype.itemsize)
        _number(self.sends)
        _number(self.receives)
        self._place(stage)

    def _place(self, stage: Stage) -> None:
        """Give a part of the stage to what cannot be sent, received or moved in place."""
        sent = [piece for message in self.sends for piece in message.pieces]
        sent += [piece for source, _ in self.local for piece in source.pieces]
        begin = 0
        for work in self.fabric:
            used = [*sent, *(piece for other in self.fabric if other is not work for piece in other.pieces)]
            if len(work.pieces) != 1 or (work.is_result and _overlap(work.pieces, used)):
                work.staged = stage.take(begin, n_elements(work.pieces))
                begin = work.staged.stop
        sent += [piece for work in self.fabric for piece in work.pieces]
        taken = [(message, piece) for message in self.applied for piece in message.pieces]
        sources = {id(target): source for source, target in self.local}
        # who reduces into what it sends waits until that is received: then all its own receives are posted before
        waits = any(_overlap(message.pieces, sent) for message in self.receives)
        for message in (*self.sends, *self.applied):
            source = sources.get(id(message))
            if source is not None:  # moved at once, if nothing else in the step touches either end
                others = [piece for other, piece in taken if other is not message]
                alone = not _overlap(message.pieces, [*sent, *others])
                in_place = alone and not _overlap(source.pieces, [piece for _, piece in taken])
            else:
                in_place = len(message.pieces) == 1 and (message.is_send or not message.reduce)
                in_place = in_place and (message.is_send or not _overlap(message.pieces, sent))
            if not in_place:
                size = n_elements(message.pieces)
                if message.segment and not message.is_send and not waits:
                    size = min(size, SEGMENTS_AHEAD * message.segment)
                message.staged = stage.take(begin, size)
                begin = message.staged.stop


def _messages(side: Side, exchange: Exchange, schedule: Schedule, buffers: Buffers, index: int) -> list[Message]:
    selection, me = placed(side, schedule, index), schedule.rank or 0
    if side.row.any():
        raise ScheduleError(f"{schedule.at(index)}: the program of one rank names {len(side.row)} peers, not one")
    is_send = side is exchange.sends
    first = np.broadcast_to(exchange.received_first, len(exchange.receives.row))
    return [
        Message(
            int(peer),
            buffers.cut(buffers.layout.slices(selection.rows(np.array([row])), me)),
            is_send,
            reduce=exchange.reduce,
            received_first=not is_send and bool(first[row]),
        )
        for row, peer in enumerate(side.peer)
    ]


def _segment(message: Message, item_bytes: int) -> int:
    """Elements of a segment of what is reduced, where it is worth more than one."""
    large = message.reduce and n_elements(message.pieces) * item_bytes >= 2 * SEGMENT_BYTES
    return max(SEGMENT_BYTES // item_bytes, 1) if large else 0


def _operations(
    exchange: Exchange, me: int, sends: list[Message], receives: list[Message]
) -> Iterator[FabricOperation]:
    """One for each root, in the order of ranks of the group: the same on all of them."""
    kind, group = str(exchange.fabric), tuple(int(rank) for rank in np.asarray(exchange.group))
    gives, gets = {m.peer: m.pieces for m in sends}, {m.peer: m.pieces for m in receives}
    for root in group:
        if kind == "reduce":  # a root's own part is where the result goes
            pieces = (receives[0].pieces if receives else None) if root == me else gives.get(root)
        else:
            pieces = (sends[0].pieces if sends else None) if root == me else gets.get(root)
        if pieces is not None:
            yield FabricOperation(kind, group, root, pieces, (root == me) == (kind == "reduce"))


def _paired(
    schedule: Schedule, index: int, sends: list[Message], receives: list[Message]
) -> list[tuple[Message, Message]]:
    """Both ends of the messages of one exchange to oneself."""
    if len(sends) != len(receives):
        raise ScheduleError(
            f"{schedule.at(index)}: rank {schedule.rank} sends to itself {len(sends)} times and receives from itself "
            f"{len(receives)} times"
        )
    for source, target in zip(sends, receives, strict=True):
        moved, taken = n_elements(source.pieces), n_elements(target.pieces)
        if moved != taken:
            raise ScheduleError(
                f"{schedule.at(index)}: rank {schedule.rank} moves {moved} elements to a place of {taken}"
            )
    return list(zip(sends, receives, strict=True))


def _number(messages: list[Message]) -> None:
    """Count the messages of each pair: the same at both ends, whatever else their ranks do in the step."""
    count: dict[int, int] = defaultdict(int)
    for message in messages:
        message.number = count[message.peer]
        count[message.peer] += 1


def _overlap(pieces: list[slice], others: list[slice]) -> bool:
    return any(piece.start < other.stop and other.start < piece.stop for piece in pieces for other in others)


def n_elements(pieces: list[slice]) -> int:
    """Elements of all pieces together."""
    return sum(piece.stop - piece.start for piece in pieces)


def parts(area: Array, pieces: list[slice]) -> list[tuple[slice, Array]]:
    """Each piece of the buffer with its part of a packed area."""
    ends = np.cumsum([piece.stop - piece.start for piece in pieces]).tolist()
    return [(p, area[end - (p.stop - p.start) : end]) for p, end in zip(pieces, ends, strict=True)]


def aligned(source: list[slice], target: list[slice]) -> list[tuple[slice, slice]]:
    """Pieces of both that belong together, equally long."""
    ends = [np.cumsum([0, *(piece.stop - piece.start for piece in pieces)]) for pieces in (source, target)]

    def at(pieces: list[slice], end: Ints, cut: int) -> int:
        which = int(np.searchsorted(end, cut, side="right")) - 1
        return int(pieces[which].start + cut - end[which])

    found = []
    for begin, stop in pairwise(np.union1d(*ends).tolist()):
        first, second = (at(pieces, end, begin) for pieces, end in zip((source, target), ends, strict=True))
        found.append((slice(first, first + stop - begin), slice(second, second + stop - begin)))
    return found
