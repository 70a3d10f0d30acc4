"""Print how long the main things take, each beside something measured in the same run."""

import statistics
import subprocess
import sys
import time

import collectives
from benchmarks import engine, machines, real_ranks
from commsim import Schedule, verify

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


if __name__ == "__main__":
    processes()
    engine.main()
    proofs()
    real_ranks.main()
    machines.main()
