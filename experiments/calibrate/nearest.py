"""Figures of a network that is known, fitted so that simulated patterns come nearest to the measured ones.

A figure is a number that a system file does not say, and how a system gets it: the share of its rate that a class of
cables keeps, a burst, an overhead. Patterns are simulated with all that they share, never a collective.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np

from commsim.algorithm import Algorithm
from commsim.link_changes import matching
from commsim.selection import Ints
from commsim.simulate import unbound_s
from commsim.system import System
from commsim.topology import Floats, Topology

NOISE = 0.01  # of a time that is measured, relative
FIRST_SHARE = 0.97


@dataclass(frozen=True)
class Figure:
    """What is fitted.

    Attributes
    ----------
    name : str
    first, least, most : float
        Where the fit begins, and its bounds; above 0.
    put : callable
        A system and a value of the figure to the system that has it.
    """

    name: str
    first: float
    least: float
    most: float
    put: Callable[[System, float], System]


@dataclass(frozen=True)
class Timed:
    """What a pattern took.

    Attributes
    ----------
    program : Algorithm
    n_bytes : int
        Of the program's vector.
    time_s : float
    """

    program: Algorithm
    n_bytes: int
    time_s: float


def nearest(
    system: System, figures: Sequence[Figure], rows: Sequence[Timed], jitter_s: float = 0.0
) -> tuple[System, dict[str, float]]:
    """The system whose simulated patterns come nearest to the measured ones, and its figures by name.

    Least soft L1 of ln(simulated/measured), which counts by the noise of each row.

    Parameters
    ----------
    system : System
        With everything that is not fitted.
    figures : sequence of Figure
    rows : sequence of Timed
    jitter_s : float
        What cores that are shared add to any time, or do not.
    """
    from scipy.optimize import least_squares

    def with_figures(logarithms: Any) -> System:
        pairs = zip(figures, np.exp(logarithms).tolist(), strict=True)
        return reduce(lambda made, pair: pair[0].put(made, pair[1]), pairs, system)

    noise = NOISE + jitter_s / np.array([row.time_s for row in rows])
    first, least, most = (np.log([getattr(one, word) for one in figures]) for word in ("first", "least", "most"))
    found = least_squares(
        lambda logarithms: log_ratios(with_figures(logarithms), rows) / noise,
        first,
        bounds=(least, most),
        loss="soft_l1",
        x_scale="jac",
        diff_step=1e-3,
        ftol=1e-4,
        max_nfev=20,
    )
    values = np.exp(found.x).tolist()
    return with_figures(found.x), {one.name: value for one, value in zip(figures, values, strict=True)}


def log_ratios(system: System, rows: Sequence[Timed]) -> Floats:
    """ln(simulated/measured) of each row (n_rows,)."""
    times = [unbound_s(row.program, system, row.n_bytes) for row in rows]
    return np.log(np.array(times) / [row.time_s for row in rows])


def cable_classes(system: System) -> dict[str, Ints]:
    """Links by the names of their ends without numbers: ``"host*↔leaf*"`` to the numbers of both directions."""
    topology = system.topology
    found: dict[str, list[int]] = {}
    for link, ends in enumerate(zip(topology.links.src.tolist(), topology.links.dst.tolist(), strict=True)):
        upper, lower = sorted(ends, reverse=True)
        name = "↔".join(re.sub(r"\d+", "*", topology.vertex_name(end)) for end in (lower, upper))
        found.setdefault(name, []).append(link)
    return {name: np.array(links) for name, links in found.items()}


def share(name: str, links: Ints, least: float, most: float) -> Figure:
    """Of their rate that a class of cables keeps."""

    def put(system: System, value: float) -> System:
        old = system.topology.links
        bandwidth_Bps = old.bandwidth_Bps.copy()
        bandwidth_Bps[links] *= value
        return replace(system, topology=replace(system.topology, links=replace(old, bandwidth_Bps=bandwidth_Bps)))

    return Figure(name, FIRST_SHARE, least, most, put)


def overrides(system: System, shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """Of the file of a system, for its classes of cables that do not keep their rate."""
    classes = cable_classes(system)
    changed = {name: round(one, 5) for name, one in shares.items() if round(one, 3) != 1}
    return [
        {"links": links, "factor": factor}
        for name, factor in changed.items()
        for links in _patterns(system.topology, name, classes[name])
    ]


def _patterns(topology: Topology, name: str, own: Ints) -> list[str]:
    """The name of a class, if it means these links alone; else their own names."""
    if np.flatnonzero(matching(topology, name)).tolist() == own.tolist():
        return [name]
    ends = ((topology.links.src[link], topology.links.dst[link]) for link in own.tolist())
    return ["→".join(topology.vertex_name(int(end)) for end in pair) for pair in ends]
