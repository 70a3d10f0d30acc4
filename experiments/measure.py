"""Time collectives on real ranks: every rank calls these together; results are checked on every run."""

from __future__ import annotations

import itertools
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from collectives.memory import paged
from collectives.mpi import LibraryPlan, Place, launched_by, library_type, library_version, load_mpi
from collectives.operations import Array, operation
from collectives.plan import Plan
from collectives.watchdog import MANY, Watchdog, current
from commsim.algorithm import Algorithm
from commsim.collective import Collective
from commsim.errors import InputError
from commsim.result import Result
from commsim.selection import Ints
from commsim.simulate import n_elements
from commsim.topology import Floats
from commsim.units import format_bytes, format_volume
from experiments.choose import LIBRARY
from experiments.crowding import crowded_machines, kernel_here
from experiments.progress import track

if TYPE_CHECKING:
    from mpi4py import MPI

LATE_S = 0.002  # steps in which ranks come late to a barrier that is checked
SMALL_BYTES, SMALL_FACTOR = 64 * 1024, 10
SLOWEST_BPS = 10e6  # a network that is waited for: 100 Mbit/s, the whole vector to each rank
FIRST_MESSAGES_S = 20.0  # what messages may take that nobody has timed yet
PERIOD = 1021  # elements repeat after so many (a prime): results are small whole numbers, exact in every type


TRANSPORT_PREFIXES = (
    *("UCX_", "MPIR_CVAR_", "MPICH_", "FI_", "OMPI_MCA_", "PRTE_MCA_", "I_MPI_", "MV2_", "MVP_", "PSM2_", "PSM3_"),
    *("HYDRA_", "SLURM_MPI_TYPE", "SLURM_CPU_BIND"),
)
NOT_TRANSPORTS = {f"OMPI_MCA_{name}" for name in ("PREFIXES", "num_procs", "initial_wdir", "cpu_type")}
"""What Open MPI's launcher tells every rank of itself."""


class Timed(Protocol):
    """Something that can be done again and again."""

    def run(self) -> object:
        """Do it once."""

    def free(self) -> None:
        """Give resources back."""


def host_facts(comm: MPI.Comm) -> dict[str, Any]:
    """What the ranks run on: MPI, hosts, cores, binding, transports, and whether ranks share cores.

    A host is what shares memory; cores are shared by all that run under one kernel, in containers and namespaces too.
    """
    MPI = load_mpi()
    local = comm.Split_type(MPI.COMM_TYPE_SHARED)
    bound = local.allgather(sorted(os.sched_getaffinity(0)))
    cores = len(set().union(*bound))  # of all ranks here: each may be bound to its own
    crowded = crowded_machines(comm.allgather((kernel_here(), bound[local.rank])))
    local.Free()
    hosts = sorted(set(comm.allgather(platform.node())))
    return {
        "mpi": library_version(MPI),
        "launcher": launched_by(),
        "n_ranks": comm.size,
        "n_hosts": len(hosts),
        "hosts": hosts,
        "cores_per_host": cores,
        "binding": _binding(bound),
        "oversubscribed": bool(crowded),
        "transport": transport_environment(),
    }


def processor() -> str:
    """Name that Linux has for the processor here; empty where it has none, as of some ARM."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _binding(bound: Sequence[Sequence[int]]) -> str:
    """Which cores the ranks of this host may use, by rank there."""
    shown = [_ranges(cores) for cores in bound]
    if len(set(shown)) == 1:
        return f"every rank of a host on cores {shown[0]}"
    return "on rank 0's host " + ", ".join(f"{rank}: {cores}" for rank, cores in enumerate(shown))


def _ranges(numbers: Sequence[int]) -> str:
    """``0-3,8`` for 0, 1, 2, 3 and 8."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def transport_environment() -> dict[str, str]:
    """What was set about transports and algorithms for the MPI library: without it a measurement cannot be repeated."""
    return {
        key: value
        for key, value in sorted(os.environ.items())
        if key.startswith(TRANSPORT_PREFIXES) and key not in NOT_TRANSPORTS
    }


def repeats(n_bytes: int, iterations: int, warmup: int) -> tuple[int, int]:
    """Iterations and warm-up for a size: ten times as many up to 64 KiB, where a single one is mostly noise."""
    factor = SMALL_FACTOR if n_bytes <= SMALL_BYTES else 1
    return factor * iterations, factor * warmup


@dataclass
class Patience:
    """How long iterations may take before a rank that waits takes the others for dead.

    Attributes
    ----------
    watchdog : Watchdog
    what : str
    first_s : float
        Of a first iteration, beside the limit; of a later one :data:`MANY` times what the longest took so far.
    """

    watchdog: Watchdog
    what: str
    first_s: float

    def waits(self, longest_s: float | None = None) -> None:
        """Tell the watchdog that an iteration begins; None: a first one."""
        self.watchdog.waits(self.what, self.first_s if longest_s is None else MANY * longest_s)


def slowest_times(
    plans: Sequence[Timed],
    comm: MPI.Comm,
    reset: Callable[[], None],
    iterations: int,
    warmup: int,
    patience: Patience | None = None,
) -> Floats:
    """Time plans in turn, each iteration from a barrier on, with data that its rank has just written.

    Parameters
    ----------
    plans : sequence of Timed
    comm : mpi4py.MPI.Comm
    reset : callable
        Writes the buffers anew; not timed.
    iterations, warmup : int
    patience : Patience, optional

    Returns
    -------
    array (n_plans, iterations)
        Seconds of the slowest rank.
    """
    MPI = load_mpi()
    times = np.zeros((len(plans), iterations))
    longest_s = 0.0
    watchdog = current() if patience is None else None
    if watchdog is not None:
        patience = Patience(watchdog, "messages that are timed", FIRST_MESSAGES_S)
    for iteration in range(-warmup, iterations):
        for index, plan in enumerate(plans):
            if patience is not None:
                patience.waits(longest_s if iteration > -warmup else None)
            reset()
            comm.Barrier()
            begin = MPI.Wtime()
            plan.run()
            taken_s = MPI.Wtime() - begin
            longest_s = max(longest_s, taken_s)
            if iteration >= 0:
                times[index, iteration] = taken_s
    comm.Allreduce(MPI.IN_PLACE, times, MPI.MAX)
    if watchdog is not None:
        watchdog.goes_on()
    return times


def _pattern(rank: int, op: str, dtype: str) -> Array:
    """One period of a rank's data: small whole numbers, every rank its own; for products few twos among ones."""
    draw = np.random.default_rng([rank]).integers(0, 8, PERIOD)
    return np.where(draw == 0, 2, 1).astype(dtype) if op == "prod" else draw.astype(dtype)


def _filled(period: Array, count: int) -> Array:
    return np.resize(period, count) if count else np.empty(0, period.dtype)


def expected(kind: Collective, rank: int, n_ranks: int, count: int, *, op: str, dtype: str, root: int) -> Array:
    """What a rank's result must be after a collective of vectors of `count` elements, each filled with its pattern."""
    if kind.origin is None:
        total = _total(n_ranks, op, dtype)
        whole = _filled(total, count)
        if not kind.block_each:
            return whole if kind.needs(rank, 0, root) else whole[:0]
        return whole[_block(kind, count, n_ranks, rank)]
    if not kind.block_each:
        return _filled(_pattern(kind.origin(rank, 0, root), op, dtype), count)
    parts = [np.empty(0, dtype)]
    for block in range(n_ranks):
        if kind.needs(rank, block, root):
            place = _block(kind, count, n_ranks, rank if kind.has_output else block)
            parts.append(_filled(_pattern(kind.origin(rank, block, root), op, dtype), place.stop)[place])
    return np.concatenate(parts)


def _total(n_ranks: int, op: str, dtype: str) -> Array:
    """One period of the reduction over all ranks, in their order."""
    result = _pattern(0, op, dtype)
    for rank in range(1, n_ranks):
        result = operation(op).function(result, _pattern(rank, op, dtype))
    return result


def _block(kind: Collective, count: int, n_ranks: int, block: int) -> slice:
    return kind.block_slice(block, n_ranks, count)


def expected_by_counts(rank: int, counts: Ints, *, op: str, dtype: str) -> Array:
    """The same of an alltoallv: what every rank had for this one."""
    parts = [np.empty(0, dtype)]
    for src, row in enumerate(counts):
        begin, n = int(row[:rank].sum()), int(row[rank])
        parts.append(_filled(_pattern(src, op, dtype), begin + n)[begin:])
    return np.concatenate(parts)


def count_wrong(got: Array, wanted: Array, n_ranks: int) -> int:
    """Elements of `got` that differ; floats may differ by rounding of n_ranks operations."""
    if len(got) != len(wanted):
        return max(len(got), len(wanted))
    if got.dtype.kind in "iub":
        return int((got != wanted).sum())
    return int((~np.isclose(got, wanted, rtol=4 * n_ranks * np.finfo(got.dtype).eps, atol=0)).sum())


@dataclass(frozen=True)
class Case:
    """What to measure, checked when it is made; making it does not communicate.

    Attributes
    ----------
    collective : Collective
    algorithms : tuple of (Algorithm or None)
        None is the MPI library's own collective.
    sizes : tuple of int
        Bytes of the vector.
    op, dtype : str
    root : int
    n_ranks : int
    groups : int or None
        Ranks on each host, where all hosts have as many.
    counts : array (n_ranks, n_ranks), optional
        Of an alltoallv: elements from each rank to each; there is then one size, what the busiest rank sends.
    """

    collective: Collective
    algorithms: tuple[Algorithm | None, ...]
    sizes: tuple[int, ...]
    op: str
    dtype: str
    root: int
    n_ranks: int
    groups: int | None
    counts: Ints | None = None

    def __post_init__(self) -> None:
        if not self.algorithms:
            raise InputError("there is nothing to measure; name an algorithm, or library")
        combine = operation(self.op)
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        for n_bytes in self.sizes:
            n_elements(n_bytes, self.dtype)
            if 3 * n_bytes > memory:  # the vector, a fresh copy of it, and scratch
                raise InputError(
                    f"{format_bytes(n_bytes)} need 3 times as much on each rank; this host has {format_volume(memory)}"
                )
        if None in self.algorithms:
            library_type(np.dtype(self.dtype))
        if self.collective.sizes_each and self.counts is None:
            raise InputError(f"{self.collective.name} needs a size for each pair of ranks: --matrix FILE.csv")
        if np.dtype(self.dtype).kind not in "iuf":
            raise InputError(f"dtype {self.dtype!r} cannot be reduced; use an integer or a floating type")
        if self.collective.reduces:
            combine.require(np.dtype(self.dtype))
        if not 0 <= self.root < self.n_ranks:
            raise InputError(f"root={self.root} is not a rank of {self.n_ranks}; use 0 to {self.n_ranks - 1}")
        for algorithm, n_bytes in itertools.product(filter(None, self.algorithms), self.sizes):
            algorithm.resolved(self.n_ranks, n_bytes, self.groups)


def run_case(
    comm: MPI.Comm, case: Case, *, iterations: int, warmup: int, watchdog: Watchdog | None = None
) -> Iterator[Result]:
    """Measure algorithms side by side, in place: one result for each size and algorithm.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        Every rank of it calls this with the same case.
    case : Case
    iterations, warmup : int
        Of sizes above 64 KiB; ten times as many up to there.
    watchdog : Watchdog, optional
        Told what is waited for.
    """
    watchdog = watchdog or Watchdog(comm, 0)
    kind, op, dtype, root = case.collective, case.op, case.dtype, case.root
    period, place = _pattern(comm.rank, op, dtype), Place.of(comm)
    for n_bytes in track(case.sizes, f"running {kind.name}", len(case.sizes), shown=comm.rank == 0):
        watchdog.works()
        began = time.monotonic()
        count = n_elements(n_bytes, dtype) if case.counts is None else int(case.counts[comm.rank].sum())
        fresh = _filled(period, count)
        n_out = count if case.counts is None else int(case.counts[:, comm.rank].sum())
        buffer = paged(fresh.nbytes).view(dtype)
        output = paged(n_out * fresh.itemsize).view(dtype) if kind.has_output else None
        options: dict[str, Any] = {"op": op, "root": root, "counts": case.counts}
        plans = [
            Plan(a, place, buffer, output, **options) if a else LibraryPlan(kind, comm, buffer, output, **options)
            for a in case.algorithms
        ]
        patience_s = n_bytes * comm.size / SLOWEST_BPS + 2 * (time.monotonic() - began)  # others may take longer for it
        patience = Patience(watchdog, f"{kind.name} of {format_bytes(n_bytes)}", patience_s)
        times = slowest_times(
            tuple(plans), comm, partial(np.copyto, buffer, fresh), *repeats(n_bytes, iterations, warmup), patience
        )
        if case.counts is None:
            wanted = expected(kind, comm.rank, comm.size, count, op=op, dtype=dtype, root=root)
        else:
            wanted = expected_by_counts(comm.rank, case.counts, op=op, dtype=dtype)
        for plan, seconds in zip(plans, times, strict=True):
            np.copyto(buffer, fresh)
            if output is not None:
                output.fill(0)
            patience.waits(float(seconds.max()))
            left_early = _left_early(comm, plan) if kind.joins else _run_again(plan)
            n_wrong = comm.allreduce(left_early + count_wrong(plan.result, wanted, comm.size))
            plan.free()
            yield _result(case, plan, n_bytes, seconds, n_wrong)
    place.free()


def wrong_elements(comm: MPI.Comm, kind: Collective, plan: Plan | LibraryPlan, buffer: Array, *, root: int = 0) -> int:
    """Run a plan once more on data that are known, summing up, and count what is wrong, over all ranks."""
    dtype = str(buffer.dtype)
    np.copyto(buffer, _filled(_pattern(comm.rank, "sum", dtype), len(buffer)))
    plan.run()
    wanted = expected(kind, comm.rank, comm.size, len(buffer), op="sum", dtype=dtype, root=root)
    return int(comm.allreduce(count_wrong(plan.result, wanted, comm.size)))


def _run_again(plan: Plan | LibraryPlan) -> int:
    plan.run()
    return 0


def _left_early(comm: MPI.Comm, plan: Plan | LibraryPlan) -> int:
    """Whether this rank left a barrier before the last rank of its host came (clocks of hosts differ)."""
    local = comm.Split_type(load_mpi().COMM_TYPE_SHARED)
    time.sleep(LATE_S * (comm.rank % 3))
    came = time.monotonic()
    plan.run()
    left = time.monotonic()
    last = max(local.allgather(came))
    local.Free()
    return int(left < last)


def _result(case: Case, plan: Plan | LibraryPlan, n_bytes: int, seconds: Floats, n_wrong: int) -> Result:
    algorithm = getattr(plan, "algorithm", None)
    return Result(
        collective=case.collective.name,
        algorithm=algorithm.name if algorithm else LIBRARY,
        params=algorithm.params if algorithm else {},
        root=case.root if case.collective.rooted else None,
        op=operation(case.op).name if case.collective.reduces else None,
        dtype=case.dtype,
        n_ranks=case.n_ranks,
        n_bytes=n_bytes,
        time_s=float(np.median(seconds)),
        time_min_s=float(seconds.min()),
        time_p99_s=float(np.quantile(seconds, 0.99)),
        n_wrong=n_wrong,
        finish_s=seconds,
    )
