"""Plan: one rank's part of an algorithm on given buffers, compiled once into persistent requests and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.compiled import Compiler, PlanFork, PlanStep, Reduction
from collectives.drafts import Buffers, Drafter
from collectives.memory import Lease
from collectives.mpi import Place, has_group_plans, load_mpi, node_groups, result_view
from collectives.operations import Array, Operation, operation
from commsim.algorithm import Algorithm
from commsim.errors import InputError, RefusedError
from commsim.schedule import Schedule
from commsim.selection import Ints

if TYPE_CHECKING:
    from mpi4py import MPI


FEW = 2  # requests that are started and waited for one by one: the array of more is worth its making


class Plan:
    """One rank's part of an algorithm on given buffers: persistent requests, scratch allocated once.

    ``run()`` does the collective once.

    Parameters
    ----------
    algorithm : Algorithm
        Open parameters take their defaults for this communicator and size.
    comm : mpi4py.MPI.Comm or Place
        Ranks of a communicator make a plan together: it asks who shares a host. In a :class:`Place` that is known.
    buffer : array (n_elements,)
        Contiguous; the whole vector, on every rank, changed in place by ``run()``. What a rank has and gets are its
        blocks of it, or all of it.
    output : array (n_elements,), optional
        Of collectives that have one (alltoall): where the result goes.
    op : str, callable or Operation
        "sum", "prod", "max", "min", or a function of two arrays.
    root : int
    counts : array (n_ranks, n_ranks), optional
        For alltoallv: elements from each rank to each; a rank needs its own row and column only.
    source : array (n_elements,), optional
        Where the values are at first, if not in the vector: they are sent and reduced from there, never copied first,
        and not changed. Where a rank has one block (allgather, gather), that.
    target : array (n_elements,), optional
        Where a rank's block goes (reduce_scatter, scatter), if not into the vector.

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
        comm: MPI.Comm | Place,
        buffer: Array,
        output: Array | None = None,
        *,
        op: str | Operation | Any = "sum",
        root: int = 0,
        counts: Ints | None = None,
        source: Array | None = None,
        target: Array | None = None,
    ) -> None:
        given = comm if isinstance(comm, Place) else Place(comm, node_groups(comm))
        kind, n_bytes = algorithm.collective, buffer.nbytes
        place = given.for_nodes(kind) if algorithm.params.get("ranks_per_node", 1) is None else given
        comm, root = place.comm, place.number(root, given.comm)
        for array in (buffer, output, source, target):
            if array is not None and (array.ndim != 1 or not array.flags.c_contiguous or array.dtype.hasobject):
                shown = f"{array.dtype} of shape {array.shape}"
                raise InputError(f"a buffer must be one-dimensional and contiguous, and hold numbers; not {shown}")
        if kind.sizes_each:
            counts = np.asarray(counts)
            if counts.shape != (comm.size, comm.size):
                raise InputError(f"{kind.name} needs counts, elements from each rank to each")
            n_bytes = int(counts.sum(axis=1).max()) * buffer.itemsize  # what the busiest sends: the same on every rank
        self.algorithm = algorithm.resolved(comm.size, n_bytes, place.groups)
        combine = operation(op)
        if kind.reduces and not (combine.commutative or (self.algorithm.keeps_order and place is given)):
            where = "" if place is given else ", whose ranks are numbered host by host here,"
            raise RefusedError(
                f"{self.algorithm.spec}{where} combines values in another order than that of ranks, and the operation "
                f"{combine.name!r} does not commute; use an algorithm that keeps the order (`commsim list algorithms "
                "--keeps-order`), or say that it commutes: collectives.Operation(function, commutative=True)"
            )
        schedule = Schedule(self.algorithm, comm.size, root, comm.rank)
        lease = place.memory.lease() if place.memory else Lease()
        sizes = counts if kind.sizes_each else None
        buffers = Buffers(schedule, comm.rank, buffer, output, sizes, source, target, lease)
        self._compiler = Compiler(place, combine, buffers)
        lane, _ = Drafter(schedule, buffers, place.in_fabric and has_group_plans(buffer.dtype)).lane(schedule)
        self.result = result_view(kind, comm.rank, comm.size, root, buffer, output)
        begin = (self.result.ctypes.data - buffer.ctypes.data) // buffer.itemsize
        promised = slice(begin, begin + len(self.result))
        if target is not None:
            self.result = target[: len(self.result)]
        try:
            steps = self._compiler.steps(lane)
            kept = [] if source is None or output is not None else self._compiler.kept(promised)
            if kept:  # nobody writes these places else: while the first messages are on their way
                first = next((step for step in steps if isinstance(step, PlanStep)), None)
                if first is None:
                    first = PlanStep()
                    steps.insert(0, first)
                first.during += kept
            self._lane = _LaneRunner(steps)
        except BaseException:
            self._compiler.free()
            raise
        self.run: Callable[[], None] = self._lane.run

    @property
    def only_moves(self) -> bool:
        """Whether all that it does is messages: it neither copies nor reduces."""
        return self._lane.only_moves

    def wait_from_now_on(self) -> None:
        """Make what :meth:`begun` began wait for its messages, instead of coming back."""
        self._lane.is_patient = True

    def begun(self) -> Iterator[None]:
        """The collective in pieces: it comes back whenever it would have to wait, and ends when it is done."""
        self._lane.is_patient = False
        yield from self._lane.polled()

    def free(self) -> None:
        """Give requests and groups back to MPI; the plan cannot run any more."""
        self._compiler.free()


def _apply(reductions: list[Reduction]) -> None:
    for op, left, right, target in reductions:
        op(left, right, target)


def _begin(step: PlanStep, start_all: Callable[[list[Any]], None]) -> None:
    for target, values in step.before:
        np.copyto(target, values)
    if step.together:
        start_all(step.together)
    for request in step.in_order:
        request.Start()
    if step.during:
        _apply(step.during)


class _LaneRunner:
    """Runs the steps of one lane; a fork inside runs its lanes side by side, each as far as its messages have come."""

    def __init__(self, steps: list[PlanStep | PlanFork]) -> None:
        self._mpi = load_mpi()
        self._steps = [
            ([_LaneRunner(lane) for lane in step.lanes], step.stagger) if isinstance(step, PlanFork) else step
            for step in steps
        ]
        self.n_done = 0
        self.is_patient = False  # set while it is polled: from here on wait

    def run(self) -> None:
        """All steps, waiting. As flat as can be: small messages take less time than the loop does."""
        copy, start_all, wait_all, few = np.copyto, self._mpi.Prequest.Startall, self._mpi.Request.Waitall, FEW
        for step in self._steps:
            if isinstance(step, tuple):
                for _ in _side_by_side(*step):
                    pass
                continue
            for target, values in step.before:
                copy(target, values)
            if len(step.together) > few:
                start_all(step.together)
            else:
                for request in step.together:
                    request.Start()
            if step.in_order or step.during or step.arrivals:
                self._beside(step)
            if len(step.pending) > few:
                wait_all(step.pending)
            else:
                for request in step.pending:
                    request.Wait()
            for op, left, right, target in step.after:
                op(left, right, target)

    def _beside(self, step: PlanStep) -> None:
        """What a step does while its messages arrive."""
        for request in step.in_order:
            request.Start()
        _apply(step.during)
        for arrival in step.arrivals:
            if arrival.requests:
                self._mpi.Request.Waitall(arrival.requests)
            _apply(arrival.reductions)
            if arrival.following is not None:
                arrival.following.Start()

    def polled(self) -> Iterator[None]:
        """The same without waiting: comes back whenever a message has not arrived yet."""
        start_all = self._mpi.Prequest.Startall
        for step in self._steps:
            if isinstance(step, tuple):
                yield from _side_by_side(*step)
            else:
                _begin(step, start_all)
                for arrival in step.arrivals:
                    while arrival.requests and not self._ended(arrival.requests):
                        yield
                    _apply(arrival.reductions)
                    if arrival.following is not None:
                        arrival.following.Start()
                while step.pending and not self._ended(step.pending):
                    yield
                _apply(step.after)
            self.n_done += 1

    @property
    def only_moves(self) -> bool:
        """Whether no step copies or reduces."""
        return all(
            all(lane.only_moves for lane in step[0])
            if isinstance(step, tuple)
            else not (step.before or step.during or step.arrivals or step.after)
            for step in self._steps
        )

    def _ended(self, requests: list[Any]) -> bool:
        if self.is_patient:
            self._mpi.Request.Waitall(requests)
            return True
        return bool(self._mpi.Request.Testall(requests))

    @property
    def n_steps(self) -> int:
        """Steps of this lane, a fork being one."""
        return len(self._steps)


def peers_waited_for(frame: FrameType | None) -> list[int]:
    """Whom a thread waits for in a plan, told from the frames of its stack: so that running costs nothing."""
    found: list[int] = []
    while frame is not None:
        step = frame.f_locals.get("step") if frame.f_code in _RUNNING else None
        found += getattr(step, "peers", [])
        frame = frame.f_back
    return sorted(set(found))


_RUNNING = (_LaneRunner.run.__code__, _LaneRunner.polled.__code__)


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
    if recvbuf is not None:
        recvbuf[: len(result)] = result
