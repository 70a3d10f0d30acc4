"""Our collectives over the MPI library's own: alternating in a launch, medians over several launches, results checked.

``python -m benchmarks.real_ranks [COLLECTIVE…]``: our fastest algorithm, by ``commsim run``; an allreduce by default.
With ``--calls`` what a script has: ``collectives.Bcast(comm, …)`` over ``comm.Bcast(…)``, by ``--algorithm`` (auto).
For as many ranks, two to four, as there are cores of their own.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

import collectives
from collectives.memory import paged
from collectives.mpi import load_mpi
from experiments.launch import commsim_on_ranks, python_on_ranks
from experiments.measure import repeats, slowest_times
from experiments.output import read_results

ALGORITHMS = {
    "allreduce": "recursive_doubling,ring,rabenseifner,all_pairs",
    "broadcast": "binomial,scatter_allgather,chain",
    "reduce": "binomial,scatter_gather,chain",
    "reduce_scatter": "ring,pairwise,linear",
    "allgather": "ring,bruck,linear",
    "alltoall": "linear,pairwise,bruck",
    "gather": "linear,binomial",
    "scatter": "linear,binomial",
}
CALLS = {
    "allreduce": "Allreduce",
    "broadcast": "Bcast",
    "reduce": "Reduce",
    "reduce_scatter": "Reduce_scatter_block",
    "allgather": "Allgather",
    "alltoall": "Alltoall",
    "gather": "Gather",
    "scatter": "Scatter",
}
GOALS = {8: 1.5, 64 * 2**10: 1.0, 2**20: 0.9, 16 * 2**20: 0.8}  # of an allreduce; others: the library's speed
GOAL_OF_TWO_RANKS = {16 * 2**20: 1.0}  # there memory bandwidth is all


def launch(collective, n_ranks):
    """One launch: for each size our best algorithm, its time over the library's, and wrong elements."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        sizes = ",".join(f"{n_bytes}B" for n_bytes in GOALS)
        words = ["run", collective, "-a", f"{ALGORITHMS[collective]},library", "--sizes", sizes, "-o", str(file)]
        commsim_on_ranks(n_ranks, words, 120)
        by_size = defaultdict(list)
        for row in read_results(file):
            by_size[row.n_bytes].append(row)
    for n_bytes, rows in by_size.items():
        library = next(row for row in rows if row.algorithm == "library")
        best = min((row for row in rows if row is not library), key=lambda row: row.time_s)
        yield n_bytes, best.algorithm, best.time_s / library.time_s, sum(row.n_wrong for row in rows)


def launch_calls(collective, n_ranks, algorithm):
    """The same of calls as a script makes them."""
    words = ["-m", "benchmarks.real_ranks", "--on-ranks", "--algorithm", algorithm, collective]
    for line in python_on_ranks(n_ranks, words, 120).splitlines():
        yield json.loads(line)


def time_calls(collective, algorithm):
    """On each rank: time calls of ours and mpi4py's in turn; rank 0 prints a line for each size."""
    comm = load_mpi().COMM_WORLD
    for n_bytes in GOALS:
        whole, others, block = (paged(n_bytes // n).view(np.int32) for n in (1, 1, comm.size))
        arguments, result = arguments_of(collective, comm, whole, others, block)
        name, results = CALLS[collective], []
        ours = partial(getattr(collectives, name), comm, *arguments, algorithm=algorithm)
        calls = [ours, partial(getattr(comm, name), *arguments)]

        def reset(arrays=(whole, others, block)):
            for array in arrays:
                array[:] = comm.rank + 1

        for call in calls:
            reset()
            call()
            results.append(result.copy())
        timed = [SimpleNamespace(run=call) for call in calls]
        ours_s, theirs_s = np.median(slowest_times(timed, comm, reset, *repeats(n_bytes, 20, 5)), axis=1)
        n_wrong = comm.allreduce(int((results[0] != results[1]).sum()))
        if comm.rank == 0:
            print(json.dumps([n_bytes, algorithm, ours_s / theirs_s, n_wrong]), flush=True)


def arguments_of(collective, comm, whole, others, block):
    """What both calls are given, and the array with the result."""
    MPI = load_mpi()
    at_root = comm.rank == 0
    return {
        "allreduce": ((MPI.IN_PLACE, whole, MPI.SUM), whole),
        "broadcast": ((whole, 0), whole),
        "reduce": ((whole, others if at_root else None, MPI.SUM, 0), others),
        "reduce_scatter": ((whole, block, MPI.SUM), block),
        "allgather": ((block, whole), whole),
        "alltoall": ((whole, others), others),
        "gather": ((block, whole if at_root else None, 0), whole),
        "scatter": ((whole if at_root else None, block, 0), block),
    }[collective]


def goal(collective, n_ranks, n_bytes):
    """How many times the library's time is enough."""
    if collective != "allreduce":
        return max(GOALS[n_bytes], 1.0)
    return (GOALS | (GOAL_OF_TWO_RANKS if n_ranks == 2 else {}))[n_bytes]


def report(collective, n_ranks, launches, once):
    """A line for each size."""
    seen = defaultdict(list)
    for _ in range(launches):
        for n_bytes, *rest in once(collective, n_ranks):
            seen[n_bytes].append(rest)
    for n_bytes, rows in seen.items():
        names, ratios, wrong = zip(*rows, strict=True)
        print(
            f"{collective:<14} {n_bytes:>9} B on {n_ranks} ranks: {statistics.median(ratios):5.2f} x the MPI library's "
            f"time ({min(ratios):.2f} to {max(ratios):.2f}, goal {goal(collective, n_ranks, n_bytes):.1f}), "
            f"{sum(wrong)} wrong, {statistics.mode(names)}",
            flush=True,
        )


def main(words=()):
    """Report what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_ranks")
    parser.add_argument("collectives", nargs="*", default=["allreduce"], metavar="COLLECTIVE")
    parser.add_argument("--calls", action="store_true", help="calls as a script makes them")
    parser.add_argument("--algorithm", default="auto", help="of the calls")
    parser.add_argument("--launches", type=int, default=5)
    parser.add_argument("--on-ranks", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(words)
    if unknown := set(asked.collectives) - set(CALLS):
        parser.error(f"{', '.join(sorted(unknown))}: choose of {', '.join(CALLS)}")
    if asked.on_ranks:
        time_calls(*asked.collectives, asked.algorithm)
        return
    for n_ranks in range(2, min(4, len(os.sched_getaffinity(0))) + 1):
        for collective in asked.collectives:
            once = partial(launch_calls, algorithm=asked.algorithm) if asked.calls else launch
            report(collective, n_ranks, asked.launches, once)


if __name__ == "__main__":
    main(sys.argv[1:])
