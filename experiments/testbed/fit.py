"""What a testbed's file does not say, fitted on messages between pairs: rates that links keep, and costs of messages.

Given by how it is built: the structure, the nominal rates, and from which size on MPI announces a message before it is
sent. Fitted: the share of the nominal rate that each class of links keeps for payload, what a link that has rested
sends at once (its token bucket, and the debt that one packet of the kernel's may make), and the overhead of a message,
small or announced, one way or while its ends send and receive. Reductions are timed by themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from commsim.errors import InputError
from commsim.system import BySize, Endpoint, System
from commsim.system_file import write_system
from commsim.units import format_bytes, format_time
from experiments.calibrate.nearest import Figure, Timed, cable_classes, log_ratios, nearest, share
from experiments.calibrate.structure import extended
from experiments.testbed import network, ranks
from experiments.testbed.measure import PAIRS, REDUCTIONS
from experiments.testbed.patterns import CHUNKS, patterns

ANNOUNCED_BYTES = int(ranks.ENVIRONMENT["UCX_RNDV_THRESH"])
SEGMENT_BYTES = network.MTU_BYTES - 52  # payload of a frame: without IP's and TCP's headers and time stamps
JITTER_S = 2e-4  # what cores that are shared add to a time
BURST = "burst"
OVERHEADS = ("small", "announced", "small both ways", "announced both ways")
FIRST_S, FIRST_BYTES = 1e-4, 2 * SEGMENT_BYTES  # an overhead and a burst to begin with


def begun(system: System, reduction: BySize) -> System:
    """The system with the costs of its ends as a fit begins."""
    costs = BySize((0, ANNOUNCED_BYTES), (FIRST_S, FIRST_S), (1.0, 1.0))
    endpoint = Endpoint(
        costs, costs, reduction=reduction, eager_limit_bytes=ANNOUNCED_BYTES - 1, burst_bytes=FIRST_BYTES
    )
    return replace(system, endpoint=endpoint)


def figures_of(system: System) -> list[Figure]:
    """All that is fitted: the share of each class of cables, the burst, and the overheads."""
    shares = [share(name, links, 0.5, 1.1) for name, links in cable_classes(system).items()]
    overheads = [
        _overhead(name, costs, place)
        for name, (costs, place) in zip(
            OVERHEADS, ((costs, place) for costs in ("message", "both_ways") for place in (0, 1)), strict=True
        )
    ]
    return [*shares, Figure(BURST, FIRST_BYTES, 1.0, 1e6, _with_burst), *overheads]


def _with_burst(system: System, n_bytes: float) -> System:
    return replace(system, endpoint=replace(system.endpoint, burst_bytes=round(n_bytes)))


def _overhead(name: str, costs: str, place: int) -> Figure:
    """At each end of a message: of `costs` the size class at `place`."""

    def put(system: System, seconds: float) -> System:
        old: BySize = getattr(system.endpoint, costs)
        overhead_s = (*old.overhead_s[:place], seconds, *old.overhead_s[place + 1 :])
        new: dict[str, Any] = {costs: replace(old, overhead_s=overhead_s)}
        return replace(system, endpoint=replace(system.endpoint, **new))

    return Figure(name, FIRST_S, 1e-6, 0.1, put)


def reduction_costs(rows: Sequence[Mapping[str, Any]]) -> BySize:
    """A class for each size that was timed."""
    timed = sorted((row["n_bytes"], row["time_s"]) for row in rows)
    sizes = [0, *(n_bytes for n_bytes, _ in timed[1:])]
    return BySize(tuple(sizes), (0.0,) * len(sizes), tuple(n_bytes / seconds for n_bytes, seconds in timed))


def timed(system: System, pairs: Sequence[Mapping[str, Any]]) -> list[Timed]:
    """Measured rows with their patterns: ``algorithm`` (its name), ``n_bytes`` (of a message), ``time_s``."""
    programs = {program.name: program for program in patterns(system.n_devices)}
    return [Timed(programs[row["algorithm"]], CHUNKS * row["n_bytes"], row["time_s"]) for row in pairs]


def fit(system: System, rows: Sequence[Timed], reduction: BySize) -> tuple[System, dict[str, float]]:
    """The system whose simulated patterns come nearest to the measured ones, and its figures.

    Parameters
    ----------
    system : System
        As its file has it.
    rows : sequence of Timed
    reduction : BySize
        Of which the patterns have none.
    """
    return nearest(begun(system, reduction), figures_of(system), rows, JITTER_S)


def calibrate_file(nominal: Path, measured: Path, output: Path) -> str:
    """Fit, write the system file, and say what was found.

    Raises
    ------
    InputError
        If the rows are not what `testbed measure` wrote.
    """
    import topologies

    system = topologies.find(str(nominal))
    try:
        document = json.loads(measured.read_text())
        by_kind = {what: [row for row in document["rows"] if row["what"] == what] for what in (PAIRS, REDUCTIONS)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{measured}: no rows of `commsim testbed measure` ({error})") from None
    if not all(by_kind.values()):
        raise InputError(f"{measured}: has no messages between pairs, or no reductions")
    rows = timed(system, by_kind[PAIRS])
    found, figures = fit(system, rows, reduction_costs(by_kind[REDUCTIONS]))
    errors = np.abs(log_ratios(found, rows))
    notes = {**document["provenance"], "n_patterns": len(errors), "median_residual": round(float(np.median(errors)), 4)}
    write(output, nominal, system, found, figures, notes)
    return "".join(f"{line}\n" for line in (*told(figures), f"residuals: median {np.median(errors):.3f}", output))


def write(
    path: Path, nominal: Path, system: System, found: System, figures: Mapping[str, float], notes: Mapping[str, Any]
) -> None:
    """A system file on top of the one that was built: what was fitted, and how."""
    shares = {name: figures[name] for name in cable_classes(system)}
    tables = extended(path, str(nominal), system, shares)
    write_system(path, tables, found.endpoint, notes, "Written by `commsim testbed calibrate`.")


def told(figures: Mapping[str, float]) -> list[str]:
    """The figures in words."""
    overheads = {name: figures[name] for name in OVERHEADS}
    shares = {name: one for name, one in figures.items() if name not in (BURST, *OVERHEADS)}
    return [
        *(f"{name}: {100 * one:.1f} % of the nominal rate" for name, one in shares.items()),
        f"burst: {format_bytes(round(figures[BURST]))}",
        *(f"overhead, {name}: {format_time(seconds)}" for name, seconds in overheads.items()),
    ]
