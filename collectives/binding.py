"""A call's buffers made those of a plan: vector, source, output and scratch, and what is copied before and after."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from collectives import devices
from collectives.arrays import Buffer, as_buffer, device_memory
from collectives.memory import Lease
from collectives.mpi import LibraryOperation, Place, from_library_op, load_mpi
from collectives.operations import Array, Operation, operation
from collectives.plan import Plan
from collectives.registry import find
from collectives.tuning import candidates
from commsim.algorithm import Algorithm
from commsim.collective import collective_named
from commsim.errors import InputError, RefusedError
from commsim.selection import Ints

AUTO, LIBRARY = "auto", "library"
SCRATCH_OF_CALLS = 1 << 20  # pieces of memory beside those of the plan


class Arguments(NamedTuple):
    """What a call was made with.

    Attributes
    ----------
    collective : str
    comm : mpi4py.MPI.Comm
    sendbuf, recvbuf : buffer
    op, root, algorithm, tuning
        See :mod:`collectives.calls`.
    counts : tuple of int, optional
        Of the blocks of a reduce_scatter.
    """

    collective: str
    comm: Any
    sendbuf: Any
    recvbuf: Any
    op: Any = None
    root: int = 0
    algorithm: Any = AUTO
    tuning: Any = None
    counts: tuple[int, ...] | None = None

    @property
    def is_in_place(self) -> bool:
        """Whether values are where results will be."""
        return self.sendbuf is load_mpi().IN_PLACE


class Call:
    """A plan with the copies around it.

    Attributes
    ----------
    algorithm : str
        The spec that runs; "library" for the MPI library's own.
    bound : Bound
        Its buffers.
    path : str
        How the buffers are reached: "host", "device", or "staged on the host".
    n_running : int
        Runs that have begun and not ended.
    named, others : object
        The algorithm, and operation, table and counts that were asked for: keys tell them apart by identity.
    known_as : object
        Its key among known calls.
    known_by : list of weakref.ref
        The buffers that have to live for it to be known.
    said : object
        What other ranks are told of it, once they were.
    """

    def __init__(self, plan: Any, algorithm: str, bound: Bound) -> None:
        self._plan, self.bound = plan, bound
        self.algorithm, self.path = algorithm, bound.path
        self.n_running = 0
        self.named: Any = None
        self.others: tuple[Any, Any, Any] = (None, None, None)
        self.known_as: Any = None
        self.known_by: list[Any] = []
        self.said: Any = None
        self.run: Callable[[], None] = plan.run if not bound.before and not bound.after else self._run

    def _run(self) -> None:
        for copy in self.bound.before:
            copy()
        self._plan.run()
        for copy in self.bound.after:
            copy()

    def begun(self) -> Iterator[None]:
        """Do it in pieces, as the plan does."""
        for copy in self.bound.before:
            copy()
        yield from self._plan.begun()
        for copy in self.bound.after:
            copy()

    def wait_from_now_on(self) -> None:
        """Make the rest of what was begun wait."""
        self._plan.wait_from_now_on()

    def free(self) -> None:
        """Give the plan's requests back."""
        self._plan.free()


@dataclass
class Bound:
    """Buffers of a plan, and what is done before and after it."""

    lease: Lease
    on_device: bool = False
    vector: Any = None
    output: Array | None = None
    source: Array | None = None
    target: Array | None = None
    counts: Ints | None = None
    before: list[Callable[[], object]] = field(default_factory=list)
    after: list[Callable[[], object]] = field(default_factory=list)
    path: str = "host"
    kind: Any = None  # the MPI type that was given

    def array(
        self, given: Any, n_blocks: int = 1, *, read: bool = False, written: bool = False
    ) -> tuple[Array, Buffer]:
        """A buffer's elements; of one on a device a copy on the host, brought before and taken back after."""
        if given is None:
            raise InputError("this rank needs a buffer here, not None")
        buffer = as_buffer(given, n_blocks, written=written)
        self.kind = buffer.kind
        if not buffer.is_device:
            return buffer.array(), buffer
        device = devices.current()
        self.before.append(partial(device.synchronize, buffer.stream))
        if self.on_device:
            self.path = "device"
            return buffer.array(), buffer
        host, self.path = np.empty(buffer.n_total, buffer.dtype), "staged on the host"
        if read:
            self.before.append(partial(device.to_host, host, buffer.address))
        if written:
            self.after.append(partial(device.to_device, buffer.address, host))
        return host, buffer

    def handed_on(self, given: Any, *, written: bool = False) -> Any:
        """A buffer as MPI takes it: one on a device in a copy on the host, unless MPI takes device memory."""
        buffer = None if given is None or given is load_mpi().IN_PLACE else device_memory(given)
        if buffer is None:
            return given
        device = devices.current()
        self.before.append(partial(device.synchronize, buffer.stream))
        if self.on_device:
            self.path = "device"
            return given
        host, self.path = np.empty(buffer.n_elements, buffer.dtype), "staged on the host"
        self.before.append(partial(device.to_host, host, buffer.address))
        if written:
            self.after.append(partial(device.to_device, buffer.address, host))
        return [host, *given[1:]] if isinstance(given, (list, tuple)) else host

    def copied(self, target: Array, values: Array, *, after: bool = False) -> None:
        """Copy so before or after every run, unless both are one place."""
        fits(target, values)
        if len(target) and target.__array_interface__["data"] != values.__array_interface__["data"]:
            place = 0 if after else len(self.before)
            (self.after if after else self.before).insert(place, partial(np.copyto, target, values))
            self.on_device = False

    def scratch(self, n_elements: int, dtype: np.dtype[Any]) -> Array:
        """Memory that nobody else sees."""
        return self.lease.take(n_elements, dtype)


def fits(target: Array, values: Array) -> Array:
    """The target, if it takes the values."""
    if target.dtype != values.dtype or len(target) != len(values):
        raise InputError(
            f"{len(values)} elements of {values.dtype} do not fit a place of {len(target)} of {target.dtype}"
        )
    return target


def bind(place: Place, asked: Arguments) -> Call:
    """Make the plan of a call; does not communicate."""
    kind, combine = collective_named(asked.collective), operation_of(asked)
    if asked.algorithm == LIBRARY:
        return _library(asked._replace(op=load_mpi().SUM if asked.op is None else asked.op))
    for on_device in (True, False) if devices.aware() else (False,):
        lease = place.memory.lease(SCRATCH_OF_CALLS) if place.memory else Lease()
        bound = Bound(lease, on_device)
        _BINDINGS[kind.name](bound, asked)
        if isinstance(combine, LibraryOperation):
            combine = combine.of(bound.kind)
        elif kind.reduces:
            combine.require(bound.vector.dtype)
        plan = _plan(place, asked, bound, combine)
        if bound.path != "device" or (plan.only_moves and not kind.reduces):
            return Call(plan, plan.algorithm.spec, bound)
        plan.free()
    raise AssertionError("the host is always taken")


def operation_of(asked: Arguments) -> Operation:
    """What combines."""
    op = load_mpi().SUM if asked.op is None else asked.op
    return from_library_op(op) if isinstance(op, load_mpi().Op) else operation(op)


def _plan(place: Place, asked: Arguments, bound: Bound, op: Operation) -> Plan:
    options: dict[str, Any] = {"op": op, "root": asked.root, "counts": bound.counts}
    options |= {"source": bound.source, "target": bound.target}
    refusals = []
    for one in _wanted(place, asked, bound):
        try:
            return Plan(one, place, bound.vector, bound.output, **options)
        except RefusedError as error:
            refusals.append(error)
    raise refusals[0]


def _wanted(place: Place, asked: Arguments, bound: Bound) -> list[Algorithm]:
    name, algorithm = asked.collective, asked.algorithm
    if isinstance(algorithm, Algorithm):
        if algorithm.collective.name != name:
            raise InputError(f"{algorithm.name} is for {algorithm.collective.name}, not for {name}")
        return [algorithm]
    if algorithm != AUTO:
        return [find(name, algorithm)]
    n_bytes = 0 if bound.counts is not None else bound.vector.nbytes  # the same on all ranks
    return candidates(name, place.comm.size, n_bytes, asked.tuning, place.for_nodes(collective_named(name)).groups)


def _same(bound: Bound, vector: Array, source: Array) -> None:
    if vector.dtype != source.dtype or len(vector) != len(source):
        raise InputError(
            f"sendbuf has {len(source)} elements of {source.dtype}, and recvbuf {len(vector)} of {vector.dtype}; they "
            "must be alike"
        )
    bound.vector, bound.source = vector, source


def _allreduce(bound: Bound, asked: Arguments) -> None:
    vector, _ = bound.array(asked.recvbuf, read=asked.is_in_place, written=True)
    if asked.is_in_place:
        bound.vector = vector
    else:
        _same(bound, vector, bound.array(asked.sendbuf, read=True)[0])


def _reduce(bound: Bound, asked: Arguments) -> None:
    if asked.comm.rank == asked.root:
        _allreduce(bound, asked)
        return
    source, _ = bound.array(asked.sendbuf, read=True)
    _same(bound, bound.scratch(len(source), source.dtype), source)


def _broadcast(bound: Bound, asked: Arguments) -> None:
    is_root = asked.comm.rank == asked.root
    bound.vector, _ = bound.array(asked.recvbuf, read=is_root, written=not is_root)


def _reduce_scatter(bound: Bound, asked: Arguments) -> None:
    p, me, counts = asked.comm.size, asked.comm.rank, asked.counts
    given = asked.recvbuf if asked.is_in_place else asked.sendbuf
    source, _ = bound.array(given, read=True, written=asked.is_in_place)
    target = source if asked.is_in_place else bound.array(asked.recvbuf, written=True)[0]
    share, rest = divmod(len(source), p)
    nearly = tuple(share + (rank < rest) for rank in range(p))
    if counts is None and rest:
        raise InputError(
            f"a vector of {len(source)} elements is not {p} equal blocks; say recvcounts of Reduce_scatter"
        )
    counts = nearly if counts is None else counts
    if len(counts) != p or sum(counts) != len(source):
        raise InputError(f"recvcounts must be {p} numbers that add up to {len(source)}")
    begin, each = np.cumsum((0, *counts)), max(counts, default=0)
    if counts == nearly:
        _same(bound, bound.scratch(len(source), source.dtype), source)
        block = bound.vector[begin[me] : begin[me + 1]]
        if not asked.is_in_place:
            bound.target = fits(target[: counts[me]], block)
            return
    else:  # blocks as long as the longest
        bound.vector = bound.scratch(p * each, source.dtype)
        for rank, n in enumerate(counts):
            bound.copied(bound.vector[rank * each : rank * each + n], source[begin[rank] : begin[rank + 1]])
        block = bound.vector[me * each : me * each + counts[me]]
    bound.copied(target[: counts[me]], block, after=True)


def _block(array: Array, comm: Any) -> Array:
    """A rank's own of equal blocks."""
    each = len(array) // comm.size
    return array[comm.rank * each : (comm.rank + 1) * each]


def _allgather(bound: Bound, asked: Arguments) -> None:
    bound.vector, _ = bound.array(asked.recvbuf, asked.comm.size, read=asked.is_in_place, written=True)
    if not asked.is_in_place:
        bound.source, _ = bound.array(asked.sendbuf, read=True)
        fits(_block(bound.vector, asked.comm), bound.source)


def _gather(bound: Bound, asked: Arguments) -> None:
    if asked.comm.rank == asked.root:
        _allgather(bound, asked)
        return
    bound.source, _ = bound.array(asked.sendbuf, read=True)
    bound.vector = bound.scratch(asked.comm.size * len(bound.source), bound.source.dtype)


def _scatter(bound: Bound, asked: Arguments) -> None:
    is_root = asked.comm.rank == asked.root
    is_in_place = is_root and asked.recvbuf is load_mpi().IN_PLACE
    if is_root:
        source, _ = bound.array(asked.sendbuf, asked.comm.size, read=True)
        _same(bound, bound.scratch(len(source), source.dtype), source)
    if not is_in_place:
        bound.target, _ = bound.array(asked.recvbuf, written=True)
    if is_root and bound.target is not None:
        fits(bound.target, _block(bound.vector, asked.comm))
    elif bound.target is not None:
        bound.vector = bound.scratch(asked.comm.size * len(bound.target), bound.target.dtype)


def _alltoall(bound: Bound, asked: Arguments) -> None:
    bound.output, _ = bound.array(asked.recvbuf, asked.comm.size, read=asked.is_in_place, written=True)
    vector = bound.scratch(len(bound.output), bound.output.dtype)
    if asked.is_in_place:
        bound.vector = vector
        bound.copied(vector, bound.output)
    else:
        _same(bound, vector, bound.array(asked.sendbuf, asked.comm.size, read=True)[0])


def _alltoallv(bound: Bound, asked: Arguments) -> None:
    p, me = asked.comm.size, asked.comm.rank
    if asked.is_in_place:
        raise InputError("an alltoallv in place is not supported; give a sendbuf")
    matrix = np.zeros((p, p), np.int64)
    packed, own = [], []
    for given, line, written in ((asked.sendbuf, matrix[me], False), (asked.recvbuf, matrix[:, me], True)):
        array, buffer = bound.array(given, p, read=not written, written=written)
        sizes = buffer.counts or (buffer.n_elements,) * p
        places = buffer.displs or tuple(np.cumsum((0, *sizes))[:-1].tolist())
        line[:] = sizes
        own.append(sizes[me])
        packed.append(_packed(bound, array, sizes, places, written))
    if own[0] != own[1]:
        raise InputError(f"rank {me} sends itself {own[0]} elements and receives {own[1]}")
    source, bound.output = packed
    bound.counts = matrix
    _same(bound, bound.scratch(len(source), source.dtype), source)


def _packed(bound: Bound, array: Array, sizes: Any, places: Any, written: bool) -> Array:
    """The blocks one behind the other, as plans have them; where they do not lie so, a copy."""
    begin = np.cumsum((0, *sizes)).tolist()
    if list(places) == begin[:-1]:
        return array[: begin[-1]]
    packed = bound.scratch(begin[-1], array.dtype)
    for size, place, at in zip(sizes, places, begin, strict=False):
        one, other = array[place : place + size], packed[at : at + size]
        bound.copied(*((one, other) if written else (other, one)), after=written)
    return packed


def _barrier(bound: Bound, asked: Arguments) -> None:
    bound.vector = np.empty(0, np.uint8)


_BINDINGS: dict[str, Callable[[Bound, Arguments], None]] = {
    "allreduce": _allreduce,
    "broadcast": _broadcast,
    "reduce": _reduce,
    "reduce_scatter": _reduce_scatter,
    "allgather": _allgather,
    "alltoall": _alltoall,
    "alltoallv": _alltoallv,
    "gather": _gather,
    "scatter": _scatter,
    "barrier": _barrier,
}


class _LibraryPlan:
    """The MPI library's own collective, in the form of a plan."""

    def __init__(self, run: Callable[[], object]) -> None:
        self.run = run

    def begun(self) -> Iterator[None]:
        """At once: it cannot be polled."""
        self.run()
        yield from ()

    def wait_from_now_on(self) -> None:
        """It always waits."""

    def free(self) -> None:
        """Nothing was made."""


def _library(asked: Arguments) -> Call:
    _, comm, send, recv, op, root, _, _, counts = asked
    if not isinstance(op, load_mpi().Op):
        raise InputError("algorithm='library' takes operations of MPI; make one with MPI.Op.Create")
    bound = Bound(Lease(), devices.aware())
    same, recv = send is recv, bound.handed_on(recv, written=True)
    send = recv if same else bound.handed_on(send)
    scatter = (
        (lambda: comm.Reduce_scatter(send, recv, counts, op))
        if counts
        else (lambda: comm.Reduce_scatter_block(send, recv, op))
    )
    calls: dict[str, Callable[[], object]] = {
        "allreduce": lambda: comm.Allreduce(send, recv, op),
        "broadcast": lambda: comm.Bcast(recv, root),
        "reduce": lambda: comm.Reduce(send, recv, op, root),
        "reduce_scatter": scatter,
        "allgather": lambda: comm.Allgather(send, recv),
        "alltoall": lambda: comm.Alltoall(send, recv),
        "alltoallv": lambda: comm.Alltoallv(send, recv),
        "gather": lambda: comm.Gather(send, recv, root),
        "scatter": lambda: comm.Scatter(send, recv, root),
        "barrier": comm.Barrier,
    }
    return Call(_LibraryPlan(calls[asked.collective]), LIBRARY, bound)
