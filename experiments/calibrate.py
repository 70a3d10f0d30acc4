"""Calibration: what a message and a reduction cost between these ranks, fitted and written as a system.

Only messages between neighbours and local reductions are timed, never a collective. They go through the same plans as
collectives do, and the data is as fresh as there: the sender has just written what it sends, and the reduction reads
what has just arrived.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.mpi import load_mpi
from collectives.plan import Plan
from commsim import PROC_NULL, Algorithm, Rank, Step, algorithm, chunk, exchange, where
from commsim.errors import RefusedError
from commsim.system import BySize, Endpoint, System
from commsim.system_file import write_system
from experiments.comparison import Score, score_of
from experiments.measure import host_facts, repeats, slowest_times
from experiments.progress import track

if TYPE_CHECKING:
    from mpi4py import MPI

SIZES = tuple(8 * 2**k for k in range(23))  # 8 B … 32 MiB
MAX_CLASSES = 4
MIN_POINTS = 3  # a size class is fitted on at least so many sizes
ONE_WAY, BOTH_WAYS, REDUCTION = "one way", "both ways at once", "reduction"
PAIR = "both ways between two"  # with more than two ranks: with two, both ways is that

ONE_RANK = "calibration needs at least 2 ranks: mpiexec -n 2 commsim calibrate …"

Points = list[tuple[int, float]]


@algorithm("broadcast", chunks=2)
def ping_pong(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    """Even ranks send to the next rank, which answers: a round trip of every pair. No broadcast, and never verified."""
    even = (rank % 2 == 0) & (rank + 1 < n_ranks)
    odd = rank % 2 == 1
    right, left = where(even, rank + 1, PROC_NULL), where(odd, rank - 1, PROC_NULL)
    yield [exchange(right, left, send=chunk(0), receive=chunk(1))]
    yield [exchange(left, right, send=chunk(0), receive=chunk(1))]


@algorithm("broadcast", chunks=2)
def shift(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    """Send to the next rank and receive from the one before, at the same time. No broadcast, and never verified."""
    yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=chunk(0), receive=chunk(1))]


@algorithm("broadcast", chunks=2)
def swap(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    """Two ranks each send to each other at the same time. No broadcast, and never verified."""
    even = (rank % 2 == 0) & (rank + 1 < n_ranks)
    peer = where(even, rank + 1, where(rank % 2 == 1, rank - 1, PROC_NULL))
    yield [exchange(peer, peer, send=chunk(0), receive=chunk(1))]


@dataclass(frozen=True)
class Calibration:
    """What was measured and what was fitted.

    Attributes
    ----------
    points : dict
        For each of the costs the measured (bytes, seconds).
    endpoint : Endpoint
    latency_s, bandwidth_Bps : float
        Of a path between two ranks.
    overhead_s : float
        CPU time of posting one small message, measured on its own.
    facts : dict
        What the ranks ran on.
    """

    points: dict[str, Points]
    endpoint: Endpoint
    latency_s: float
    bandwidth_Bps: float
    overhead_s: float
    facts: dict[str, Any]

    def residuals(self) -> dict[str, list[float]]:
        """Relative error of the fit at each measured size."""
        path = (self.latency_s, self.bandwidth_Bps)
        return {
            what: [_fitted_s(self.endpoint, *path, what, n_bytes) / seen - 1 for n_bytes, seen in points]
            for what, points in self.points.items()
        }


def fitted_points(system: System, what: str, sizes: Sequence[int]) -> Points:
    """What a calibrated system says of one of the costs, (bytes, seconds) for each size."""
    path = system.topology.path(np.array([0]), np.array([1]))
    latency_s, bandwidth_Bps = float(path.latency_s[0]), float(path.bandwidth_Bps[0])
    return [(n_bytes, _fitted_s(system.endpoint, latency_s, bandwidth_Bps, what, n_bytes)) for n_bytes in sizes]


def drift(before: System, after: System) -> Score:
    """How far two calibrations of one host lie apart, by what was measured in both."""
    first, second = (
        {(row["what"], row["n_bytes"]): row["measured_s"] for row in system.notes["calibration"]}
        for system in (before, after)
    )
    ratios = [abs(math.log(second[key] / first[key])) for key in first if key in second]
    return score_of(ratios)


def _fitted_s(endpoint: Endpoint, latency_s: float, bandwidth_Bps: float, what: str, n_bytes: int) -> float:
    if what == REDUCTION:
        overhead, throughput_Bps = endpoint.reduction.at(n_bytes)
        return float(overhead + n_bytes / throughput_Bps)
    by_size = endpoint.message if what == ONE_WAY else endpoint.both_ways
    overhead, share = (by_size or endpoint.message).at(n_bytes)
    share = share * endpoint.pair_efficiency if what == PAIR else share
    return float(latency_s + 2 * overhead + n_bytes / (bandwidth_Bps * share))


def calibrate(comm: MPI.Comm, *, iterations: int = 20, warmup: int = 5) -> Calibration:
    """Measure and fit; every rank of `comm` calls this and gets the same.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
        At least two ranks.
    iterations, warmup : int
        Of each size; small ones are repeated more, see :func:`experiments.measure.repeats`.

    Raises
    ------
    RefusedError
        On a single rank.
    """
    if comm.size < 2:
        raise RefusedError(ONE_RANK)
    points: dict[str, Points] = {what: [] for what in (*_programs(comm), REDUCTION)}
    for n_bytes in track(SIZES, "calibrating", len(SIZES), shown=comm.rank == 0):
        for what, seconds in _measure(comm, n_bytes, *repeats(n_bytes, iterations, warmup)).items():
            points[what].append((n_bytes, seconds))
    return fit(points, _posting_overhead_s(comm), host_facts(comm))


def _programs(comm: MPI.Comm) -> dict[str, Algorithm]:
    return {ONE_WAY: ping_pong, BOTH_WAYS: shift, **({PAIR: swap} if comm.size > 2 else {})}


def _measure(comm: MPI.Comm, n_bytes: int, iterations: int, warmup: int) -> dict[str, float]:
    """Median seconds of a message one way, of those both ways at once, and of the reduction of what has arrived."""
    count = n_bytes // 4
    fresh = np.ones(count, dtype=np.float32)
    buffer = np.ones(2 * count, dtype=np.float32)
    reset = partial(np.copyto, buffer[:count], fresh)  # what is sent; where it arrives is as cold as in a collective
    plans = {what: Plan(program, comm, buffer) for what, program in _programs(comm).items()}
    reduction = _Reduction(plans[BOTH_WAYS], buffer[:count], buffer[count:])
    times = slowest_times([*plans.values(), reduction], comm, reset, iterations, warmup)
    for plan in plans.values():
        plan.free()
    seconds = dict(zip(plans, np.median(times, axis=1)[:-1].tolist(), strict=True))
    seconds[ONE_WAY] /= 2
    reduced = comm.allreduce(float(np.median(reduction.seconds[warmup:])), load_mpi().MAX)
    return {**seconds, REDUCTION: reduced}


class _Reduction:
    """Adds what has just arrived to what has just been sent, and keeps the time of that alone."""

    def __init__(self, arrival: Plan, target: Any, arrived: Any) -> None:
        self._arrival, self._target, self._arrived = arrival, target, arrived
        self.seconds: list[float] = []

    def run(self) -> None:
        clock = load_mpi().Wtime
        self._arrival.run()
        begin = clock()
        np.add(self._target, self._arrived, out=self._target)
        self.seconds.append(clock() - begin)

    def free(self) -> None:
        """Nothing to give back: the plan is its owner's."""


def _posting_overhead_s(comm: MPI.Comm, n_messages: int = 200) -> float:
    """CPU time of starting one persistent 8-byte send, slowest rank; the receives are started before."""
    MPI = load_mpi()
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    inbox, outbox = np.zeros((n_messages, 8), dtype=np.uint8), np.zeros(8, dtype=np.uint8)
    receives = [comm.Recv_init(row, left, 0) for row in inbox]
    sends = [comm.Send_init(outbox, right, 0) for _ in range(n_messages)]
    MPI.Prequest.Startall(receives)
    comm.Barrier()
    begin = MPI.Wtime()
    MPI.Prequest.Startall(sends)
    spent = (MPI.Wtime() - begin) / n_messages
    MPI.Request.Waitall(sends + receives)
    for request in sends + receives:
        request.Free()
    return float(comm.allreduce(spent, MPI.MAX))


def fit(points: dict[str, Points], overhead_s: float, facts: dict[str, Any]) -> Calibration:
    """Size classes for each cost, and from them latency, bandwidth and overheads.

    A class costs ``a + b*bytes``. The path's latency is what the smallest message takes beyond two posting overheads;
    no class has less, and what it has more is overhead. The path's bandwidth is the best of all classes.
    """
    latency_s = max(0.0, min(seconds for _, seconds in points[ONE_WAY]) - 2 * overhead_s)
    least_s = {ONE_WAY: latency_s, BOTH_WAYS: latency_s, REDUCTION: 0.0}
    classes = {what: size_classes(points[what], least) for what, least in least_s.items()}
    bandwidth_Bps = max(1 / slope for _, _, slope in classes[ONE_WAY] + classes[BOTH_WAYS])

    def message(rows: list[tuple[int, float, float]]) -> BySize:
        first, fixed, slope = zip(*rows, strict=True)
        overhead = tuple((a - latency_s) / 2 for a in fixed)
        return BySize(first, overhead, tuple(min(1 / b / bandwidth_Bps, 1.0) for b in slope))

    first, fixed, slope = zip(*classes[REDUCTION], strict=True)
    reduction = BySize(first, fixed, tuple(1 / b for b in slope))
    endpoint = Endpoint(message(classes[ONE_WAY]), message(classes[BOTH_WAYS]), 0.0, reduction)
    kept = _pair_efficiency(points.get(PAIR, []), endpoint, latency_s, bandwidth_Bps)
    endpoint = replace(endpoint, pair_efficiency=kept)
    return Calibration(points, endpoint, latency_s, bandwidth_Bps, overhead_s, facts)


def _pair_efficiency(points: Points, endpoint: Endpoint, latency_s: float, bandwidth_Bps: float) -> float:
    """What two ranks keep of their bandwidth: the median over sizes whose bytes take longer than all else."""
    kept = []
    for n_bytes, seconds in points:
        overhead_s, share = (endpoint.both_ways or endpoint.message).at(n_bytes)
        fixed_s, wire_s = latency_s + 2 * overhead_s, n_bytes / (bandwidth_Bps * share)
        if wire_s > fixed_s:
            kept.append(wire_s / max(seconds - fixed_s, wire_s))
    return float(np.median(kept)) if kept else 1.0


def size_classes(points: Sequence[tuple[int, float]], least_s: float = 0.0) -> list[tuple[int, float, float]]:
    """Piecewise ``a + b*bytes`` with the least sum of squared relative residuals, and as few pieces as pay.

    Time never falls from one piece to the next. No piece moves a further byte in less than half the time a byte that
    any whole measurement took.

    Parameters
    ----------
    points : sequence of (int, float)
        Bytes, ascending, and seconds.
    least_s : float
        No class has a smaller a.

    Returns
    -------
    list of (int, float, float)
        Of each class its first size in bytes (0 for the first), a in seconds, b in seconds per byte.
    """
    n = len(points)
    least_s_per_byte = min(seconds / n_bytes for n_bytes, seconds in points) / 2
    pieces = {
        (i, j): _line(points[i:j], least_s, least_s_per_byte)
        for i, j in itertools.combinations(range(n + 1), 2)
        if j - i >= min(MIN_POINTS, n)
    }
    best = min(
        (
            cuts
            for k in range(1, MAX_CLASSES + 1)
            for cuts in itertools.combinations(range(1, n), k - 1)
            if all(pair in pieces for pair in itertools.pairwise((0, *cuts, n)))
            if all(_rises(pieces, points, *edges) for edges in _triples((0, *cuts, n)))
        ),
        key=lambda cuts: _information(n, len(cuts) + 1, sum(pieces[p][2] for p in itertools.pairwise((0, *cuts, n)))),
    )
    edges = itertools.pairwise((0, *best, n))
    return [(points[i][0] if i else 0, pieces[i, j][0], pieces[i, j][1]) for i, j in edges]


def _triples(edges: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    yield from zip(edges, edges[1:], edges[2:], strict=False)


def _rises(
    pieces: dict[tuple[int, int], tuple[float, float, float]],
    points: Sequence[tuple[int, float]],
    begin: int,
    cut: int,
    end: int,
) -> bool:
    """Whether a larger message takes no less time where one class ends and the next begins."""
    n_bytes = points[cut][0]
    (a, b, _), (c, d, _) = pieces[begin, cut], pieces[cut, end]
    return a + b * n_bytes <= c + d * n_bytes


def _information(n_points: int, n_classes: int, residual: float) -> float:
    """Bayesian information criterion: another class must pay for its three figures. Below 1 % residuals are noise."""
    return n_points * float(np.log(residual / n_points + 1e-4)) + 3 * n_classes * float(np.log(n_points))


def _line(points: Sequence[tuple[int, float]], least_s: float, least_s_per_byte: float) -> tuple[float, float, float]:
    """Intercept and slope, no less than given, and sum of squared relative residuals of the best line."""
    size, seconds = np.array(points, dtype=float).T
    matrix = np.stack([1 / seconds, size / seconds], axis=1)
    (a, b), *_ = np.linalg.lstsq(matrix, np.ones(len(size)), rcond=None)
    if a < least_s:
        a, share = least_s, size / seconds
        b = (share * (1 - a / seconds)).sum() / (share**2).sum()
    if b < least_s_per_byte:
        b = least_s_per_byte
        a = max(least_s, ((1 - b * size / seconds) / seconds).sum() / (1 / seconds**2).sum())
    residual = ((a + b * size) / seconds - 1) ** 2
    return float(a), float(b), float(residual.sum())


def save(calibration: Calibration, path: Path) -> None:
    """Write the system file that ``simulate -s`` and ``validate -s`` read; measurements and residuals go with it."""
    residuals = calibration.residuals()
    measured = [
        {"what": what, "n_bytes": n_bytes, "measured_s": seconds, "residual": round(residual, 4)}
        for what, points in calibration.points.items()
        for (n_bytes, seconds), residual in zip(points, residuals[what], strict=True)
    ]
    half = f"{calibration.latency_s / 2:.6g}s"  # a path of a star has two links
    parameters = {
        "hosts": calibration.facts["n_ranks"],
        "bandwidth": f"{calibration.bandwidth_Bps:.6g}B/s",
        "latency": half,
    }
    notes = {**calibration.facts, "posting_overhead_s": calibration.overhead_s, "calibration": measured}
    write_system(path, "star", parameters, calibration.endpoint, notes)
