"""Decision tables from times: of simulations, or of measurements. Nothing of this happens inside a call."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from collectives.registry import all_algorithms, find, names_of
from collectives.tuning import Rule, Table
from commsim import Algorithm, System, simulate
from commsim.collective import collective_named
from commsim.errors import ImpossibleResultError, InputError, RefusedError
from experiments.output import provenance, read_results
from experiments.progress import track
from experiments.sizes import volume

KEPT = 3  # algorithms of a rule: the best, and what is taken where it refuses an operation that does not commute
TUNED = ("allreduce", "broadcast", "reduce", "reduce_scatter", "allgather", "alltoall", "gather", "scatter", "barrier")


@dataclass(frozen=True)
class Timed:
    """One row of a table: how long an algorithm took.

    Attributes
    ----------
    collective, spec : str
    n_ranks, n_bytes : int
    time_s : float
    keeps_order : bool
    """

    collective: str
    spec: str
    n_ranks: int
    n_bytes: int
    time_s: float
    keeps_order: bool


def simulated(
    collectives: Sequence[str],
    algorithms: Sequence[str] | None,
    system: System,
    ranks: Sequence[int],
    sizes: tuple[str | None, str | None, str | None, int],
    model: str,
    dtype: str,
) -> list[Timed]:
    """Times of all algorithms that take a case, or of those named, for every number of ranks and size.

    Those that need switches that compute are left out where the system has none, as are those that refuse.
    """
    cases = []
    for name in collectives:
        kind = collective_named(name)
        named = (
            None if algorithms is None else [spec for spec in algorithms if spec.partition(":")[0] in names_of(name)]
        )
        chosen = all_algorithms(name) if named is None else [find(name, spec) for spec in named]
        for n_ranks in ranks:
            sizes_here = volume(kind, n_ranks, dtype, (None,) * 3 + (2,) if kind.joins else sizes, None).sizes
            cases += [(one, n_ranks, n_bytes) for one in chosen for n_bytes in sizes_here]
    found = []
    for one, n_ranks, n_bytes in track(cases, "simulating", len(cases)):
        try:
            time_s = simulate(one, system, n_bytes, n_ranks=n_ranks, model=model, dtype=dtype).time_s
            keeps = one.resolved(n_ranks, n_bytes, system.ranks_per_node(n_ranks)).keeps_order
        except (RefusedError, ImpossibleResultError, InputError):
            continue
        found.append(Timed(one.collective.name, _spec(one), n_ranks, n_bytes, time_s, keeps))
    if not found:
        raise RefusedError("no algorithm takes any of these cases")
    return found


def _spec(algorithm: Algorithm) -> str:
    """As a user would write it: what it chooses by size and ranks is left to it."""
    return algorithm.with_params().spec


def measured(paths: Iterable[Path]) -> list[Timed]:
    """Times of what ``commsim run -o`` wrote. The MPI library's own are left out, and what gave wrong results.

    Raises
    ------
    InputError
        If nothing is left.
    """
    found = []
    for row in (row for path in paths for row in read_results(path)):
        if row.algorithm not in names_of(row.collective) or row.n_wrong:
            continue
        plain = find(row.collective, row.algorithm)
        params = {key: value for key, value in row.params.items() if key in plain.params}
        given = plain.with_params(**params)
        one = plain if _chooses(plain, given, row.n_ranks, row.n_bytes) else given
        found.append(Timed(row.collective, one.spec, row.n_ranks, row.n_bytes, row.time_s, given.keeps_order))
    if not found:
        raise InputError(
            "the files hold no times of algorithms of this library; write some with commsim run -o FILE.json"
        )
    return found


def _chooses(plain: Algorithm, given: Algorithm, n_ranks: int, n_bytes: int) -> bool:
    """Whether the parameters of a run are those that the algorithm chooses by itself."""
    try:
        groups = given.params.get("ranks_per_node")
        number = groups[0] if isinstance(groups, (tuple, list)) and len(groups) == 1 else groups
        chosen = plain.resolved(n_ranks, n_bytes, number if isinstance(number, int) else None)
    except InputError:
        return False
    return dict(chosen.params) == dict(given.resolved(n_ranks, n_bytes).params)


def table(rows: Sequence[Timed], **facts: Any) -> Table:
    """The fastest for each number of ranks and range of sizes.

    A range ends half way (geometrically) between the last size at which something is best and the next one. A rule
    names the :data:`KEPT` fastest, and the fastest that keeps the order of ranks, for operations that do not commute.
    """
    rules: list[Rule] = []
    for collective, n_ranks in sorted({(row.collective, row.n_ranks) for row in rows}):
        own = [row for row in rows if (row.collective, row.n_ranks) == (collective, n_ranks)]
        sizes = sorted({row.n_bytes for row in own})
        last: tuple[str, ...] = ()
        for before, n_bytes in zip([0, *sizes], sizes, strict=False):
            best = _best([row for row in own if row.n_bytes == n_bytes])
            if best != last:
                begin = 0 if not last else math.isqrt(before * n_bytes)
                rules.append(Rule(collective, n_ranks, begin, best))
            last = best
    return Table(tuple(rules), provenance(**facts))


def _best(rows: Sequence[Timed]) -> tuple[str, ...]:
    ranked = sorted(rows, key=lambda row: (float(f"{row.time_s:.3g}"), len(row.spec), row.spec))  # of ties the plainest
    in_order = [row.spec for row in ranked if row.keeps_order][:1]
    return tuple(dict.fromkeys([*(row.spec for row in ranked[:KEPT]), *in_order]))


def toml(made: Table) -> str:
    """The table as TOML."""
    rows = [
        {"collective": r.collective, "n_ranks": r.n_ranks, "n_bytes": r.n_bytes, "algorithms": list(r.algorithms)}
        for r in made.rules
    ]
    head = "# Decision table of commsim: the algorithm for so many ranks and bytes, and up to those of the next rule.\n"
    return head + tomli_w.dumps({"provenance": dict(made.provenance), "rule": rows})
