"""Collectives in mpi4py's form, by the algorithms of this library: ``Allreduce(comm, sendbuf, recvbuf, op)``.

Buffers, roots, operations and ``MPI.IN_PLACE`` are those of ``comm.Allreduce``. The first call with some buffers makes
a plan, which all later ones use; it holds persistent requests, never the buffers. It is freed with the communicator, or
when one has more than :data:`collectives.contexts.MOST_CALLS`. The first call on a communicator duplicates it.

``algorithm`` is a spec (``"ring"``, ``"chain:segments=16"``), an :class:`commsim.Algorithm`, ``"library"`` (the MPI
library's own) or ``"auto"``: the decision table ``tuning`` (a file or a :class:`collectives.tuning.Table`), else that
of ``COMMSIM_TUNING``, else the one that comes with this library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.arrays import buffer_key
from collectives.binding import LIBRARY, Call, bind
from collectives.contexts import Calls, Context, context_of, require_multiple
from collectives.mpi import load_mpi
from collectives.requests import Handle, Request
from commsim.errors import unknown_name

if TYPE_CHECKING:
    from mpi4py import MPI

AUTO = "auto"
PROGRESS = ("thread", "test")


def Allreduce(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: Any = None, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """The reduction over all ranks, on every rank.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Every rank of it calls this.
    sendbuf, recvbuf : buffer
        Equally long; ``MPI.IN_PLACE`` for the first: values are in the second.
    op : mpi4py.MPI.Op, str, callable or Operation, optional
        ``MPI.SUM`` unless given.
    algorithm, tuning
        See :mod:`collectives.calls`.

    Raises
    ------
    InputError
        For buffers that are not contiguous, do not fit together, or have no numpy type.
    RefusedError
        If the algorithm refuses this number of ranks, or an operation that does not commute.

    Examples
    --------
    >>> from mpi4py import MPI
    >>> import collectives, numpy as np
    >>> gradient = np.ones(3, np.float32)
    >>> collectives.Allreduce(MPI.COMM_WORLD, MPI.IN_PLACE, gradient, MPI.SUM, algorithm="ring")
    """
    _called("allreduce", comm, sendbuf, recvbuf, op, 0, algorithm, tuning).run()


def Bcast(comm: MPI.Comm, buf: Any, root: int = 0, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """The root's buffer, on every rank."""
    _called("broadcast", comm, buf, buf, None, root, algorithm, tuning).run()


def Reduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: Any = None,
    root: int = 0,
    algorithm: Any = AUTO,
    *,
    tuning: Any = None,
) -> None:
    """The reduction over all ranks, at the root; the others' `recvbuf` may be None."""
    _called("reduce", comm, sendbuf, recvbuf, op, root, algorithm, tuning).run()


def Reduce_scatter_block(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: Any = None, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """Block r of the reduction, on rank r; all blocks are equally long."""
    _called("reduce_scatter", comm, sendbuf, recvbuf, op, 0, algorithm, tuning).run()


def Reduce_scatter(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    recvcounts: Any = None,
    op: Any = None,
    algorithm: Any = AUTO,
    *,
    tuning: Any = None,
) -> None:
    """The same with blocks of `recvcounts` elements; without them as :func:`Reduce_scatter_block`.

    Blocks that are not nearly equal (the first ones one longer) travel as long as the longest.
    """
    counts = None if recvcounts is None else tuple(int(n) for n in recvcounts)
    _called("reduce_scatter", comm, sendbuf, recvbuf, op, 0, algorithm, tuning, counts).run()


def Allgather(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """Every rank's buffer, on every rank, in the order of ranks."""
    _called("allgather", comm, sendbuf, recvbuf, None, 0, algorithm, tuning).run()


def Alltoall(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """Block s of rank r becomes block r of rank s."""
    _called("alltoall", comm, sendbuf, recvbuf, None, 0, algorithm, tuning).run()


def Alltoallv(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """The same with blocks of their own length: buffers are ``[array, (counts, displs), type]``."""
    _called("alltoallv", comm, sendbuf, recvbuf, None, 0, algorithm, tuning).run()


def Gather(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, root: int = 0, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """Every rank's buffer at the root, in the order of ranks; the others' `recvbuf` may be None."""
    _called("gather", comm, sendbuf, recvbuf, None, root, algorithm, tuning).run()


def Scatter(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, root: int = 0, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """Block r of the root's buffer, on rank r; the others' `sendbuf` may be None."""
    _called("scatter", comm, sendbuf, recvbuf, None, root, algorithm, tuning).run()


def Barrier(comm: MPI.Comm, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """Come back when every rank has come."""
    _called("barrier", comm, None, None, None, 0, algorithm, tuning).run()


def Iallreduce(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: Any = None,
    algorithm: Any = AUTO,
    *,
    tuning: Any = None,
    progress: str | None = None,
) -> Request:
    """Begin an allreduce, and come back at once; buffers belong to it until ``Wait`` or ``Test`` of what it returns.

    Those of one communicator run one after the other, in the order of calls, as on a NCCL stream; those that shall run
    at the same time need duplicates of it. A blocking call beside them does not wait for them.

    Parameters
    ----------
    comm, sendbuf, recvbuf, op, algorithm, tuning
        As of :func:`Allreduce`.
    progress : "thread" or "test", optional
        Who does the work: a thread of this library, which needs ``MPI_THREAD_MULTIPLE``, or the caller's ``Test`` and
        ``Wait``, which need no more than the caller does. By default the thread, where MPI has it. All ranks the same.

    Raises
    ------
    RefusedError
        If MPI was started with a thread level that is too low.
    """
    context, way = context_of(comm), _way(progress)
    calls = context.deferred if way == "thread" else context.polled
    call = _call(context, calls, "allreduce", comm, sendbuf, recvbuf, op, 0, algorithm, tuning, None)
    return context.progress.by_thread(call) if way == "thread" else context.progress.by_test(call)


def Allreduce_init(
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: Any = None,
    algorithm: Any = AUTO,
    *,
    tuning: Any = None,
    progress: str = "test",
) -> Handle:
    """Prepare an allreduce that is done many times: ``Start``, then ``Test`` or ``Wait``; ``Free`` at last.

    Handles are made by all ranks together, in the same order; they may be started in any order, several at a time.
    Parameters as of :func:`Iallreduce`; with ``progress="test"`` ``Start`` posts the first messages only.
    """
    context, way = context_of(comm), _way(progress)
    place = context.place(in_fabric=True)
    call = bind(context, place, "allreduce", comm, sendbuf, recvbuf, _op(op), 0, algorithm, tuning, None)
    return Handle(call, context.progress if way == "thread" else None, context.handles)


def _way(progress: str | None) -> str:
    if progress is None:
        MPI = load_mpi()
        return "thread" if MPI.Query_thread() == MPI.THREAD_MULTIPLE else "test"
    if progress not in PROGRESS:
        raise unknown_name("progress", progress, PROGRESS)
    if progress == "thread":
        require_multiple()
    return progress


def _op(op: Any) -> Any:
    return load_mpi().SUM if op is None else op


def _called(
    name: str,
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: Any,
    root: int,
    algorithm: Any,
    tuning: Any,
    counts: tuple[int, ...] | None = None,
) -> Call:
    context = context_of(comm)
    return _call(context, context.calls, name, comm, sendbuf, recvbuf, op, root, algorithm, tuning, counts)


def _call(
    context: Context,
    calls: Calls,
    name: str,
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: Any,
    root: int,
    algorithm: Any,
    tuning: Any,
    counts: tuple[int, ...] | None,
) -> Call:
    """The call of these arguments, from the ones that are kept. Objects are told apart by identity, and kept alive."""
    if algorithm == LIBRARY:  # no plan: MPI sees the buffers as they are
        return bind(context, calls.place, name, comm, sendbuf, recvbuf, _op(op), root, LIBRARY, None, counts)
    key = (name, id(algorithm), id(tuning), id(op), root, counts, _key(sendbuf), _key(recvbuf))
    found = calls.get(key)
    if found is None:
        found = bind(context, calls.place, name, comm, sendbuf, recvbuf, _op(op), root, algorithm, tuning, counts)
        found.arguments = (algorithm, tuning, op)
        calls.keep(key, found)
    return found  # type: ignore[no-any-return]


def _key(given: Any) -> Any:
    """Where and what a buffer is; it is all that a plan depends on."""
    MPI = load_mpi()
    if type(given) is np.ndarray and given.flags.forc and given.flags.writeable:
        return MPI.buffer(given).address, given.size, given.dtype
    if given is None or given is MPI.IN_PLACE:
        return given is None
    return buffer_key(given)
