"""Compiled steps: drafts made into views, memory, persistent requests and the communicators of groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from collectives.drafts import (
    MOST_LANES,
    Buffers,
    Draft,
    DraftFork,
    DraftLane,
    FabricOperation,
    Message,
    aligned,
    n_elements,
    parts,
)
from collectives.mpi import Place, library_op, load_mpi
from collectives.operations import Array, Operation

MESSAGE_TAGS = 64  # of each lane: the messages of one pair in one step
PLAN_TAGS = (MOST_LANES + 1) * MESSAGE_TAGS  # of one plan
OVERLAP_BYTES = 64 * 1024  # reduced in one step: from here on each message is reduced as soon as it is there
BY_KEYWORD = (np.maximum, np.minimum)  # numpy wants the target of these as out=…

Reduction = tuple[Any, Array, Array, Array]  # operation, both operands in order, target
Copy = tuple[Array, Array]  # target, source


@dataclass
class Arrival:
    """What is done when some requests have ended, and the request that can begin then."""

    requests: list[Any]
    reductions: list[Reduction]
    following: Any = None


@dataclass
class PlanStep:
    """One step: copies into the stage, requests, local moves beside them, and what is done with what arrived.

    Attributes
    ----------
    before : list of Copy
    together, in_order : list of persistent requests
        Started at once, and started one after the other (segments of one message).
    during : list of Reduction
    arrivals : list of Arrival
        In this order, while others still arrive.
    pending : list of persistent requests
        All that must have ended at last.
    after : list of Reduction
    peers : list of int
        Whom the step waits for.
    """

    before: list[Copy] = field(default_factory=list)
    together: list[Any] = field(default_factory=list)
    in_order: list[Any] = field(default_factory=list)
    during: list[Reduction] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    pending: list[Any] = field(default_factory=list)
    after: list[Reduction] = field(default_factory=list)
    peers: list[int] = field(default_factory=list)


@dataclass
class PlanFork:
    """Lanes that run side by side, each `stagger` steps behind the one before it."""

    lanes: list[list[PlanStep | PlanFork]]
    stagger: int


class Compiler:
    """Turns drafts into steps, and gives back to MPI all that it made."""

    def __init__(self, place: Place, op: Operation, buffers: Buffers) -> None:
        self._mpi, self._op, self._buffers = load_mpi(), op, buffers
        is_plain = type(op) is Operation and isinstance(op.function, np.ufunc) and op.function not in BY_KEYWORD
        self._reduce: Any = op.function if is_plain else op.into
        self._comm: Any = place.comm
        self._first_tag = place.first_tag
        self._requests: list[Any] = []
        self._comms: dict[tuple[int, ...], Any] = {}
        self._library_op: tuple[Any, bool] | None = None

    def steps(self, lane: DraftLane) -> list[PlanStep | PlanFork]:
        """The steps of a lane, with memory for its stage."""
        stage = self._buffers.memory.take(lane.stage.n_elements, self._buffers.dtype)
        tags = self._first_tag + lane.number * MESSAGE_TAGS
        return [
            PlanFork([self.steps(inner) for inner in draft.lanes], draft.stagger)
            if isinstance(draft, DraftFork)
            else self._step(draft, stage, tags)
            for draft in lane.steps
        ]

    def brought(self, piece: slice) -> list[Copy]:
        """Copies that bring to the vector what is still in the source only. Where it is read, both places serve."""
        found = self._buffers.read(piece)
        return [(self._buffers.view(part), values) for part, values in found if self._buffers.is_unwritten(part)]

    def kept(self, piece: slice) -> list[Reduction]:
        """What no step writes, and so is in the source only to the end: copies that may be made at any time."""
        return [(_copied, values, values, target) for target, values in self.brought(piece)]

    def _step(self, draft: Draft, stage: Array, tags: int) -> PlanStep:
        """Sends and local moves read before anything is written."""
        done = PlanStep(peers=sorted({message.peer for message in draft.receives}))
        sending: list[tuple[list[slice], Any]] = []  # pieces of the vector that a request reads
        for message in draft.sends:
            area, done_first = self._packed(message, stage)
            done.before += done_first
            is_read = message.staged is None and (done_first or not self._buffers.is_unwritten(message.pieces[0]))
            pieces = message.pieces if is_read else []  # what was packed may be written at once
            sending += self._sends(done, message, area, pieces, tags)
        for work in draft.fabric:
            self._fabric(done, work, stage)
        for source, target in draft.local:
            self._local(done, source, target, stage)
        self._receives(done, draft, stage, tags, sending)
        for message in draft.receives:
            if message.staged is None:
                for piece in message.pieces:
                    self._buffers.written(piece)
        return done

    def _packed(self, message: Message, stage: Array) -> tuple[Array, list[Copy]]:
        """Where a message's elements lie, and the copies that bring them there first."""
        if message.staged is not None:
            return stage[message.staged], self._gathered(stage[message.staged], message.pieces)
        found = self._buffers.read(message.pieces[0])
        if len(found) == 1:
            return found[0][1], []
        return self._buffers.view(message.pieces[0]), self.brought(message.pieces[0])

    def _gathered(self, area: Array, pieces: list[slice]) -> list[Copy]:
        """Copies of pieces of the buffers into one area."""
        return [
            (part[sub.start - piece.start : sub.stop - piece.start], values)
            for piece, part in parts(area, pieces)
            for sub, values in self._buffers.read(piece)
        ]

    def _sends(
        self, done: PlanStep, message: Message, area: Array, pieces: list[slice], tags: int
    ) -> list[tuple[list[slice], Any]]:
        tag = tags + message.number % MESSAGE_TAGS
        cuts = message.cuts if message.segment else [slice(0, len(area))]
        found = []
        for cut in cuts:
            request = self._kept(self._comm.Send_init(self._bytes(area[cut]), message.peer, tag))
            (done.in_order if message.segment else done.together).append(request)
            done.pending.append(request)
            found.append(([slice(p.start + cut.start, p.start + cut.stop) for p in pieces], request))  # one piece
        return found

    def _bytes(self, area: Array) -> list[Any]:
        return [area, area.nbytes, self._mpi.BYTE]

    def _fabric(self, done: PlanStep, work: FabricOperation, stage: Array) -> None:
        area = self._buffers.view(work.pieces[0]) if work.staged is None else stage[work.staged]
        brings = self.brought(work.pieces[0]) if work.staged is None else self._gathered(area, work.pieces)
        done.before += brings
        request = self._kept(self._collective(work, area))
        done.together.append(request)
        done.pending.append(request)
        if work.is_result and work.staged is not None:
            done.after += [(_copied, part, part, self._buffers.view(p)) for p, part in parts(area, work.pieces)]
        for piece in work.pieces if work.is_result or work.staged is None else ():
            self._buffers.written(piece)

    def _local(self, done: PlanStep, source: Message, target: Message, stage: Array) -> None:
        if target.staged is not None:
            done.before += self._gathered(stage[target.staged], source.pieces)
            return
        for piece, into in aligned(source.pieces, target.pieces):
            for part, values in self._buffers.read(piece):
                shift = into.start - piece.start
                done.during += self._reductions(target, slice(part.start + shift, part.stop + shift), values)

    def _receives(
        self, done: PlanStep, draft: Draft, stage: Array, tags: int, sending: list[tuple[list[slice], Any]]
    ) -> None:
        """In exchange order, so that every run reduces in the same one."""
        reduced = sum(n_elements(message.pieces) for message in draft.receives if message.reduce)
        several = sum(message.reduce for message in draft.receives) > 1
        overlaps = several and reduced * self._buffers.dtype.itemsize >= OVERLAP_BYTES
        overlaps = overlaps or any(message.segment for message in draft.receives)
        for message in draft.applied:
            if message.staged is None and any(message is target for _, target in draft.local):
                continue
            arrivals = self._arrivals(done, message, stage, tags + message.number % MESSAGE_TAGS, draft, sending)
            if overlaps:
                done.arrivals += [arrival for arrival in arrivals if arrival.reductions]
            else:
                done.after += [one for arrival in arrivals for one in arrival.reductions]

    def _arrivals(
        self,
        done: PlanStep,
        message: Message,
        stage: Array,
        tag: int,
        draft: Draft,
        sending: list[tuple[list[slice], Any]],
    ) -> list[Arrival]:
        is_local = any(message is target for _, target in draft.local)
        area = self._buffers.view(message.pieces[0]) if message.staged is None else stage[message.staged]
        cuts = message.cuts if message.segment else [slice(0, n_elements(message.pieces))]
        slots = max(len(area) // message.segment, 1) if message.segment else 1
        if len(cuts) * message.segment > len(area) and len(area) == n_elements(message.pieces):
            slots = len(cuts)  # room for all of them, the last one shorter
        arrivals: list[Arrival] = []
        requests: list[Any] = []
        for index, cut in enumerate(cuts):
            begin = index % slots * message.segment
            arrived = area[begin : begin + cut.stop - cut.start]
            if not is_local:
                request = self._kept(self._comm.Recv_init(self._bytes(arrived), message.peer, tag))
                requests.append(request)
                if index < slots:
                    (done.in_order if message.segment else done.together).append(request)
                    done.pending.append(request)
                else:
                    arrivals[index - slots].following = request
            targets = _cut(message.pieces, cut)
            ahead = [r for pieces, r in sending if any(_meet(a, b) for a in pieces for b in targets)]
            arrivals.append(Arrival([*requests[index:], *ahead], []))
            if message.staged is not None:
                for piece, part in parts(arrived, targets):
                    arrivals[-1].reductions += self._reductions(message, piece, part)
        return arrivals

    def _reductions(self, message: Message, place: slice, arrived: Array) -> list[Reduction]:
        """Apply values to a place of the buffers, whose own values may still be in the source."""
        found: list[Reduction] = []
        if not message.reduce:
            found.append((_copied, arrived, arrived, self._buffers.view(place)))
        else:
            for part, own in self._buffers.read(place):
                new = arrived[part.start - place.start : part.stop - place.start]
                operands = (new, own) if message.received_first else (own, new)
                found.append((self._reduce, *operands, self._buffers.view(part)))
        self._buffers.written(place)
        return found

    def _kept(self, request: Any) -> Any:
        self._requests.append(request)
        return request

    def _collective(self, work: FabricOperation, area: Array) -> Any:
        """The persistent collective of one operation; every rank of its group makes it."""
        if work.group not in self._comms:
            ranks = self._comm.group.Incl(list(work.group))
            self._comms[work.group] = self._comm.Create_group(ranks)
            ranks.Free()
        comm, root = self._comms[work.group], work.group.index(work.root)
        if work.kind == "multicast":
            return comm.Bcast_init(area, root)
        if self._library_op is None:
            self._library_op = library_op(self._op, self._buffers.dtype)
        if work.root == self._comm.rank:
            return comm.Reduce_init(self._mpi.IN_PLACE, area, self._library_op[0], root)
        return comm.Reduce_init(area, None, self._library_op[0], root)

    def free(self) -> None:
        """Free requests, communicators and operation; the steps cannot run any more."""
        for made in (*self._requests, *self._comms.values()):
            made.Free()
        if self._library_op is not None and self._library_op[1]:
            self._library_op[0].Free()
        self._requests, self._comms, self._library_op = [], {}, None


def _copied(values: Array, _: Array, out: Array) -> None:
    """What is done in place of an operation where nothing is combined."""
    np.copyto(out, values)


def _cut(pieces: list[slice], cut: slice) -> list[slice]:
    """The pieces that some elements of a message lie in."""
    found, begin = [], 0
    for piece in pieces:
        end = begin + piece.stop - piece.start
        start, stop = max(begin, cut.start), min(end, cut.stop)
        if start < stop:
            found.append(slice(piece.start + start - begin, piece.start + stop - begin))
        begin = end
    return found


def _meet(one: slice, other: slice) -> bool:
    return bool(one.start < other.stop and other.start < one.stop)
