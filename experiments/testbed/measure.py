"""Times in a testbed, on its ranks: messages between pairs, reductions and collectives.

Before each iteration all ranks sleep, so that every queue is empty and every token bucket full: so a simulation begins.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import topologies
from collectives.memory import Memory
from collectives.mpi import LibraryPlan, Place, load_mpi, node_groups
from collectives.plan import Plan
from collectives.registry import find
from commsim import Algorithm, System, simulate
from commsim.collective import collective_named
from commsim.errors import InputError, RefusedError
from commsim.simulate import n_elements
from experiments.choose import LIBRARY, acceptor, chosen
from experiments.measure import count_wrong, expected, host_facts, slowest_times
from experiments.testbed import ranks
from experiments.testbed.patterns import CHUNKS, patterns, time_s
from experiments.testbed.state import Record

REST_S = 0.01
BETWEEN_S = 0.005  # iterations, beside what is timed and the rest: barriers, fresh values, results
DTYPE = "float32"
PAIRS, REDUCTIONS = "pairs", "reductions"
PAIR_BYTES = [1024 * k for k in (1, 4, 8, 16, 32, 64, 128, 256, 1024)]
REDUCTION_BYTES = [1024 * k for k in (1, 8, 64, 512, 4096)]
ITERATIONS = {2**16: 15, 2**18: 7, 2**20: 3, 2**22: 1, 2**24: 1}  # of collectives
COLLECTIVES = ("allreduce", "broadcast")
WARM_BYTES = 2**18  # smaller ones have an iteration that is not counted
LONGEST_S = 9.0  # of one iteration; what takes longer is left out
APART = ("multi_ring",)  # its rings are those of a node's devices, and a rank alone on its host has others
DISTURBED = 0.03  # of the cores' time, by other programs: the row is measured again
TRIES = 3
LIBRARY_TIMES = 2.5  # ASSUMED, to plan: it takes so many times what the fastest algorithm takes
LATE = 3.0  # times what was planned, before ranks are taken for dead
START_S = 5.0  # of ranks


@dataclass(frozen=True)
class Case:
    """What one row is about.

    Attributes
    ----------
    what : str
        "pairs", "reductions", or a collective.
    algorithm : str
        Its spec, or a pattern's name.
    n_bytes : int
        Of a vector, or of a message between a pair.
    iterations : int
    planned_s : float
        About what it takes.
    """

    what: str
    algorithm: str
    n_bytes: int
    iterations: int
    planned_s: float

    @property
    def key(self) -> tuple[str, str, int]:
        """What no other case has."""
        return self.what, self.algorithm, self.n_bytes


def runnable(system: System, collective: str, n_bytes: int) -> dict[str, float]:
    """Algorithms that run on all devices of a system and that its simulation takes, parameters and all: their times."""
    accepts = acceptor(system.n_devices, [n_bytes], system.ranks_per_node(system.n_devices), propose=False)
    found = {}
    for one in chosen(collective, None, None, accepts).algorithms:
        try:
            prediction = simulate(one, system, n_bytes)
        except RefusedError:  # what needs switches that reduce or copy
            continue
        if prediction.spec.partition(":")[0] not in APART:
            found[prediction.spec] = prediction.time_s
    return found


def cases(system: System, largest: int) -> list[Case]:
    """What is timed: iterations fewer as sizes grow."""

    def case(what: str, algorithm: str, n_bytes: int, iterations: int, time_s: float) -> Case:
        n = iterations + _warmup(n_bytes)
        return Case(what, algorithm, n_bytes, iterations, n * (time_s + REST_S + BETWEEN_S))

    found = [
        case(PAIRS, program.name, n_bytes, 6 if n_bytes < WARM_BYTES else 2, time_s(program, system, n_bytes))
        for n_bytes in PAIR_BYTES
        for program in patterns(system.n_devices)
    ]
    found += [case(REDUCTIONS, "add", n_bytes, 20, 0.0) for n_bytes in REDUCTION_BYTES]
    for n_bytes, iterations in ITERATIONS.items():
        for collective in COLLECTIVES if n_bytes <= largest else ():
            times = runnable(system, collective, n_bytes)
            times[LIBRARY] = LIBRARY_TIMES * min(times.values())
            found += [
                case(collective, spec, n_bytes, iterations, seconds)
                for spec, seconds in times.items()
                if seconds <= LONGEST_S
            ]
    return found


def _warmup(n_bytes: int) -> int:
    return 1 if n_bytes <= WARM_BYTES else 0


def measured_in(
    record: Record, spec: str, output: Path, largest: int, within_s: float | None = None
) -> tuple[int, list[Case]]:
    """Rows of a testbed into a file: how many it has now, and the cases that there was no time for.

    Parameters
    ----------
    record : Record
        Of the testbed.
    spec : str
        Of its system.
    output : Path
        The rows that it has are kept.
    largest : int
        Bytes of the collectives.
    within_s : float, optional
        No more cases than can be expected to end within so many seconds.

    Raises
    ------
    InputError
        If the file has no rows, or those of other software or settings.
    ExecutionError
        If ranks fail, or do not end; the rows until then are written.
    """
    begin = time.monotonic()
    system = topologies.find(spec)
    document = _begun(output)
    there = {(row["what"], row["algorithm"], row["n_bytes"]) for row in document["rows"]}
    left = [case for case in cases(system, largest) if case.key not in there]
    planned = time.monotonic() - begin + START_S + np.cumsum([case.planned_s for case in left])
    n_now = len(left) if within_s is None else int((planned <= within_s).sum())
    now, left = left[:n_now], left[n_now:]
    if now:
        ask, answer = (record.folder / f"{word}.json" for word in ("ask", "answer"))
        ask.write_text(json.dumps([asdict(case) for case in now]))
        answer.unlink(missing_ok=True)
        words = [sys.executable, "-m", "experiments.testbed.measure", str(ask), str(answer)]
        try:
            ranks.output_of(record, system.n_devices, words, LATE * float(planned[n_now - 1]) + 60)
        finally:
            if answer.exists():
                document = _joined(document, json.loads(answer.read_text()), output)
                output.write_text(as_json(document))
    return len(document["rows"]), left


def _begun(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {"provenance": {}, "rows": []}
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        _ = document["provenance"], [(row["what"], row["algorithm"], row["n_bytes"]) for row in document["rows"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"-o {path}: it is there and has no rows of `commsim testbed measure` ({error})") from None
    return document


def _joined(document: dict[str, Any], found: dict[str, Any], path: Path) -> dict[str, Any]:
    if document["rows"] and document["provenance"] != found["provenance"]:
        changed = [key for key, value in found["provenance"].items() if document["provenance"].get(key) != value]
        raise InputError(f"-o {path}: its rows were measured with another {', '.join(changed)}; give a new file")
    return {"provenance": found["provenance"], "rows": [*document["rows"], *found["rows"]]}


def as_json(document: dict[str, Any]) -> str:
    """A row on each line."""
    rows = ",\n".join(json.dumps(row) for row in document["rows"])
    return f'{{"provenance": {json.dumps(document["provenance"])},\n"rows": [\n{rows}\n]}}\n'


def measured(asked: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """A row for each case; every rank gets the same.

    ``disturbed`` is the share of the cores' time that other programs computed meanwhile: of several tries the least.
    """
    comm = load_mpi().COMM_WORLD
    _connect(comm)
    programs = {program.name: program for program in patterns(comm.size)}
    for case in asked:
        tries: list[dict[str, Any]] = []
        while len(tries) < TRIES and all(row["disturbed"] > DISTURBED for row in tries):
            before = _computed_s(comm)
            row = _row(comm, case, programs)
            others_s, taken_s = _computed_s(comm) - before
            tries.append({**row, "disturbed": round(float(max(others_s, 0.0) / taken_s / (os.cpu_count() or 1)), 3)})
        yield min(tries, key=lambda row: row["disturbed"])


def _computed_s(comm: Any) -> Any:
    """Seconds that other programs than these ranks computed on this machine until now, and the time by a clock."""
    mine_s = comm.allreduce(os.times().user)
    jiffies = Path("/proc/stat").read_text().split(maxsplit=3)[1:3]  # user, nice
    others_s = sum(map(int, jiffies)) / os.sysconf("SC_CLK_TCK") - mine_s
    return np.array(comm.bcast((others_s, time.monotonic())))


def _row(comm: Any, case: Case, programs: Mapping[str, Algorithm]) -> dict[str, Any]:
    row = {"what": case.what, "algorithm": case.algorithm, "n_bytes": case.n_bytes}
    if case.what == PAIRS:
        return {**row, **_statistics(_timed(comm, programs[case.algorithm], CHUNKS * case.n_bytes, case)[0])}
    if case.what == REDUCTIONS:
        return {**row, **_statistics(_reductions(comm, case.n_bytes, case.iterations))}
    one = None if case.algorithm == LIBRARY else find(case.what, case.algorithm)
    times, n_wrong = _timed(comm, one, case.n_bytes, case)
    return {**row, **_statistics(times), "n_wrong": n_wrong}


def _connect(comm: Any) -> None:
    """A message of each kind from every rank to every other: MPI connects two ranks when they first meet."""
    values = np.zeros(2 * int(ranks.ENVIRONMENT["UCX_RNDV_THRESH"]), dtype=np.uint8)
    there = np.empty_like(values)
    for distance in range(1, comm.size):
        to, by = (comm.rank + distance) % comm.size, (comm.rank - distance) % comm.size
        for n_bytes in (8, len(values)):
            comm.Sendrecv(values[:n_bytes], to, recvbuf=there[:n_bytes], source=by)


def _timed(comm: Any, one: Algorithm | None, n_bytes: int, case: Case) -> tuple[Any, int]:
    """Seconds of the slowest rank for each iteration, and how many elements were wrong at last."""
    collective = case.what if case.what in COLLECTIVES else ""
    count = n_elements(n_bytes, DTYPE)
    fresh = np.resize(np.random.default_rng([comm.rank]).integers(0, 8, 1021).astype(DTYPE), count)
    buffer = np.empty_like(fresh)
    memory = Memory()
    place = Place(comm, node_groups(comm), memory=memory)
    plan = Plan(one, place, buffer) if one else LibraryPlan(collective_named(collective), comm, buffer)
    memory.touch()  # large ones have no iteration that is not counted

    def reset() -> None:
        np.copyto(buffer, fresh)
        time.sleep(REST_S)

    times = slowest_times([plan], comm, reset, case.iterations, _warmup(case.n_bytes))[0]
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
    for row in measured([Case(**case) for case in json.loads(Path(asked).read_text())]):
        rows.append(row)
        if comm.rank == 0:
            Path(path).write_text(json.dumps({"provenance": facts, "rows": rows}))


if __name__ == "__main__":
    main(*sys.argv[1:])
