"""Our best allreduce over the MPI library's own: alternating in a launch, medians over five launches, results checked.

``python -m benchmarks.real_ranks``; for as many ranks, two to four, as there are cores of their own.
"""

import os
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

from experiments.launch import commsim_on_ranks
from experiments.output import read_results

LAUNCHES = 5
ALGORITHMS = "recursive_doubling,ring,rabenseifner,all_pairs,library"
GOALS = {8: 1.5, 64 * 2**10: 1.0, 2**20: 0.9, 16 * 2**20: 0.8}
GOAL_OF_TWO_RANKS = {16 * 2**20: 1.0}  # there memory bandwidth is all


def launch(n_ranks):
    """One launch: for each size our best algorithm, its time over the library's, and wrong elements."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        sizes = ",".join(f"{n_bytes}B" for n_bytes in GOALS)
        commsim_on_ranks(n_ranks, ["run", "allreduce", "-a", ALGORITHMS, "--sizes", sizes, "-o", str(file)], 120)
        by_size = defaultdict(list)
        for row in read_results(file):
            by_size[row.n_bytes].append(row)
    for n_bytes, rows in by_size.items():
        library = next(row for row in rows if row.algorithm == "library")
        best = min((row for row in rows if row is not library), key=lambda row: row.time_s)
        yield n_bytes, best.algorithm, best.time_s / library.time_s, sum(row.n_wrong for row in rows)


def main():
    for n_ranks in range(2, min(4, len(os.sched_getaffinity(0))) + 1):
        goals = GOALS | (GOAL_OF_TWO_RANKS if n_ranks == 2 else {})
        seen = defaultdict(list)
        for _ in range(LAUNCHES):
            for n_bytes, *rest in launch(n_ranks):
                seen[n_bytes].append(rest)
        for n_bytes, rows in seen.items():
            names, ratios, wrong = zip(*rows, strict=True)
            ratio = statistics.median(ratios)
            print(
                f"allreduce {n_bytes:>9} B on {n_ranks} ranks: {ratio:5.2f} x the MPI library's time "
                f"({min(ratios):.2f} to {max(ratios):.2f}, goal {goals[n_bytes]:.1f}), {sum(wrong)} wrong, "
                f"{statistics.mode(names)}"
            )


if __name__ == "__main__":
    main()
