"""Decision tables from times: of simulations, or of measurements. Nothing of this happens inside a call."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, TypeAlias

import tomli_w

from collectives.registry import all_algorithms, find, names_of
from collectives.tuning import Rule, Table
from commsim import Algorithm, System, simulate
from commsim.collective import Collective, collective_named
from commsim.errors import ImpossibleResultError, InputError, RefusedError
from commsim.system import Endpoint
from experiments.choose import require_known
from experiments.output import VERSION, command
from experiments.progress import track
from experiments.sizes import volume
from experiments.validate.files import read_measured

TUNED = ("allreduce", "broadcast", "reduce", "reduce_scatter", "allgather", "alltoall", "gather", "scatter", "barrier")
MANY_CASES = 64  # from here on several processes are worth their start
KEPT = 2  # algorithms of a rule: the best, and what is taken where that refuses
CLOSE = 1.03  # as good as the best: a rule goes on while what it takes is
HOPELESS = 1.25  # times what is kept: a closed form beyond it, on the fastest links that there are, is not simulated
FOLDED = 64  # nodes; beyond, another power of two costs more simulating than it tells
MOST_BYTES = 2**32  # of all ranks' vectors together: beyond, links are full, and the last rule goes on

Sizes: TypeAlias = tuple[str | None, str | None, str | None, int]


@dataclass(frozen=True)
class Timed:
    """One row of a table: how long an algorithm took.

    Attributes
    ----------
    collective, spec : str
    n_ranks, n_bytes : int
    time_s : float
    keeps_order : bool
    ranks_per_node : int
    n_scratch : int
        Copies of the vector that it needs beside; of algorithms as fast as each other the one with the fewest is taken.
    """

    collective: str
    spec: str
    n_ranks: int
    n_bytes: int
    time_s: float
    keeps_order: bool
    ranks_per_node: int = 1
    n_scratch: int = 0


def numbers_of_ranks(system: System) -> list[int]:
    """Numbers that a table of a system shall have: in one node, and of nodes, powers of two and all there are.

    And one more than each, up to :data:`FOLDED`: there algorithms fold, up to the next power of two.
    """
    each, most = system.devices_per_node or 1, system.n_devices
    across = {each * number for number in _powers_and_one_more(most // each)} | {most}
    return sorted(n for n in {*_powers_and_one_more(each), *across} if 1 < n <= most)


def _powers_and_one_more(most: int) -> list[int]:
    powers = [2**power for power in range(most.bit_length())]
    return [n for n in (*powers, *(power + 1 for power in powers if power <= FOLDED)) if n <= most]


def simulated(
    collectives: Sequence[str],
    algorithms: Sequence[str] | None,
    systems: Sequence[System],
    ranks: Sequence[int] | None,
    sizes: Sizes,
    model: str,
    dtype: str,
    has: Callable[[Algorithm], bool] = lambda _: True,
) -> list[Timed]:
    """Times of the algorithms that take a case, or of those named, for every number of ranks and size.

    Only of those that `has` says yes to: a library may not have them all.

    Of `ranks` those count that fill a system's nodes, or are in one node, of several systems in the largest; of the
    sizes those between which what is best changes. Left out are algorithms that refuse, or need switches that compute
    where there are none, and those of which their closed form says that they cannot be among the best; one that has no
    closed form must be named.

    Raises
    ------
    InputError
        Where two systems have as many ranks in a node, or a number of ranks fits none.
    """
    require_known(algorithms or (), collectives)
    own = {system: system.devices_per_node or 1 for system in systems}
    if len(set(own.values())) < len(own):
        raise InputError(f"a table takes one system for each number of ranks in a node, not {sorted(own.values())}")
    cases = [
        (kind, system, n_ranks, _span(kind, n_ranks, sizes, dtype))
        for system, each in own.items()
        for kind in map(collective_named, collectives)
        for n_ranks in _told_by(system, ranks, is_largest=each == max(own.values()))
    ]
    if not cases:
        raise InputError(f"none of {ranks} ranks fills whole nodes of {sorted(own.values())} ranks, or is in one")
    paces = {system: _fastest(system, model) for system in systems}

    def rows_of(number: int) -> list[Timed]:
        kind, system, n_ranks, span = cases[number]
        known = names_of(kind.name)
        alone = [one for one in all_algorithms(kind.name) if one.cost]
        named = [find(kind.name, spec) for spec in algorithms or () if spec.partition(":")[0] in known]
        chosen = list(filter(has, alone if algorithms is None else named))
        contest = partial(_contest, chosen, system, n_ranks, paces[system], model, dtype)
        return [row for rows in _searched(span, contest).values() for row in rows]

    found = [row for rows in track(_on_all_cores(rows_of, len(cases)), "simulating", len(cases)) for row in rows]
    if not found:
        raise RefusedError("no algorithm takes any of these cases")
    return found


_work: list[Callable[[int], list[Timed]]] = []


def _on_all_cores(work: Callable[[int], list[Timed]], n_cases: int) -> Iterator[list[Timed]]:
    """Results in order, from as many processes as there are cores; few cases are done here."""
    n_cores = len(os.sched_getaffinity(0))
    if n_cases < MANY_CASES or n_cores < 2:
        yield from map(work, range(n_cases))
        return
    _work.append(work)  # forked processes have it
    try:
        with multiprocessing.get_context("fork").Pool(n_cores) as pool:
            yield from pool.imap(_numbered, range(n_cases))
    finally:
        _work.pop()


def _numbered(number: int) -> list[Timed]:
    return _work[-1](number)


def _told_by(system: System, ranks: Sequence[int] | None, is_largest: bool) -> list[int]:
    """The numbers of ranks for which a system is asked: of several nodes; and in one, if no other has a larger one."""
    each = system.devices_per_node or 1
    numbers = numbers_of_ranks(system) if ranks is None else [n for n in ranks if n <= system.n_devices]
    return [n for n in numbers if (is_largest if n <= each else n % each == 0)]


def _span(kind: Collective, n_ranks: int, sizes: Sizes, dtype: str) -> list[int]:
    span = sorted(volume(kind, n_ranks, dtype, (None,) * 3 + (2,) if kind.joins else sizes, None).sizes)
    return [n for n in span if n * n_ranks <= MOST_BYTES or n == span[0]]


def _searched(sizes: Sequence[int], contest: Callable[[int, list[Timed]], list[Timed]]) -> dict[int, list[Timed]]:
    """Times at the sizes between which what is best changes: halving, from the first and the last on.

    `contest` is told what is known of smaller sizes: nothing is faster with more bytes.
    """
    found: dict[int, list[Timed]] = {}

    def look(n_bytes: int) -> None:
        found[n_bytes] = contest(n_bytes, [row for size, rows in found.items() if size < n_bytes for row in rows])

    look(sizes[0])
    look(sizes[-1])
    spans = [(0, len(sizes) - 1)]
    while spans:
        first, last = spans.pop()
        before, after = (found[sizes[index]] for index in (first, last))
        if last - first > 1 and not (before and after and _still_good(_best(before), after)):
            middle = (first + last) // 2
            look(sizes[middle])
            spans += [(first, middle), (middle, last)]
    return found


def _contest(
    chosen: Sequence[Algorithm],
    system: System,
    n_ranks: int,
    pace: tuple[float, float, float],
    model: str,
    dtype: str,
    n_bytes: int,
    smaller: Sequence[Timed],
) -> list[Timed]:
    """Times of the algorithms that may be among the best, those that may be the fastest first."""
    best: list[Timed] = []
    known: dict[str, float] = {}
    for row in smaller:
        known[row.spec] = max(known.get(row.spec, 0.0), row.time_s)
    floors = _floors(chosen, n_ranks, n_bytes, system.ranks_per_node(n_ranks), pace)
    at_least = [(max(floor_s, known.get(_spec(one), 0.0)), resolved, one) for floor_s, resolved, one in floors]
    for floor_s, resolved, one in sorted(at_least, key=lambda item: item[0]):
        if not _is_hopeless(floor_s, resolved.keeps_order, best):
            best += _timed(one, resolved, system, n_ranks, n_bytes, model, dtype)
    return best


def _fastest(system: System, model: str) -> tuple[float, float, float]:
    """Alpha, beta and gamma of the first two ranks, which share a node where there are nodes."""
    if system.n_devices < 2:
        return 0.0, 0.0, 0.0
    small, large = 8, 2**20

    def time_s(collective: str, n_bytes: int) -> float:
        return simulate(find(collective, "linear"), system, n_bytes, n_ranks=2, model=model).time_s

    sent_s, added_s = (
        (time_s(name, large) - time_s(name, small)) / (large - small) for name in ("broadcast", "reduce")
    )
    return time_s("broadcast", small) - small * sent_s, sent_s, max(added_s - sent_s, 0.0)


def _floors(
    chosen: Sequence[Algorithm], n_ranks: int, n_bytes: int, groups: int | None, pace: tuple[float, float, float]
) -> Iterator[tuple[float, Algorithm, Algorithm]]:
    """Those that take a case, with their closed form, 0 where there is none."""
    for one in chosen:
        try:
            resolved = one.resolved(n_ranks, n_bytes, groups)
        except InputError:
            continue
        yield resolved.cost_s(n_ranks, n_bytes, *pace) if resolved.cost else 0.0, resolved, one


def _is_hopeless(floor_s: float, keeps_order: bool, best: Sequence[Timed]) -> bool:
    """Whether something at least so slow can be no rule's."""
    times = sorted(row.time_s for row in best)
    in_order = [row.time_s for row in best if row.keeps_order]
    is_late = len(times) >= KEPT and floor_s > HOPELESS * times[KEPT - 1]
    return is_late and not (keeps_order and floor_s <= HOPELESS * min(in_order, default=math.inf))


def _timed(
    one: Algorithm, resolved: Algorithm, system: System, n_ranks: int, n_bytes: int, model: str, dtype: str
) -> list[Timed]:
    try:
        time_s = simulate(one, system, n_bytes, n_ranks=n_ranks, model=model, dtype=dtype).time_s
    except (RefusedError, ImpossibleResultError, InputError):
        return []
    each = min(system.devices_per_node or 1, n_ranks)
    scratch = resolved.space(n_ranks).n_scratch
    return [Timed(one.collective.name, _spec(one), n_ranks, n_bytes, time_s, resolved.keeps_order, each, scratch)]


def _spec(algorithm: Algorithm) -> str:
    """As a user would write it: what it chooses by size and ranks is left to it."""
    return algorithm.with_params().spec


def measured(paths: Iterable[Path]) -> list[Timed]:
    """Times of what ``commsim run`` wrote or printed. The MPI library's own are left out, and what gave wrong results.

    Raises
    ------
    InputError
        If nothing is left.
    """
    found = []
    for row in (row for path in paths for row in read_measured(path)):
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


def unspaced(systems: Sequence[System], model: str) -> dict[str, str]:
    """A line about systems on which a rank may begin any number of messages at once; nothing where there are none."""
    bare = [system.name for system in systems if not _is_spaced(system.endpoint, model)]
    if not bare:
        return {}
    remedy = (
        "add message_rate, or calibrate" if model != "hockney" else "the models fluid and loggp do, with message_rate"
    )
    where = f"{', '.join(bare)}: nothing bounds the messages that a rank begins at once in {model}"
    return {"WARNING": f"{where}, so small sizes favour algorithms with many (linear, all_pairs); {remedy}"}


def _is_spaced(endpoint: Endpoint, model: str) -> bool:
    if model == "loggp":
        return max(endpoint.least_gap_s, *endpoint.message.overhead_s) > 0
    return model != "hockney" and endpoint.message_rate_per_s > 0


def table(rows: Sequence[Timed], **facts: Any) -> Table:
    """The fastest for each number of ranks and range of sizes.

    A range ends half way (geometrically) between the last size at which something is as good as the best (within
    :data:`CLOSE`) and the next one. A rule names the :data:`KEPT` fastest, and the fastest that keeps the order of
    ranks, for operations that do not commute.
    """
    rules: list[Rule] = []
    cases: dict[tuple[str, int, int], list[Timed]] = {}
    for row in rows:
        cases.setdefault((row.collective, row.ranks_per_node, row.n_ranks), []).append(row)
    for (collective, each, n_ranks), own in cases.items():
        rules += [Rule(collective, n_ranks, n_bytes, best, each) for n_bytes, best in _by_size(own).items()]
    rules.sort(key=lambda rule: (*_kind(rule), rule.n_ranks, rule.n_bytes))
    return Table(tuple(rules), {"commsim": VERSION, "command": command(), **facts})


def _kind(rule: Rule) -> tuple[str, int]:
    """What is the same for the rules of which a call's number of ranks chooses: those in one node are of one kind."""
    return rule.collective, 0 if rule.is_in_one_node else rule.ranks_per_node


def _by_size(rows: Sequence[Timed]) -> dict[int, tuple[str, ...]]:
    """What to take from which size on."""
    found: dict[int, tuple[str, ...]] = {}
    last: tuple[str, ...] = ()
    size_before = 0
    for n_bytes in sorted({row.n_bytes for row in rows}):
        here = [row for row in rows if row.n_bytes == n_bytes]
        if not last or not _still_good(last, here):
            last = _best(here)
            found[math.isqrt(size_before * n_bytes) if found else 0] = last
        size_before = n_bytes
    return found


def _still_good(specs: Sequence[str], rows: Sequence[Timed]) -> bool:
    """Whether these are as good as the best still: of all, and of those that keep the order."""
    times = {row.spec: row.time_s for row in rows}
    in_order = {row.spec: row.time_s for row in rows if row.keeps_order}
    ordered = next((times[spec] for spec in specs if spec in in_order), math.inf)
    return times.get(specs[0], math.inf) <= CLOSE * min(times.values()) and (
        not in_order or ordered <= CLOSE * min(in_order.values())
    )


def _best(rows: Sequence[Timed]) -> tuple[str, ...]:
    ranked = sorted(rows, key=lambda row: (float(f"{row.time_s:.3g}"), row.n_scratch, len(row.spec), row.spec))
    in_order = [row.spec for row in ranked if row.keeps_order][:1]
    return tuple(dict.fromkeys([*(row.spec for row in ranked[:KEPT]), *in_order]))


HEAD = """\
# Decision table of commsim: what algorithm="auto" takes for so many ranks and bytes.
# A rule holds from its ranks_per_node, n_ranks and n_bytes on, up to those of the next one.
"""


def toml(made: Table) -> str:
    """The table as TOML, a line for each rule; those that say what the ones for fewer ranks say are left out."""
    kept: list[Rule] = []
    before: Any = None
    for (kind, _), rules in groupby(made.rules, lambda rule: (_kind(rule), rule.n_ranks)):
        own = list(rules)
        says = (kind, [(rule.n_bytes, rule.algorithms) for rule in own])
        kept += own if says != before else []
        before = says
    lines = [", ".join(f"{key} = {json.dumps(value)}" for key, value in asdict(rule).items()) for rule in kept]
    rules_in_lines = "".join(f"    {{ {line} }},\n" for line in lines)
    return f"{HEAD}rule = [\n{rules_in_lines}]\n\n" + tomli_w.dumps({"provenance": dict(made.provenance)})
