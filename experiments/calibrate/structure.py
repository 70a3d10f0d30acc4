"""A network that is known: its paths, what several pairs share there, and the file that extends it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from commsim.selection import Ints
from commsim.system import System
from experiments.calibrate.fit import Calibration, Way
from experiments.calibrate.nearest import Timed, cable_classes, nearest, overrides, share
from experiments.calibrate.patterns import CROWD, CROWD_PAIR, Pattern, patterns_of
from experiments.calibrate.places import classes_of

LEAST_SHARE = 0.02


def ways_in(system: System, tiers: Mapping[str, Ints], n_ranks: int) -> dict[str, Way]:
    """The paths of all classes of links in a system: of their first pairs of ranks, and what several pairs share."""
    found = {}
    for name, pairs in classes_of(tiers, n_ranks).items():
        path = system.topology.path(np.array(pairs[0][:1]), np.array(pairs[0][1:]))
        way = Way(float(path.latency_s[0]), float(path.bandwidth_Bps[0]))
        found[name] = replace(way, burst_bytes=system.endpoint.burst_bytes)
    for pattern in patterns_of(tiers, n_ranks):
        if pattern.what == CROWD:
            rates_Bps = system.topology.links.bandwidth_Bps[_shared_links(system, pattern)]
            way = found[pattern.link_class]
            found[pattern.link_class] = replace(way, shared_Bps=float(rates_Bps.min(initial=np.inf)))
    return found


def _shared_links(system: System, pattern: Pattern) -> Ints:
    """The links on which all messages of some step are."""
    found = [np.empty(0, dtype=np.int64)]
    for sends in pattern.steps:
        hops = system.topology.path(np.array(list(sends)), np.array(list(sends.values()))).hops
        link, count = np.unique(hops[hops >= 0], return_counts=True)
        found.append(link[count == pattern.n_pairs])
    return np.concatenate(found)


def with_shares(calibration: Calibration, system: System, tiers: Mapping[str, Ints]) -> Calibration:
    """The shares of their rates that cables keep on which several pairs are at once: fitted to what these took.

    The costs of the ends stay, which messages alone on their way have shown.
    """
    n_ranks, seconds = calibration.facts["n_ranks"], calibration.measured.seconds
    crowds = [one for one in patterns_of(tiers, n_ranks) if one.what in (CROWD, CROWD_PAIR) and one.key in seconds]
    shared = np.concatenate([np.empty(0, dtype=np.int64), *(_shared_links(system, one) for one in crowds)])
    found = {name: own for name, own in cable_classes(system).items() if np.isin(own, shared).any()}
    rows = [
        Timed(one.program, one.n_chunks * n_bytes, float(np.median(own)) * len(one.steps))
        for one in crowds
        for n_bytes, own in seconds[one.key].items()
    ]
    if not found or not rows:
        return calibration
    endpoint = replace(calibration.endpoint, burst_bytes=system.endpoint.burst_bytes)
    figures = [share(name, own, LEAST_SHARE, 1.0) for name, own in found.items()]
    fitted, shares = nearest(replace(system, endpoint=endpoint), figures, rows)
    after = ways_in(fitted, tiers, n_ranks)
    ways = {name: replace(way, shared_Bps=after[name].shared_Bps) for name, way in calibration.ways.items()}
    return replace(calibration, ways=ways, shares=shares)


def extended(path: Path, spec: str, system: System, shares: Mapping[str, float]) -> dict[str, Any]:
    """Tables of the file `path` for a system given by `spec`, whose cables keep these shares of their rates."""
    extends = os.path.relpath(Path(spec).resolve(), path.resolve().parent) if spec.endswith(".toml") else spec
    changed = overrides(system, shares)
    return {"topology": {"extends": extends}, **({"override": changed} if changed else {})}
