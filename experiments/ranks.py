"""What `run` and `calibrate` do on real ranks: agree on the case, measure, and fail together or not at all."""

from __future__ import annotations

import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from collectives.mpi import Place, load_mpi
from collectives.operations import operation
from collectives.watchdog import LIMIT_S, Watchdog, age_s, current, watching
from commsim import Algorithm, CommsimError, Result, System
from commsim.collective import collective_named
from commsim.errors import InputError, RefusedError
from commsim.units import format_count
from experiments.calibrate import calibrate as calibrate_all
from experiments.calibrate import draw, places, require_ranks, require_sizes, save, summary
from experiments.choose import ALL, LIBRARY, Choice, acceptor, chosen, proven
from experiments.left_out import LeftOut
from experiments.measure import Case, host_facts, processor, run_case
from experiments.options import require_file, require_meaning
from experiments.output import formatter
from experiments.progress import say
from experiments.sizes import volume

if TYPE_CHECKING:
    from mpi4py import MPI

Value = TypeVar("Value")


class AgreedError(Exception):
    """What every rank raises when one has failed, so that all end by themselves, as the cause says."""

    def __init__(self, cause: CommsimError) -> None:
        self.cause = cause


def agreed(comm: MPI.Comm, prepare: Callable[[], Value]) -> Value:
    """Result of `prepare`, or the same error on every rank if it failed on any; `prepare` must not communicate.

    Raises
    ------
    AgreedError
        With the lowest failing rank's error.
    """
    began = time.monotonic()
    try:
        value, failure = prepare(), None
    except CommsimError as error:
        failure = error
    watchdog, patience_s = current(), 2 * (time.monotonic() - began)
    with nullcontext() if watchdog is None else watchdog.waiting("agreeing on the case", patience_s):
        failures = [error for error in comm.allgather(failure) if error is not None]
    if failures:
        raise AgreedError(failures[0])
    return value


def require_same(comm: MPI.Comm, asked: Mapping[str, Any]) -> None:
    """All ranks were asked for the same: they may have been started apart, or see other files.

    Raises
    ------
    AgreedError
        Naming what differs, and where.
    """
    everyone = comm.allgather({name: _shown(value) for name, value in asked.items()})
    first = everyone[0]
    for rank, other in enumerate(everyone):
        for name in dict.fromkeys((*first, *other)):
            if first.get(name) != other.get(name):
                said = f"{name} {first.get(name)} on rank 0, {other.get(name)} on rank {rank}"
                raise AgreedError(InputError(f"ranks were asked for different things: {said}"))


def _shown(value: object) -> str:
    """What was asked for; of a file what is in it, too."""
    path = Path(str(value).partition(":")[0])
    try:
        return f"{value} (checksum {zlib.crc32(path.read_bytes()):08x})" if path.is_file() else str(value)
    except OSError:
        return str(value)


@contextmanager
def all_or_none(comm: MPI.Comm, limit_s: float = LIMIT_S, asked: Mapping[str, Any] | None = None) -> Iterator[Watchdog]:
    """End the whole job with one line if this rank fails, or waits for longer than it said it would and `limit_s`.

    Parameters
    ----------
    comm : mpi4py.MPI.Comm
    limit_s : float
    asked : mapping, optional
        What this rank was asked for: the same on all.
    """
    try:
        with watching(comm, limit_s) as watchdog:
            with watchdog.waiting("finding each other", age_s()):  # others may take twice as long to come here
                watchdog.meets(comm)
                require_same(comm, asked or {})
            yield watchdog
    except AgreedError as error:
        raise error.cause from None
    except BaseException as error:
        reason = str(error) if isinstance(error, CommsimError) else f"{type(error).__name__}: {error}"
        say(f"commsim: rank {comm.rank} of {comm.size} failed, ending the job: {' '.join(reason.split())}")
        sys.stderr.flush()
        comm.Abort(1)
        os._exit(1)  # the launcher may need a moment to end this rank


def measure_on_ranks(
    collective: str,
    text: str | None,
    file: str | None,
    *,
    sizes: tuple[str | None, str | None, str | None, int],
    iterations: int,
    warmup: int,
    op: str,
    root: int,
    dtype: str,
    matrix: Path | None,
    output: tuple[str, Path | None],
    hang_limit_s: float = LIMIT_S,
) -> tuple[list[Result], dict[str, Any], list[LeftOut]]:
    """Results, facts (see :func:`worded`) and what was left out on rank 0, nothing on the others.

    Parameters as the command line has them.

    Raises
    ------
    InputError
        On every rank alike, before anything runs.
    """
    asked = {"command": "run", "algorithms": text, **locals()}
    comm = load_mpi().COMM_WORLD
    with all_or_none(comm, hang_limit_s, asked) as watchdog:
        with watchdog.waiting("saying what each runs on"):
            place, facts = Place.of(comm), host_facts(comm)
        left_out: list[LeftOut] = []
        notes: dict[str, str] = {}

        def prepare() -> Case:
            formatter(*output)
            if iterations < 1 or warmup < 0:
                raise InputError(f"-n {iterations} must be at least 1 and -w {warmup} at least 0")
            kind = collective_named(collective)
            moved = volume(kind, comm.size, dtype, sizes, matrix)
            require_meaning(kind, root=root, op=op, dtype=dtype)
            groups = place.for_nodes(kind).groups
            notes.update(moved.notes)
            takes_case = acceptor(comm.size, moved.sizes, groups, propose=text not in (None, ALL))
            combine = operation(op)

            def accepts(algorithm: Algorithm) -> None:
                takes_case(algorithm)
                keeps = (algorithm.resolved(comm.size, n_bytes, groups).keeps_order for n_bytes in moved.sizes)
                if kind.reduces and not combine.commutative and not all(keeps):
                    raise RefusedError(
                        f"{algorithm.name} does not keep the order of ranks, and {op} does not commute; if it does, "
                        "set its attribute commutative = True in your file"
                    )

            specs = [] if text is None else [spec.strip() for spec in text.split(",")]
            ours = ",".join(spec for spec in specs if spec != LIBRARY) if specs else None
            choice = (
                chosen(collective, ours, file, accepts) if ours != "" or file or LIBRARY not in specs else Choice([])
            )
            left_out.extend(choice.left_out)
            proof = proven(choice, comm.size, moved.sizes, groups, root=root, rank=comm.rank)
            notes.update({"your algorithms": proof} if proof else {})
            beside = LIBRARY in specs or text == ALL or (text is None and file is None)
            algorithms = (*choice.algorithms, *([None] if beside else []))
            sizes_in_bytes = tuple(moved.sizes)
            return Case(kind, algorithms, sizes_in_bytes, op, dtype, root, comm.size, groups, moved.counts)

        case = agreed(comm, prepare)
        results = list(run_case(comm, case, iterations=iterations, warmup=warmup, watchdog=watchdog))
        place.free()
    if comm.rank:
        return [], {}, []
    found = {
        "collective": collective,
        "ranks": {**facts, "processor": processor()},
        "iterations": iterations,
        "warmup": warmup,
        **notes,
    }
    found["measured"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if place.host_by_host is not None:
        found["nodes"] = "a host's ranks do not follow each other: algorithms for nodes number them host by host"
    if facts["oversubscribed"]:
        say("commsim: more ranks than cores: times are not speeds")
    wrong = sum(result.n_wrong or 0 for result in results)
    if wrong:
        say(f"commsim: {format_count(wrong, 'element')} WRONG; see #wrong")
    return results, found, left_out


def worded(facts: Mapping[str, Any]) -> dict[str, str]:
    """What :func:`measure_on_ranks` found out, in lines for people."""
    where = "in another buffer" if collective_named(facts["collective"]).has_output else "in place"
    ranks = facts["ranks"]
    lines = {
        "collective": f"{facts['collective']}, {where}",
        "ranks": describe(ranks),
        "hosts": named(ranks["hosts"]),
        "processor": ranks["processor"],
        "launcher": ranks["launcher"],
        "binding": ranks["binding"],
        "transport": " ".join(f"{key}={value}" for key, value in ranks["transport"].items()),
        "iterations": f"{facts['iterations']} after {facts['warmup']} of warm-up, ten times as many up to 64 KiB",
        "time": "of the slowest rank, median over iterations",
    }
    left = {key: value for key, value in facts.items() if key not in (*lines, "warmup")}
    return {key: line for key, line in {**lines, **left}.items() if line}


def named(hosts: Sequence[str], most: int = 16) -> str:
    """Names of hosts in one line, of many the first."""
    more = f" and {len(hosts) - most} more" if len(hosts) > most else ""
    return ", ".join(hosts[:most]) + more


def describe(facts: Mapping[str, Any]) -> str:
    """Facts of the host in one line; more ranks than cores is said loudly."""
    text = f"{facts['n_ranks']} on {facts['n_hosts']} host(s), {facts['cores_per_host']} cores each, {facts['mpi']}"
    return text + (", OVERSUBSCRIBED: more ranks than cores, times are not speeds" if facts["oversubscribed"] else "")


def calibrate_on_ranks(
    path: Path,
    *,
    structure: str | None,
    largest: int,
    iterations: int,
    allow_oversubscribed: bool,
    figure: Path | None,
    cold: bool = False,
) -> str:
    """Calibrate, write the file on rank 0; what to print there, nothing on the others.

    Raises
    ------
    InputError
        If there is one rank only, or a file cannot be written.
    """
    asked = {"command": "calibrate", **locals()}
    import topologies

    comm = load_mpi().COMM_WORLD
    with all_or_none(comm, asked=asked):

        def prepare() -> System | None:
            require_file(path, ".toml")
            require_file(figure, ".png")
            if iterations < 1:
                raise InputError(f"-n {iterations} must be at least 1")
            require_sizes(largest)
            return None if structure is None else topologies.find(structure)

        system = agreed(comm, prepare)
        where = places(comm)
        agreed(comm, lambda: require_ranks(where, system, allow_oversubscribed))
        calibration, tiers = calibrate_all(
            comm, where, structure=system, largest=largest, iterations=iterations, cold=cold
        )
        if comm.rank:
            return ""
        given = None if structure is None or system is None else (structure, system)
        save(calibration, path, tiers, given)
        if figure is not None:
            draw(calibration.rows(), figure, f"calibration, {describe(calibration.facts)}")
    return summary(calibration) + f"written to {path}\n"
