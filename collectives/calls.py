"""Collectives in mpi4py's form, by the algorithms of this library: ``Allreduce(comm, sendbuf, recvbuf, op)``.

Buffers, roots, operations and ``MPI.IN_PLACE`` are those of ``comm.Allreduce``. The first call with some buffers makes
a plan, which all later ones use; it holds persistent requests, and no buffers. It is freed with the communicator, or
when one has more than :data:`collectives.contexts.MOST_CALLS`. The first call on a communicator duplicates it.
``COMMSIM_CHECK=1`` has ranks compare their calls (:mod:`collectives.checks`).

``algorithm`` is a spec (``"ring"``, ``"chain:segments=16"``), an :class:`commsim.Algorithm`, ``"library"`` (the MPI
library's own) or ``"auto"``: the decision table ``tuning`` (a file or a :class:`collectives.tuning.Table`), else that
of ``COMMSIM_TUNING``, else the one that comes with this library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.arrays import buffer_key
from collectives.binding import AUTO, LIBRARY, Arguments, Call, bind
from collectives.checks import raise_if_messages_differ
from collectives.contexts import Calls, Context, context_of, ready, require_multiple
from collectives.mpi import load_mpi
from collectives.requests import Handle, Request
from collectives.watchdog import Watched
from commsim.errors import unknown_name

if TYPE_CHECKING:
    from mpi4py import MPI

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
    ExecutionError
        If MPI cannot take a message, as of ranks that make different calls.

    Examples
    --------
    >>> from mpi4py import MPI
    >>> import collectives, numpy as np
    >>> gradient = np.ones(3, np.float32)
    >>> collectives.Allreduce(MPI.COMM_WORLD, MPI.IN_PLACE, gradient, MPI.SUM, algorithm="ring")
    """
    _run("allreduce", comm, sendbuf, recvbuf, op, 0, algorithm, tuning)


def Bcast(comm: MPI.Comm, buf: Any, root: int = 0, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """The root's buffer, on every rank."""
    _run("broadcast", comm, buf, buf, None, root, algorithm, tuning)


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
    _run("reduce", comm, sendbuf, recvbuf, op, root, algorithm, tuning)


def Reduce_scatter_block(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, op: Any = None, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """Block r of the reduction, on rank r; all blocks are equally long."""
    _run("reduce_scatter", comm, sendbuf, recvbuf, op, 0, algorithm, tuning)


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
    _run("reduce_scatter", comm, sendbuf, recvbuf, op, 0, algorithm, tuning, counts)


def Allgather(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """Every rank's buffer, on every rank, in the order of ranks."""
    _run("allgather", comm, sendbuf, recvbuf, None, 0, algorithm, tuning)


def Alltoall(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """Block s of rank r becomes block r of rank s."""
    _run("alltoall", comm, sendbuf, recvbuf, None, 0, algorithm, tuning)


def Alltoallv(comm: MPI.Comm, sendbuf: Any, recvbuf: Any, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """The same with blocks of their own length: buffers are ``[array, (counts, displs), type]``."""
    _run("alltoallv", comm, sendbuf, recvbuf, None, 0, algorithm, tuning)


def Gather(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, root: int = 0, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """Every rank's buffer at the root, in the order of ranks; the others' `recvbuf` may be None."""
    _run("gather", comm, sendbuf, recvbuf, None, root, algorithm, tuning)


def Scatter(
    comm: MPI.Comm, sendbuf: Any, recvbuf: Any, root: int = 0, algorithm: Any = AUTO, *, tuning: Any = None
) -> None:
    """Block r of the root's buffer, on rank r; the others' `sendbuf` may be None."""
    _run("scatter", comm, sendbuf, recvbuf, None, root, algorithm, tuning)


def Barrier(comm: MPI.Comm, algorithm: Any = AUTO, *, tuning: Any = None) -> None:
    """Come back when every rank has come."""
    _run("barrier", comm, None, None, None, 0, algorithm, tuning)


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
    call = _call(context, calls, Arguments("allreduce", comm, sendbuf, recvbuf, op, 0, algorithm, tuning))
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
    asked = Arguments("allreduce", comm, sendbuf, recvbuf, op, 0, algorithm, tuning)
    call = bind(place, asked) if context.check is None else context.check.made(asked, lambda: bind(place, asked))
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


def _run(
    name: str,
    comm: MPI.Comm,
    sendbuf: Any,
    recvbuf: Any,
    op: Any,
    root: int,
    algorithm: Any,
    tuning: Any,
    counts: tuple[int, ...] | None = None,
) -> None:
    """Do a call. One with the same objects as before is known by them, and nothing is asked."""
    key = (name, id(sendbuf), id(recvbuf), id(algorithm), root)
    try:
        call = ready[comm.handle].calls.known[key]
    except KeyError:
        call = None
    if call is not None:
        its_op, its_tuning, its_counts = call.others
        if its_op is not op or its_tuning is not tuning or its_counts != counts:
            call = None
    if call is None:
        context = context_of(comm)
        asked = Arguments(name, comm, sendbuf, recvbuf, op, root, algorithm, tuning, counts)
        call = _call(context, context.calls, asked)
        if call.algorithm != LIBRARY and _stays(context, sendbuf) and _stays(context, recvbuf):
            context.calls.know(key, call, [one for one in (sendbuf, recvbuf) if type(one) is np.ndarray])
    try:
        call.run()
    except Exception as error:
        raise_if_messages_differ(error)
        raise


def _stays(context: Context, given: Any) -> bool:
    """Whether a buffer lies where it does as long as it lives: numpy resizes no array that is referred to."""
    return given is None or given is context.in_place or type(given) is np.ndarray


def _call(context: Context, calls: Calls, asked: Arguments) -> Call:
    """The call of these arguments; where that is asked for, after all ranks have said that they make the same one."""
    if context.check is None:
        return _made(context, calls, asked)
    return context.check.made(asked, lambda: _made(context, calls, asked))


def _made(context: Context, calls: Calls, asked: Arguments) -> Call:
    """One that is kept or a new one. Objects are told apart by identity."""
    name, _, sendbuf, recvbuf, op, root, algorithm, tuning, counts = asked
    there, here = _key(context, sendbuf), _key(context, recvbuf)
    key = (name, id(algorithm), id(op), root, id(tuning), counts, there, here)
    found: Call | None = calls.kept.get(key)
    if found is None:
        found = bind(calls.place, asked)
        found.named, found.others = algorithm, (op, tuning, counts)
        if calls.watchdog is not None:
            found.run = Watched(calls.watchdog, f"{name}, {found.algorithm}", found.run)
        if algorithm != LIBRARY:  # which has no plan: MPI sees the buffers as they are
            calls.keep(key, found)
    return found


def _key(context: Context, given: Any) -> Any:
    """Where and what a buffer is; it is all that a plan depends on."""
    if type(given) is np.ndarray:
        try:
            return context.memory_of(given).address, given.size, given.dtype
        except (ValueError, BufferError, TypeError):  # not contiguous, or no numbers
            pass
    if given is None or given is context.in_place:
        return given is None
    return buffer_key(given)
