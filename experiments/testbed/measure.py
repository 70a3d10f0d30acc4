"""Times in a testbed, on its ranks: messages between pairs, reductions and collectives.

Before each iteration all ranks sleep, so that every queue is empty and every token bucket full: so a simulation begins.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import topologies
from collectives.mpi import LibraryPlan, load_mpi
from collectives.plan import Plan
from collectives.registry import find
from commsim import Algorithm, System, simulate
from commsim.collective import collective_named
from commsim.errors import RefusedError
from commsim.simulate import n_elements
from experiments.choose import LIBRARY, acceptor, chosen
from experiments.measure import count_wrong, expected, host_facts, slowest_times
from experiments.testbed import ranks
from experiments.testbed.patterns import patterns
from experiments.testbed.state import Record

REST_S = 0.01
DTYPE = "float32"
PAIRS, REDUCTIONS = "pairs", "reductions"
PAIR_BYTES = [1024 * k for k in (1, 4, 8, 16, 32, 64, 128, 256, 1024)]
REDUCTION_BYTES = [1024 * k for k in (1, 8, 64, 512, 4096)]
ITERATIONS = {2**16: 7, 2**18: 5, 2**20: 3, 2**22: 1, 2**24: 1}  # of collectives; one takes up to 20 s
APART = ("multi_ring",)  # its rings are those of a node's devices, and a rank alone on its host has others
LONGEST_S = 3600.0


def runnable(system: System, collective: str, n_bytes: int) -> list[str]:
    """Algorithms that run on all devices of a system and that its simulation takes, parameters and all."""
    accepts = acceptor(system.n_devices, [n_bytes], system.ranks_per_node(system.n_devices), propose=False)
    found = []
    for one in chosen(collective, None, None, accepts).algorithms:
        try:
            prediction = simulate(one, system, n_bytes)
        except RefusedError:  # what needs switches that reduce or copy
            continue
        found.append(prediction.spec)
    return [spec for spec in found if spec.partition(":")[0] not in APART]


def measured_in(record: Record, spec: str, output: Path, largest: int) -> int:
    """All rows of a testbed, of its pairs, reductions, allreduces and broadcasts, into one file; how many."""
    system = topologies.find(spec)
    document: dict[str, Any] = {"provenance": {}, "rows": []}
    for number, cases in enumerate(asked(system, largest)):
        ask, answer = (record.folder / f"{word}{number}.json" for word in ("ask", "answer"))
        ask.write_text(json.dumps(cases))
        words = [sys.executable, "-m", "experiments.testbed.measure", str(ask), str(answer)]
        ranks.output_of(record, system.n_devices, words, LONGEST_S)
        found = json.loads(answer.read_text())
        document = {"provenance": found["provenance"], "rows": [*document["rows"], *found["rows"]]}
        output.write_text(as_json(document))
    return len(document["rows"])


def as_json(document: dict[str, Any]) -> str:
    """A row on each line."""
    rows = ",\n".join(json.dumps(row) for row in document["rows"])
    return f'{{"provenance": {json.dumps(document["provenance"])},\n"rows": [\n{rows}\n]}}\n'


def asked(system: System, largest: int) -> list[dict[str, Any]]:
    """What is timed: iterations fewer as sizes grow."""
    sizes = [size for size in ITERATIONS if size <= largest]
    lists: list[dict[str, Any]] = [
        {"what": PAIRS, "sizes": [[n_bytes, 6 if n_bytes < 2**20 else 3, None] for n_bytes in PAIR_BYTES]},
        {"what": REDUCTIONS, "sizes": [[n_bytes, 20, None] for n_bytes in REDUCTION_BYTES]},
    ]
    for collective in ("allreduce", "broadcast"):
        cases = [[n_bytes, ITERATIONS[n_bytes], runnable(system, collective, n_bytes)] for n_bytes in sizes]
        lists.append({"what": collective, "sizes": cases})
    return lists


def measured(cases: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A row for each case; every rank gets the same.

    Parameters
    ----------
    cases : dict
        ``what``: "pairs", "reductions" or a collective; ``sizes``: of each the bytes, the iterations and the specs of
        algorithms (of a collective).
    """
    comm, what = load_mpi().COMM_WORLD, cases["what"]
    for n_bytes, iterations, specs in cases["sizes"]:
        if what == PAIRS:
            for program in patterns(comm.size):
                times = _timed(comm, program, 2 * n_bytes, iterations)[0]
                yield {"what": what, "algorithm": program.name, "n_bytes": n_bytes, **_statistics(times)}
        elif what == REDUCTIONS:
            yield {"what": what, "n_bytes": n_bytes, **_statistics(_reductions(comm, n_bytes, iterations))}
        else:
            for spec in [*specs, LIBRARY]:
                one = None if spec == LIBRARY else find(what, spec)
                times, n_wrong = _timed(comm, one, n_bytes, iterations, what)
                yield {"what": what, "algorithm": spec, "n_bytes": n_bytes, **_statistics(times), "n_wrong": n_wrong}


def _timed(comm: Any, one: Algorithm | None, n_bytes: int, iterations: int, collective: str = "") -> tuple[Any, int]:
    """Seconds of the slowest rank for each iteration, and how many elements were wrong at last."""
    count = n_elements(n_bytes, DTYPE)
    fresh = np.resize(np.random.default_rng([comm.rank]).integers(0, 8, 1021).astype(DTYPE), count)
    buffer = np.empty_like(fresh)
    plan = Plan(one, comm, buffer) if one else LibraryPlan(collective_named(collective), comm, buffer)

    def reset() -> None:
        np.copyto(buffer, fresh)
        time.sleep(REST_S)

    times = slowest_times([plan], comm, reset, iterations, 1 if n_bytes <= 2**20 else 0)[0]
    n_wrong = 0
    if collective:
        wanted = expected(collective_named(collective), comm.rank, comm.size, count, op="sum", dtype=DTYPE, root=0)
        n_wrong = comm.allreduce(count_wrong(plan.result, wanted, comm.size))
    plan.free()
    return times, n_wrong


def _reductions(comm: Any, n_bytes: int, iterations: int) -> Any:
    """Of a reduction while all other ranks reduce too: they share the machine's cores."""
    arrays = np.ones((2, n_bytes // 4), dtype=DTYPE)
    times = []
    for _ in range(iterations):
        comm.Barrier()
        begin = time.perf_counter()
        np.add(arrays[0], arrays[1], out=arrays[0])
        times.append(time.perf_counter() - begin)
    mine = np.array(times)
    comm.Allreduce(load_mpi().IN_PLACE, mine, load_mpi().MAX)
    return mine


def _statistics(times: Any) -> dict[str, Any]:
    named = {"time_s": np.median(times), "time_min_s": np.min(times), "time_max_s": np.max(times)}
    return {name: round(float(seconds), 7) for name, seconds in named.items()}


def main(asked: str, path: str) -> None:
    """On every rank: what a file asks for, into a file that rank 0 writes anew after each row."""
    comm = load_mpi().COMM_WORLD
    facts, rows = host_facts(comm), []
    for row in measured(json.loads(Path(asked).read_text())):
        rows.append(row)
        if comm.rank == 0:
            Path(path).write_text(json.dumps({"provenance": facts, "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
