"""Plan: one rank's part of an algorithm on given buffers, compiled once into persistent requests and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.compiled import Compiler, PlanFork, PlanStep, Reduction
from collectives.drafts import Buffers, Drafter
from collectives.mpi import load_mpi, ranks_per_node, result_view
from collectives.operations import Array, Operation, operation
from commsim.algorithm import Algorithm
from commsim.errors import InputError, RefusedError
from commsim.schedule import Schedule
from commsim.selection import Ints

if TYPE_CHECKING:
    from mpi4py import MPI


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
        kind, n_bytes = algorithm.collective, buffer.nbytes
        for array in (buffer, output):
            if array is not None and (array.ndim != 1 or not array.flags.c_contiguous or array.dtype.hasobject):
                shown = f"{array.dtype} of shape {array.shape}"
                raise InputError(f"a buffer must be one-dimensional and contiguous, and hold numbers; not {shown}")
        if kind.sizes_each:
            counts = np.asarray(counts)
            if counts.shape != (comm.size, comm.size):
                raise InputError(f"{kind.name} needs counts, elements from each rank to each")
            n_bytes = int(counts.sum(axis=1).max()) * buffer.itemsize  # what the busiest sends: the same on every rank
        self.algorithm = algorithm.resolved(comm.size, n_bytes, ranks_per_node(comm))
        combine = operation(op)
        if kind.reduces and not (combine.commutative or self.algorithm.keeps_order):
            raise RefusedError(
                f"{self.algorithm.spec} combines values in another order than that of ranks, and the operation "
                f"{combine.name!r} does not commute; use an algorithm that keeps the order (`commsim list algorithms "
                "--keeps-order`), or say that it commutes: collectives.Operation(function, commutative=True)"
            )
        schedule = Schedule(self.algorithm, comm.size, root, comm.rank)
        buffers = Buffers(schedule, comm.rank, buffer, output, counts if kind.sizes_each else None)
        self._compiler = Compiler(comm, combine, buffer.dtype)
        lane, _ = Drafter(schedule, buffers, self._compiler.in_fabric).lane(schedule)
        try:
            self._lane = _LaneRunner(self._compiler.steps(lane, buffers))
        except BaseException:
            self._compiler.free()
            raise
        self.result = result_view(kind, comm.rank, comm.size, root, buffer, output)

    def run(self) -> None:
        """Do the collective once."""
        self._lane.run()

    def free(self) -> None:
        """Give requests and groups back to MPI; the plan cannot run any more."""
        self._compiler.free()


def _apply(reductions: list[Reduction]) -> None:
    for op, target, source, received_first in reductions:
        if op is None:
            np.copyto(target, source)
        elif received_first:
            op(source, target, target)
        else:
            op(target, source, target)


def _begin(step: PlanStep, start_all: Callable[[list[Any]], None]) -> None:
    for target, source in step.before:
        np.copyto(target, source)
    if step.requests:
        start_all(step.requests)
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

    def run(self) -> None:
        """All steps, waiting."""
        start_all, wait_all = self._mpi.Prequest.Startall, self._mpi.Request.Waitall
        for step in self._steps:
            if isinstance(step, tuple):
                for _ in _side_by_side(*step):
                    pass
                continue
            _begin(step, start_all)
            if step.requests:
                wait_all(step.requests)
            _apply(step.after)

    def polled(self) -> Iterator[None]:
        """The same without waiting: comes back whenever a message has not arrived yet."""
        start_all, test_all = self._mpi.Prequest.Startall, self._mpi.Request.Testall
        for step in self._steps:
            if isinstance(step, tuple):
                yield from _side_by_side(*step)
            else:
                _begin(step, start_all)
                while step.requests and not test_all(step.requests):
                    yield
                _apply(step.after)
            self.n_done += 1

    @property
    def n_steps(self) -> int:
        """Steps of this lane, a fork being one."""
        return len(self._steps)


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
