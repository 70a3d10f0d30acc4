"""What a testbed's file does not say, fitted on messages between pairs: rates that links keep, and costs of messages.

Given by how it is built: the structure, the nominal rates, and from which size on MPI announces a message before it is
sent. Fitted: the share of the nominal rate that each class of links keeps for payload, what a link that has rested
sends at once (its token bucket, and the debt that one packet of the kernel's may make), and the overhead of a message,
small or announced, one way or while its ends send and receive. Reductions are timed by themselves.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.system import BySize, Endpoint, System
from commsim.units import format_bytes, format_time
from experiments.testbed import network, ranks
from experiments.testbed.measure import PAIRS, REDUCTIONS
from experiments.testbed.patterns import patterns, time_s

ANNOUNCED_BYTES = int(ranks.ENVIRONMENT["UCX_RNDV_THRESH"])
SEGMENT_BYTES = network.MTU_BYTES - 52  # payload of a frame: without IP's and TCP's headers and time stamps
NOISE, JITTER_S = 0.01, 2e-4  # of a time that is measured: relative, and what cores that are shared add
OVERHEADS = ("small", "announced", "small both ways", "announced both ways")
FIRST_S, FIRST_BYTES = 1e-4, 2.0 * SEGMENT_BYTES  # an overhead and a burst to begin with


@dataclass(frozen=True)
class Figures:
    """What is fitted.

    Attributes
    ----------
    share : dict
        Of each class of links, by a pattern of its cables' names.
    burst_bytes : float
        Payload.
    overhead_s : dict
        At each end of a message, for each of OVERHEADS.
    """

    share: Mapping[str, float]
    burst_bytes: float
    overhead_s: Mapping[str, float]


def cable_classes(system: System) -> dict[str, Ints]:
    """Links by the names of their ends without numbers: ``"host*↔leaf*"`` to the numbers of both directions."""
    topology = system.topology
    found: dict[str, list[int]] = {}
    for link, ends in enumerate(zip(topology.links.src.tolist(), topology.links.dst.tolist(), strict=True)):
        upper, lower = sorted(ends, reverse=True)
        name = "↔".join(re.sub(r"\d+", "*", topology.vertex_name(end)) for end in (lower, upper))
        found.setdefault(name, []).append(link)
    return {name: np.array(links) for name, links in found.items()}


def calibrated(system: System, figures: Figures, reduction: BySize) -> System:
    """The system with what was fitted."""
    links = system.topology.links
    bandwidth_Bps = links.bandwidth_Bps.copy()
    for name, numbers in cable_classes(system).items():
        bandwidth_Bps[numbers] *= figures.share[name]
    small, announced, small_both, announced_both = (figures.overhead_s[word] for word in OVERHEADS)
    sizes = (0, ANNOUNCED_BYTES)
    endpoint = Endpoint(
        message=BySize(sizes, (small, announced), (1.0, 1.0)),
        both_ways=BySize(sizes, (small_both, announced_both), (1.0, 1.0)),
        reduction=reduction,
        eager_limit_bytes=ANNOUNCED_BYTES - 1,
        burst_bytes=round(figures.burst_bytes),
    )
    topology = replace(system.topology, links=replace(links, bandwidth_Bps=bandwidth_Bps))
    return replace(system, topology=topology, endpoint=endpoint)


def reduction_costs(rows: Sequence[Mapping[str, Any]]) -> BySize:
    """A class for each size that was timed."""
    timed = sorted((row["n_bytes"], row["time_s"]) for row in rows)
    sizes = [0, *(n_bytes for n_bytes, _ in timed[1:])]
    return BySize(tuple(sizes), (0.0,) * len(sizes), tuple(n_bytes / seconds for n_bytes, seconds in timed))


def fit(system: System, pairs: Sequence[Mapping[str, Any]], reduction: BySize) -> Figures:
    """The figures with which the simulated patterns come nearest to the measured ones.

    Parameters
    ----------
    system : System
        As its file has it.
    pairs : sequence of mapping
        Measured rows: ``algorithm`` (a pattern), ``n_bytes``, ``time_s``.
    reduction : BySize
        Of which the patterns have none.
    """
    from scipy.optimize import least_squares

    classes = list(cable_classes(system))
    n = len(classes)
    first = [0.97] * n + [FIRST_BYTES] + [FIRST_S] * len(OVERHEADS)
    least = [0.5] * n + [1.0] + [1e-6] * len(OVERHEADS)
    most = [1.1] * n + [1e6] + [0.1] * len(OVERHEADS)

    def figures(values: Any) -> Figures:
        found = np.exp(values).tolist()
        return Figures(
            dict(zip(classes, found[:n], strict=True)), found[n], dict(zip(OVERHEADS, found[n + 1 :], strict=True))
        )

    noise = NOISE + JITTER_S / np.array([row["time_s"] for row in pairs])

    def residuals(values: Any) -> Any:
        return log_ratios(calibrated(system, figures(values), reduction), pairs) / noise

    found = least_squares(
        residuals,
        np.log(first),
        bounds=(np.log(least), np.log(most)),
        loss="soft_l1",
        x_scale="jac",
        diff_step=1e-3,
        ftol=1e-4,
        max_nfev=20,
    )
    return figures(found.x)


def log_ratios(system: System, pairs: Sequence[Mapping[str, Any]]) -> Any:
    """ln(predicted/measured) of each row of patterns."""
    programs = {program.name: program for program in patterns(system.n_devices)}
    times = [time_s(programs[row["algorithm"]], system, row["n_bytes"]) for row in pairs]
    return np.log(np.array(times) / [row["time_s"] for row in pairs])


def write(path: Path, nominal: Path, figures: Figures, system: System, notes: Mapping[str, Any]) -> None:
    """A system file on top of the one that was built: what was fitted, and how."""
    import tomli_w

    def classes(costs: BySize, word: str, unit: str) -> list[dict[str, Any]]:
        rows = zip(costs.min_bytes, costs.overhead_s, costs.rate, strict=True)
        return [
            {"from": f"{size}B", "overhead": f"{1e6 * o:.4g}us", word: f"{rate:.4g}{unit}" if unit else rate}
            for size, o, rate in rows
        ]

    endpoint = system.endpoint
    document = {
        "topology": {"extends": str(nominal)},
        "override": [{"links": name, "factor": round(share, 5)} for name, share in figures.share.items()],
        "endpoint": {
            "eager_limit": f"{endpoint.eager_limit_bytes}B",
            "burst": f"{endpoint.burst_bytes}B",
            "message": classes(endpoint.message, "efficiency", ""),
            "both_ways": classes(endpoint.both_ways or endpoint.message, "efficiency", ""),
            "reduction": classes(endpoint.reduction, "throughput", "B/s"),
        },
        "notes": dict(notes),
    }
    path.write_text("# Written by `commsim testbed calibrate`.\n" + tomli_w.dumps(document))


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
    reduction = reduction_costs(by_kind[REDUCTIONS])
    figures = fit(system, by_kind[PAIRS], reduction)
    found = calibrated(system, figures, reduction)
    errors = np.abs(log_ratios(found, by_kind[PAIRS]))
    notes = {**document["provenance"], "n_patterns": len(errors), "median_residual": round(float(np.median(errors)), 4)}
    write(output, Path(os.path.relpath(nominal.resolve(), output.resolve().parent)), figures, found, notes)
    return "".join(f"{line}\n" for line in (*told(figures), f"residuals: median {np.median(errors):.3f}", output))


def told(figures: Figures) -> list[str]:
    """The figures in words."""
    return [
        *(f"{name}: {100 * share:.1f} % of the nominal rate" for name, share in figures.share.items()),
        f"burst: {format_bytes(round(figures.burst_bytes))}",
        *(f"overhead, {word}: {format_time(seconds)}" for word, seconds in figures.overhead_s.items()),
    ]
