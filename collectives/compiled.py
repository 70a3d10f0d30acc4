"""Compiled steps: drafts made into views, memory, persistent requests and the communicators of groups."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.drafts import Buffers, Draft, DraftFork, DraftLane, FabricOperation, Message, aligned, parts
from collectives.mpi import has_library_type, library_op, load_mpi
from collectives.operations import Array, Operation

if TYPE_CHECKING:
    from mpi4py import MPI

MESSAGE_TAGS = 64  # of each lane: the messages of one pair in one step

Reduction = tuple[Any, Array, Array, bool]  # operation or None to copy, target, source, whether the source comes first


@dataclass
class PlanStep:
    """One step: copies into the stage, requests, local moves beside them, and what is done with what arrived."""

    before: list[tuple[Array, Array]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    during: list[Reduction] = field(default_factory=list)
    after: list[Reduction] = field(default_factory=list)


@dataclass
class PlanFork:
    """Lanes that run side by side, each `stagger` steps behind the one before it."""

    lanes: list[list[PlanStep | PlanFork]]
    stagger: int


class Compiler:
    """Turns drafts into steps, and gives back to MPI all that it made."""

    def __init__(self, comm: MPI.Comm, op: Operation, dtype: np.dtype[Any]) -> None:
        self._mpi, self._op, self._dtype = load_mpi(), op, dtype
        self._comm: Any = comm
        self.in_fabric = self._mpi.VERSION >= 4 and has_library_type(dtype)  # persistent collectives are MPI 4's
        self._requests: list[Any] = []
        self._comms: dict[tuple[int, ...], Any] = {}
        self._library_op: tuple[Any, bool] | None = None

    def steps(self, lane: DraftLane, buffers: Buffers) -> list[PlanStep | PlanFork]:
        """The steps of a lane, with memory for its stage."""
        stage = np.empty(lane.stage.n_elements, self._dtype)
        return [
            PlanFork([self.steps(inner, buffers) for inner in draft.lanes], draft.stagger)
            if isinstance(draft, DraftFork)
            else self._step(draft, buffers, stage, lane.number * MESSAGE_TAGS)
            for draft in lane.steps
        ]

    def _step(self, draft: Draft, buffers: Buffers, stage: Array, tags: int) -> PlanStep:
        view, done = buffers.view, PlanStep()

        def area_of(moved: Message | FabricOperation) -> Array:
            return view(moved.pieces[0]) if moved.staged is None else stage[moved.staged]

        def staged(moved: Message | FabricOperation) -> list[tuple[Array, Array]]:
            """Places in the buffers, each with its part of the stage."""
            return [] if moved.staged is None else [(view(p), part) for p, part in parts(area_of(moved), moved.pieces)]

        for message in (*draft.receives, *draft.sends):
            area, tag = area_of(message), tags + message.number % MESSAGE_TAGS
            make = self._comm.Send_init if message.is_send else self._comm.Recv_init
            done.requests.append(self._kept(make([area, area.nbytes, self._mpi.BYTE], message.peer, tag)))
            if message.is_send:
                done.before += [(part, place) for place, part in staged(message)]
        for work in draft.fabric:
            done.before += [(part, place) for place, part in staged(work)]
            done.requests.append(self._kept(self._collective(work, area_of(work))))
            done.after += [(None, place, part, False) for place, part in staged(work) if work.is_result]
        for source, target in draft.local:
            if target.staged is None:
                pairs = aligned(source.pieces, target.pieces)
                done.during += [self._reduction(target, view(into), view(piece)) for piece, into in pairs]
            else:
                packed = parts(stage[target.staged], source.pieces)
                done.before += [(part, view(piece)) for piece, part in packed]
        for message in draft.applied:
            done.after += [self._reduction(message, place, part) for place, part in staged(message)]
        return done

    def _reduction(self, message: Message, target: Array, source: Array) -> Reduction:
        return self._op.into if message.reduce else None, target, source, message.received_first

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
            self._library_op = library_op(self._op, self._dtype)
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
