"""The model fluid at scale: each case in a process of its own, compiled code warm, beside what it has to reach.

Trees are tapered 2:1 at every level above the hosts, overheads are zero. ``python -m benchmarks.engine [NAME …]``.
"""

import multiprocessing
import resource
import sys
import time

import numpy as np

import collectives
import topologies
from commsim import placed, simulate
from commsim.models.fluid import MessageTable, play

TREES = {
    64: (8, 8),
    256: (16, 16),
    1024: (16, 8, 8),
    4096: (16, 16, 16),
    8192: (32, 16, 16),
    16384: (16, 32, 32),
    65536: (32, 64, 32),
    1048576: (64, 128, 128),
}
ALLREDUCE = collectives.allreduce
CASES = {  # name: algorithm, ranks, hosts, bytes, placement, what it has to reach
    "ring 1,024": (ALLREDUCE.ring, 1024, 1024, "64MiB", "packed", "0.1 s"),
    "ring 4,096": (ALLREDUCE.ring, 4096, 4096, "1GiB", "packed", "0.5 s, 0.3 GB"),
    "ring 16,384": (ALLREDUCE.ring, 16384, 16384, "1GiB", "packed", "5 s"),
    "all_pairs 1,024": (ALLREDUCE.all_pairs, 1024, 1024, "64MiB", "packed", "1 s"),
    "rabenseifner 65,536": (ALLREDUCE.rabenseifner, 65536, 65536, "1GiB", "packed", "1 s"),
    "rabenseifner 60,000": (ALLREDUCE.rabenseifner, 60000, 65536, "1GiB", "packed", "30 s"),
    "rabenseifner 1,048,576": (ALLREDUCE.rabenseifner, 1048576, 1048576, "4GiB", "packed", "15 s, 8 GB"),
    "ring 1,024 placed at random": (ALLREDUCE.ring, 1024, 1024, "64MiB", "random", "20 s"),
}
TRAFFIC = {64: "", 256: "", 1024: "60,000 messages/s", 8192: "at most twice the cost of a message at 256"}
PER_HOST, LEAST, RUNS = 20, 40960, 3  # messages of each host, one after another; of all; the fastest run counts


def tree(n_hosts):
    """A fat tree with half as many ways up as down above the hosts."""
    down = TREES[n_hosts]
    up = (1, *(width // 2 for width in down[:-1]))
    return topologies.xgft(down=down, up=up, bandwidth_Bps=25e9, latency_s=5e-7)


def random_traffic(n_hosts, seed=0):
    """Each host sends messages of 0.5 to 1.5 MiB to random peers, one after another."""
    per_host = max(PER_HOST, LEAST // n_hosts)
    random, n = np.random.default_rng(seed), n_hosts * per_host
    turn, src = np.divmod(np.arange(n), n_hosts)
    dst = (src + random.integers(1, n_hosts, n)) % n_hosts
    n_bytes = random.integers(2**19, 3 * 2**19, n)
    after = n_hosts + src * per_host + turn  # a gate for each message, behind those at which the hosts begin
    before, end = np.where(turn == 0, src, after - 1), n_hosts + n
    return MessageTable(
        *(n_hosts, end + 1, src, dst, before, before, after, np.full(n, end), n_bytes),
        *(np.zeros(n), np.ones(n), np.zeros(n, dtype=bool), np.full(n, -1.0), np.zeros(n, dtype=int)),
        last_gate=np.full(n_hosts, end),
        n_together=n_hosts,
    )


def collective(name):
    """Seconds of the clock and of the processor, messages, which way was taken."""
    algorithm, n_ranks, n_hosts, n_bytes, placement, _ = CASES[name]
    system = placed(tree(n_hosts), placement)
    simulate(algorithm, tree(64), "1MiB", n_ranks=60)  # warm: by events, too
    simulate(ALLREDUCE.ring, tree(64), "1MiB")
    begin, used = time.perf_counter(), time.process_time()
    done = simulate(algorithm, system, n_bytes, n_ranks=n_ranks)
    return time.perf_counter() - begin, time.process_time() - used, done.n_messages, done.engine


def traffic(n_hosts):
    """The same of random traffic."""
    play(random_traffic(64), tree(64))
    table, system = random_traffic(n_hosts), tree(n_hosts)
    taken = []
    for _ in range(RUNS):
        begin, used = time.perf_counter(), time.process_time()
        play(table, system)
        taken.append((time.perf_counter() - begin, time.process_time() - used))
    return *min(taken), len(table.src), "events"


def measured(function, argument):
    """Its answer, and the peak of memory in bytes; to be run in a process of its own."""
    return (*function(argument), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def line(name, function, argument, goal):
    """Run it and print it; processor time of a message."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        taken_s, used_s, n_messages, engine, peak = pool.apply(measured, (function, argument))
    rate = f"{n_messages / taken_s:>13,.0f} messages/s"
    goal = f"  (goal: {goal})" if goal else ""
    print(f"{name:<28}{taken_s:8.2f} s ({used_s:.2f} s cpu) {rate}  {peak / 1e9:5.2f} GB  {engine}{goal}", flush=True)
    return used_s / n_messages


def main(names=()):
    """All cases, or those whose names begin with one of `names`."""

    def wanted(name):
        return not names or any(name.startswith(word) for word in names)

    for name, case in CASES.items():
        if wanted(name):
            line(name, collective, name, case[-1])
    costs = {
        n: line(f"random traffic, {n:,} hosts", traffic, n, goal) for n, goal in TRAFFIC.items() if wanted("random")
    }
    if costs:
        print(f"a message at 8,192 hosts costs {costs[8192] / costs[256]:.1f} x one at 256")


if __name__ == "__main__":
    main(sys.argv[1:])
