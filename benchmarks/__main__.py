"""Print how long the main things take, each beside something measured in the same run."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import collectives
from benchmarks import engine, machines
from commsim import Schedule, verify
from experiments.launch import commsim_on_ranks
from experiments.output import read_results

REPEATS = 5


def median_s(call):
    times = []
    for _ in range(REPEATS):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def processes():
    """Whole processes against a Python that does nothing."""
    simulation = "simulate allreduce -a ring -s star:hosts=1024,bandwidth=25GB/s,latency=500ns --sizes 1MiB"
    idle_s = median_s(lambda: subprocess.run([sys.executable, "-c", ""], check=True))
    for words in ("--help", simulation):
        command = [sys.executable, "-m", "experiments.cli", *words.split()]
        taken_s = median_s(lambda command=command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
        print(f"commsim {words[:42]:<42} {taken_s:7.3f} s, {taken_s / idle_s:5.1f} x an empty Python")


def proofs():
    """A proof of thousands of ranks against only walking through the schedule."""
    for algorithm, n_ranks in ((collectives.allreduce.ring, 4096), (collectives.allreduce.rabenseifner, 10000)):
        walked_s = median_s(lambda a=algorithm, n=n_ranks: sum(1 for _ in Schedule(a.resolved(n), n)))
        taken_s = median_s(lambda a=algorithm, n=n_ranks: verify(a, n))
        print(
            f"verify {algorithm.name:<13} {n_ranks:>6} ranks {taken_s:8.3f} s, {taken_s / walked_s:6.1f} x its schedule"
        )


def real_ranks():
    """Our best algorithm against the MPI library's own, alternating in one launch."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        names = "recursive_doubling,ring,rabenseifner,library"
        sizes = ["-b", "8", "-e", "32MiB", "-f", "16"]
        commsim_on_ranks(2, ["run", "allreduce", "-a", names, *sizes, "-o", str(file)], 120)
        results = read_results(file)
    for n_bytes in dict.fromkeys(result.n_bytes for result in results):
        rows = [result for result in results if result.n_bytes == n_bytes]
        library = next(result for result in rows if result.algorithm == "library")
        best = min((result for result in rows if result is not library), key=lambda result: result.time_s)
        ratio = best.time_s / library.time_s
        print(f"allreduce {n_bytes:>9} B on 2 ranks: {best.algorithm:<18} {ratio:5.2f} x the MPI library's time")


if __name__ == "__main__":
    processes()
    engine.main()
    proofs()
    real_ranks()
    machines.main()
