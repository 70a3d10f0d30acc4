"""Plan: one rank's part of an algorithm on given buffers, compiled once into persistent requests and views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.mpi import (
    Array,
    Operation,
    has_library_type,
    library_op,
    load_mpi,
    operation,
    ranks_per_node,
    result_view,
)
from commsim.algorithm import Algorithm
from commsim.errors import InputError, RefusedError, ScheduleError
from commsim.layout import Layout, MatrixLayout
from commsim.messages import placed
from commsim.program import Exchange, Lanes, Step
from commsim.schedule import Schedule
from commsim.selection import Ints

if TYPE_CHECKING:
    from mpi4py import MPI

EXCHANGE_TAGS, LANE_TAGS = 256, 127  # together below 32767, what every MPI allows


class Plan:
    """One rank's part of an algorithm on given buffers: persistent requests, scratch allocated once.

    Parameters
    ----------
    algorithm : Algorithm
        Open parameters take their defaults for this communicator and size.
    comm : mpi4py.MPI.Comm
    buffer : array (n_elements,)
        Contiguous; the whole vector, on every rank, changed in place by :meth:`run`. What a rank has and gets are its
        blocks of it, or all of it.
    output : array (n_elements,), optional
        Of collectives that have one (alltoall): where the result goes.
    op : str, callable or Operation
        "sum", "prod", "max", "min", or a function of two arrays.
    root : int
    counts : array (n_ranks, n_ranks), optional
        For alltoallv: elements from each rank to each.

    Raises
    ------
    InputError
        If a buffer is not one-dimensional and contiguous, or too short.
    RefusedError
        If the algorithm refuses the communicator, or an operation that does not commute.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        comm: MPI.Comm,
        buffer: Array,
        output: Array | None = None,
        *,
        op: str | Operation | Any = "sum",
        root: int = 0,
        counts: Ints | None = None,
    ) -> None:
        mpi = load_mpi()
        for array in (buffer, output):
            if array is not None and (array.ndim != 1 or not array.flags.c_contiguous):
                raise InputError(f"a buffer must be one-dimensional and contiguous, not of shape {array.shape}")
        self.algorithm = algorithm.resolved(comm.size, buffer.nbytes, ranks_per_node(comm))
        schedule = Schedule(self.algorithm, comm.size, root, comm.rank)
        combine = operation(op)
        if schedule.algorithm.collective.reduces and not (combine.commutative or schedule.keeps_order):
            raise RefusedError(
                f"{algorithm.name} combines values in another order than that of ranks, and the operation does not "
                "commute; use an algorithm that keeps the order (`commsim list algorithms`), or say that it commutes: "
                "Operation(function, commutative=True)"
            )
        buffers = _Buffers(schedule, comm.rank, buffer, output, counts)
        self._groups = _Groups(comm, combine, buffer.dtype)
        compiler = _Compiler(mpi, comm, schedule, buffers, self._groups, combine)
        self._lanes = _LaneRunner(mpi, compiler.steps(schedule))
        self.result = result_view(schedule.algorithm.collective, comm.rank, comm.size, root, buffer, output)

    def run(self) -> None:
        """Do the collective once."""
        self._lanes.run()

    def free(self) -> None:
        """Give requests and groups back to MPI; the plan cannot run any more."""
        self._lanes.free()
        self._groups.free()


class _Buffers:
    """Vector, output and scratch of a rank as one range of elements, the way its layout counts them."""

    def __init__(self, schedule: Schedule, rank: int, buffer: Array, output: Array | None, counts: Ints | None) -> None:
        collective, space = schedule.algorithm.collective, schedule.space
        self.layout: Layout
        if collective.sizes_each:
            if counts is None or counts.shape != (schedule.n_ranks, schedule.n_ranks):
                raise InputError(f"{collective.name} needs counts, elements from each rank to each")
            self.layout = MatrixLayout.of_counts(space, counts, buffer.itemsize)
            n_data = int(counts[rank].sum())
        else:
            self.layout = Layout.of(space, collective, schedule.n_ranks, len(buffer), buffer.itemsize)
            n_data = len(buffer)
        if len(buffer) < n_data:
            raise InputError(f"the vector has {len(buffer)} elements, too few for {n_data}")
        self._arrays = [buffer[:n_data]]
        if collective.has_output:
            n_output = self.layout.n_output(rank)
            if output is None or len(output) < n_output or output.dtype != buffer.dtype:
                raise InputError(f"{collective.name} needs an output of {n_output} elements of {buffer.dtype}")
            self._arrays.append(output[:n_output])
        self._arrays.append(np.empty(space.n_scratch * n_data, buffer.dtype))  # a message may run on from copy to copy
        self._ends = np.cumsum([len(array) for array in self._arrays]).tolist()
        self.dtype, self._rank = buffer.dtype, rank

    def view(self, piece: slice) -> Array:
        """The elements of a slice, which lies in one buffer."""
        which = next(i for i, end in enumerate(self._ends) if piece.stop <= end)
        begin = self._ends[which] - len(self._arrays[which])
        return self._arrays[which][piece.start - begin : piece.stop - begin]


@dataclass
class _Stage:
    """Memory of one lane for what cannot be sent or received in place; every step of the lane uses it anew."""

    dtype: Any
    n_elements: int = 0
    array: Array = field(default_factory=lambda: np.empty(0))

    def take(self, begin: int, n: int) -> slice:
        """A part of it; it grows to the largest step's need."""
        self.n_elements = max(self.n_elements, begin + n)
        return slice(begin, begin + n)

    def allocate(self) -> None:
        """Make the memory, once all steps are known."""
        self.array = np.empty(self.n_elements, self.dtype)


Reduction = tuple[Any, Array, Array, bool]  # operation or None to copy, target, source, whether the source comes first


@dataclass
class _PlanStep:
    """One step: copies into the stage, requests, local moves beside them, and what is done with what arrived."""

    before: list[tuple[Array, Array]]
    requests: list[Any]
    during: list[Reduction]
    after: list[Reduction]


@dataclass
class _PlanFork:
    lanes: list[list[_PlanStep | _PlanFork]]
    stagger: int


@dataclass(eq=False)
class _Message:
    """One end of a message: where it goes, and the elements here."""

    tag: int
    peer: int
    pieces: list[slice]
    staged: slice | None = None
    reduce: bool = False
    received_first: bool = False
    is_send: bool = False

    @property
    def n_elements(self) -> int:
        return sum(piece.stop - piece.start for piece in self.pieces)


class _Compiler:
    """Turns steps into requests and views: first everything is sized, then memory is made, then requests."""

    def __init__(
        self, mpi: Any, comm: MPI.Comm, schedule: Schedule, buffers: _Buffers, groups: _Groups, op: Operation
    ) -> None:
        self._mpi, self._comm, self._schedule, self._buffers, self._op = mpi, comm, schedule, buffers, op
        self._groups = groups
        self._n_lanes = 0

    def steps(self, steps: Iterator[Step] | Schedule) -> list[_PlanStep | _PlanFork]:
        """The steps of one lane, with their own stage."""
        lane = self._n_lanes % LANE_TAGS
        self._n_lanes += 1
        stage = _Stage(self._buffers.dtype)
        drafts: list[Any] = []
        for index, step in enumerate(steps):
            if isinstance(step, Lanes):
                drafts.append(_PlanFork([self.steps(program) for program in step.programs], step.stagger))
            else:
                made = _Draft(self._schedule, self._buffers, self._groups, stage, index, step, lane * EXCHANGE_TAGS)
                drafts.append(made)
        stage.allocate()
        return [draft if isinstance(draft, _PlanFork) else self._compiled(draft, stage) for draft in drafts]

    def _compiled(self, draft: _Draft, stage: _Stage) -> _PlanStep:
        view, comm, byte = self._buffers.view, self._comm, self._mpi.BYTE
        done = _PlanStep([], [], [], [])
        for message in draft.receives:
            area = view(message.pieces[0]) if message.staged is None else stage.array[message.staged]
            done.requests.append(comm.Recv_init([area, area.nbytes, byte], message.peer, message.tag))
        for message in draft.sends:
            area = view(message.pieces[0]) if message.staged is None else stage.array[message.staged]
            if message.staged is not None:
                done.before += [(part, view(piece)) for piece, part in _parts(area, message.pieces)]
            done.requests.append(comm.Send_init([area, area.nbytes, byte], message.peer, message.tag))
        for work in draft.in_fabric:
            area = view(work.pieces[0]) if work.staged is None else stage.array[work.staged]
            if work.staged is not None:
                parts = _parts(area, work.pieces)
                done.before += [(part, view(piece)) for piece, part in parts]
                if work.is_result:
                    done.after += [(None, view(piece), part, False) for piece, part in parts]
            done.requests.append(self._groups.request(work, area, comm.rank))
        for source, target in draft.local:
            if target.staged is None:
                done.during += [self._reduction(target, view(b), view(a)) for a, b in _aligned(source, target)]
            else:
                parts = _parts(stage.array[target.staged], source.pieces)
                done.before += [(part, view(piece)) for piece, part in parts]
        for message in draft.applied:
            if message.staged is not None:
                parts = _parts(stage.array[message.staged], message.pieces)
                done.after += [self._reduction(message, view(piece), part) for piece, part in parts]
        return done

    def _reduction(self, message: _Message, target: Array, source: Array) -> Reduction:
        return self._op.into if message.reduce else None, target, source, message.received_first


@dataclass(eq=False)
class _FabricOperation:
    """What the switches do for one root of a group: on real ranks the group's own MPI collective."""

    kind: str  # "reduce" or "multicast"
    group: tuple[int, ...]
    root: int
    pieces: list[slice]  # what this rank gives, or gets
    is_result: bool  # whether they hold something new afterwards
    staged: slice | None = None


def _operations(
    exchange: Exchange, me: int, sends: list[_Message], receives: list[_Message]
) -> Iterator[_FabricOperation]:
    """One for each root, in the order of ranks of the group: the same on all of them."""
    kind, group = str(exchange.fabric), tuple(int(rank) for rank in np.asarray(exchange.group))
    gives, gets = {m.peer: m.pieces for m in sends}, {m.peer: m.pieces for m in receives}
    for root in group:
        if kind == "reduce":  # a root's own part is where the result goes
            pieces = (receives[0].pieces if receives else None) if root == me else gives.get(root)
        else:
            pieces = (sends[0].pieces if sends else None) if root == me else gets.get(root)
        if pieces is not None:
            yield _FabricOperation(kind, group, root, pieces, (root == me) == (kind == "reduce"))


class _Groups:
    """Communicators of the groups whose switches work for them, each made once."""

    def __init__(self, comm: MPI.Comm, op: Operation, dtype: np.dtype[Any]) -> None:
        self._comm: Any = comm
        self._op, self._made = op, dict[tuple[int, ...], Any]()
        self._mpi, self._dtype = load_mpi(), dtype
        self._library_op: tuple[Any, bool] = (None, False)
        self.usable = self._mpi.VERSION >= 4 and has_library_type(dtype)  # persistent collectives are MPI 4's

    def request(self, operation: _FabricOperation, area: Array, me: int) -> Any:
        """The persistent collective of one operation; every rank of its group makes it."""
        if operation.group not in self._made:
            ranks = self._comm.group.Incl(list(operation.group))
            self._made[operation.group] = self._comm.Create_group(ranks)
            ranks.Free()
        comm, root = self._made[operation.group], operation.group.index(operation.root)
        if operation.kind == "multicast":
            return comm.Bcast_init(area, root)
        if self._library_op[0] is None:
            self._library_op = library_op(self._op, self._dtype)
        if operation.root == me:
            return comm.Reduce_init(self._mpi.IN_PLACE, area, self._library_op[0], root)
        return comm.Reduce_init(area, None, self._library_op[0], root)

    def free(self) -> None:
        """Free all that was made."""
        for comm in self._made.values():
            comm.Free()
        self._made = {}
        if self._library_op[1]:
            self._library_op[0].Free()


class _Draft:
    """What one step moves, with its part of the stage."""

    def __init__(
        self,
        schedule: Schedule,
        buffers: _Buffers,
        groups: _Groups,
        stage: _Stage,
        index: int,
        step: list[Exchange],
        tags: int,
    ) -> None:
        me = schedule.rank or 0
        self.sends: list[_Message] = []
        self.applied: list[_Message] = []  # all receives, in exchange order
        own: list[tuple[list[_Message], list[_Message]]] = []
        self.in_fabric: list[_FabricOperation] = []
        for number, exchange in enumerate(step):
            sides = (exchange.sends, exchange.receives)
            sends, receives = (self._ends(side, exchange, schedule, buffers, index) for side in sides)
            if exchange.fabric and exchange.group is not None and groups.usable:
                self.in_fabric += _operations(exchange, me, sends, receives)
                continue
            for message in (*sends, *receives):
                message.tag = tags + number % EXCHANGE_TAGS
            own.append(([m for m in sends if m.peer == me], [m for m in receives if m.peer == me]))
            self.sends += [message for message in sends if message.peer != me]
            self.applied += receives
        self.receives = [message for message in self.applied if message.peer != me]
        self.local = [pair for sends, receives in own for pair in _paired(schedule, index, me, sends, receives)]
        self._place(stage)

    @staticmethod
    def _ends(side: Any, exchange: Exchange, schedule: Schedule, buffers: _Buffers, index: int) -> list[_Message]:
        selection, me = placed(side, schedule, index), schedule.rank or 0
        is_receive = side is exchange.receives
        first = np.broadcast_to(exchange.received_first if is_receive else False, len(side.row))
        return [
            _Message(
                *(0, int(peer), buffers.layout.slices(selection.rows(np.array([row])), me)),
                reduce=is_receive and exchange.reduce,
                received_first=is_receive and bool(first[row]),
                is_send=not is_receive,
            )
            for row, peer in enumerate(side.peer)
        ]

    def _place(self, stage: _Stage) -> None:
        """Give a part of the stage to what cannot be sent, received or moved in place."""
        sent = [piece for message in self.sends for piece in message.pieces]
        sent += [piece for source, _ in self.local for piece in source.pieces]
        begin = 0
        for work in self.in_fabric:
            if len(work.pieces) != 1:
                work.staged = stage.take(begin, sum(piece.stop - piece.start for piece in work.pieces))
                begin = work.staged.stop
            sent += work.pieces
        taken = [(message, piece) for message in self.applied for piece in message.pieces]
        sources = {id(target): source for source, target in self.local}
        for message in (*self.sends, *self.applied):
            source = sources.get(id(message))
            if source is not None:  # moved at once, if nothing else in the step touches either end
                others = [piece for other, piece in taken if other is not message]
                alone = not _overlap(message.pieces, [*sent, *others])
                in_place = alone and not _overlap(source.pieces, [piece for _, piece in taken])
            else:
                in_place = len(message.pieces) == 1 and not message.reduce
                in_place = in_place and (message.is_send or not _overlap(message.pieces, sent))
            if not in_place:
                message.staged = stage.take(begin, message.n_elements)
                begin = message.staged.stop


def _paired(
    schedule: Schedule, index: int, me: int, sends: list[_Message], receives: list[_Message]
) -> list[tuple[_Message, _Message]]:
    """Both ends of the messages of one exchange to oneself."""
    if len(sends) != len(receives):
        raise ScheduleError(
            f"{schedule.at(index)}: rank {me} sends to itself {len(sends)} times and receives from itself "
            f"{len(receives)} times"
        )
    for source, target in zip(sends, receives, strict=True):
        if source.n_elements != target.n_elements:
            raise ScheduleError(
                f"{schedule.at(index)}: rank {me} moves {source.n_elements} elements to a place of {target.n_elements}"
            )
    return list(zip(sends, receives, strict=True))


def _overlap(pieces: list[slice], others: list[slice]) -> bool:
    return any(piece.start < other.stop and other.start < piece.stop for piece in pieces for other in others)


def _parts(area: Array, pieces: list[slice]) -> list[tuple[slice, Array]]:
    """Each piece of the buffer with its part of a packed area."""
    ends = np.cumsum([piece.stop - piece.start for piece in pieces]).tolist()
    return [(p, area[end - (p.stop - p.start) : end]) for p, end in zip(pieces, ends, strict=True)]


def _aligned(source: _Message, target: _Message) -> list[tuple[slice, slice]]:
    """Pieces of both that belong together, equally long."""
    ends = [np.cumsum([0, *(p.stop - p.start for p in message.pieces)]) for message in (source, target)]
    cuts = np.union1d(*ends).tolist()

    def at(message: _Message, end: Ints, cut: int) -> int:
        which = int(np.searchsorted(end, cut, side="right")) - 1
        return int(message.pieces[which].start + cut - end[which])

    found = []
    for begin, stop in pairwise(cuts):
        first, second = (at(message, end, begin) for message, end in zip((source, target), ends, strict=True))
        found.append((slice(first, first + stop - begin), slice(second, second + stop - begin)))
    return found


def _apply(reductions: list[Reduction]) -> None:
    for op, target, source, received_first in reductions:
        if op is None:
            np.copyto(target, source)
        elif received_first:
            op(source, target, target)
        else:
            op(target, source, target)


class _LaneRunner:
    """Runs the steps of one lane; a fork inside runs its lanes side by side, each as far as its messages have come."""

    def __init__(self, mpi: Any, steps: list[_PlanStep | _PlanFork]) -> None:
        self._mpi = mpi
        self._steps = [
            ([_LaneRunner(mpi, lane) for lane in step.lanes], step.stagger) if isinstance(step, _PlanFork) else step
            for step in steps
        ]
        self.n_done = 0

    def run(self) -> None:
        """All steps, waiting."""
        start_all, wait_all = self._mpi.Prequest.Startall, self._mpi.Request.Waitall
        for step in self._steps:
            if isinstance(step, tuple):
                for _ in _side_by_side(*step):
                    pass
                continue
            for target, source in step.before:
                np.copyto(target, source)
            if step.requests:
                start_all(step.requests)
            _apply(step.during)
            if step.requests:
                wait_all(step.requests)
            _apply(step.after)

    def polled(self) -> Iterator[None]:
        """The same without waiting: comes back whenever a message has not arrived yet."""
        start_all, test_all = self._mpi.Prequest.Startall, self._mpi.Request.Testall
        self.n_done = 0
        for step in self._steps:
            if isinstance(step, tuple):
                yield from _side_by_side(*step)
            else:
                for target, source in step.before:
                    np.copyto(target, source)
                if step.requests:
                    start_all(step.requests)
                _apply(step.during)
                while step.requests and not test_all(step.requests):
                    yield
                _apply(step.after)
            self.n_done += 1

    @property
    def n_steps(self) -> int:
        """Steps of this lane, a fork being one."""
        return len(self._steps)

    def free(self) -> None:
        """Free all requests."""
        for step in self._steps:
            if isinstance(step, tuple):
                for lane in step[0]:
                    lane.free()
            else:
                for request in step.requests:
                    request.Free()
        self._steps = []


def _side_by_side(lanes: list[_LaneRunner], stagger: int) -> Iterator[None]:
    """Poll lanes in turn until all have ended; each begins `stagger` steps after the one before it."""
    for lane in lanes:
        lane.n_done = 0
    running: dict[int, Iterator[None]] = {}
    finished: set[int] = set()
    while len(finished) < len(lanes):
        for number, lane in enumerate(lanes):
            if number not in running:
                before = lanes[number - 1] if number else None
                if before is not None and before.n_done < min(stagger, before.n_steps):
                    continue
                running[number] = lane.polled()
            if number not in finished and next(running[number], _ENDED) is _ENDED:
                finished.add(number)
        yield


_ENDED = object()


def execute(
    algorithm: Algorithm,
    comm: MPI.Comm,
    buffer: Array,
    output: Array | None = None,
    *,
    op: str | Operation | Any = "sum",
    root: int = 0,
    counts: Ints | None = None,
) -> None:
    """Run a collective once on real ranks, in place. For many runs on the same buffers make a :class:`Plan`.

    Every rank of the communicator calls this; parameters as those of :class:`Plan`.
    """
    _run_once(algorithm, comm, buffer, output, op=op, root=root, counts=counts)


def _run_once(algorithm: Algorithm, comm: MPI.Comm, *buffers: Any, **options: Any) -> Array:
    plan = Plan(algorithm, comm, *buffers, **options)
    try:
        plan.run()
    finally:
        plan.free()
    return plan.result


def execute_apart(
    algorithm: Algorithm,
    comm: MPI.Comm,
    sendbuf: Array | None,
    recvbuf: Array | None,
    *,
    op: str | Operation | Any = "sum",
    root: int = 0,
    counts: Ints | None = None,
) -> None:
    """Run a collective once with a buffer for what a rank has and one for what it gets, as MPI's own calls have them.

    Parameters
    ----------
    algorithm : Algorithm
    comm : mpi4py.MPI.Comm
        Every rank of it calls this.
    sendbuf : array or None
        The vector, or this rank's block of an allgather or gather; None where a rank has nothing. It is not changed.
    recvbuf : array or None
        The vector, this rank's block of a reduce_scatter or scatter, an alltoall's output; None where it gets nothing.
    op, root, counts
        As :class:`Plan` has them.
    """
    kind = algorithm.collective
    given = np.empty(0, recvbuf.dtype) if sendbuf is None and recvbuf is not None else sendbuf
    if given is None:
        raise InputError("a rank needs a sendbuf, a recvbuf, or both")
    if kind.has_output:
        vector = given.copy()
        _run_once(algorithm, comm, vector, recvbuf, op=op, root=root, counts=counts)
        return
    one_block_each = kind.block_each and not kind.holds(0, 1, 0)
    n_elements = comm.allreduce(len(given), load_mpi().SUM if one_block_each else load_mpi().MAX)
    vector = np.zeros(n_elements, given.dtype)
    if len(given):
        vector[kind.block_slice(comm.rank, comm.size, n_elements) if one_block_each else slice(None)] = given
    result = _run_once(algorithm, comm, vector, op=op, root=root)
    if recvbuf is not None and len(result):
        np.copyto(recvbuf, result)
