"""The calibrated system as a TOML file: a network found or given, and what its ends cost."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from commsim.selection import Ints
from commsim.system import System
from commsim.system_file import write_system
from experiments.calibrate.fit import Calibration, Way
from experiments.calibrate.patterns import CROWD, Pattern, patterns_of
from experiments.calibrate.places import ACROSS, Pair, classes_of

NETWORK = "network"


def save(
    calibration: Calibration,
    path: Path,
    tiers: Mapping[str, Ints],
    structure: tuple[str, System] | None = None,
) -> None:
    """Write the system file that ``simulate -s`` and ``validate -s`` read; measurements and residuals go with it.

    Parameters
    ----------
    calibration : Calibration
    path : Path
    tiers : mapping
        Of every rank, the innermost first.
    structure : (str, System), optional
        What the user gave, as a spec or file, and the system that it is: the file extends it.
    """
    tables = found_tables(calibration, tiers) if structure is None else _extended(calibration, path, tiers, *structure)
    ends = {name: asdict(own) for name, own in calibration.measured.ends.items()}
    held_out = {"n_points": calibration.held_out.n_rows, "median": calibration.held_out.median}
    notes = {
        **calibration.facts,
        "ends": ends,
        "held_out": {**held_out, "p90": calibration.held_out.p90},
        "intervals": calibration.bands,
        "calibration": calibration.rows(),
    }
    write_system(path, tables, calibration.endpoint, notes)


# ---------------------------------------------------------------------------------------------------------------------
# A structure that is given


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


def _extended(
    calibration: Calibration, path: Path, tiers: Mapping[str, Ints], spec: str, system: System
) -> dict[str, Any]:
    """The given structure, with links that several pairs at once could not fill as rated."""
    is_file = spec.endswith(".toml")
    extends = os.path.relpath(spec, path.parent) if is_file else spec
    tables: dict[str, Any] = {"topology": {"extends": extends}}
    changed = list(_slower_links(calibration, tiers, system))
    return {**tables, "override": changed} if changed else tables


def _slower_links(calibration: Calibration, tiers: Mapping[str, Ints], system: System) -> list[dict[str, str]]:
    """Overrides of the links that several pairs at once shared, where together they got less than the links' rate."""
    rows = {}
    for pattern in patterns_of(tiers, calibration.facts["n_ranks"]):
        shared_Bps = calibration.ways[pattern.link_class].shared_Bps
        if pattern.what == CROWD:
            for link in _shared_links(system, pattern).tolist():
                if shared_Bps < system.topology.links.bandwidth_Bps[link]:
                    rows[_pattern_of(system, link)] = f"{shared_Bps:.6g}B/s"
    return [{"links": links, "bandwidth": bandwidth} for links, bandwidth in rows.items()]


def _pattern_of(system: System, link: int) -> str:
    """The class of a link, where it has one: others of it are alike; else the link alone."""
    for name, own in system.topology.classes.items():
        if name is not None and link in own:
            return f"class {name}"
    src, dst = (int(end[link]) for end in (system.topology.links.src, system.topology.links.dst))
    return f"{system.topology.vertex_name(src)}->{system.topology.vertex_name(dst)}"


# ---------------------------------------------------------------------------------------------------------------------
# A structure that was found


def found_tables(calibration: Calibration, tiers: Mapping[str, Ints]) -> dict[str, Any]:
    """A star where all pairs are alike and share nothing; else nodes, each with a memory and a way out.

    Messages inside a node go from the rank's port through the node's memory, which all of it share; those between
    nodes through its NIC.
    """
    ways, n_ranks = calibration.ways, calibration.facts["n_ranks"]
    [*_, outermost] = ways.values()
    if len(ways) == 1 and not np.isfinite(outermost.shared_Bps):
        half = f"{outermost.latency_s / 2:.6g}s"  # a path of a star has two links
        star = {"generator": "star", "hosts": n_ranks, "bandwidth": f"{outermost.bandwidth_Bps:.6g}B/s"}
        return {"topology": {**star, "latency": half}}
    inner = next((way for name, way in ways.items() if name != ACROSS), ways.get(ACROSS, outermost))
    nodes = tiers["node"]
    n_nodes = int(nodes.max()) + 1
    most = int(np.bincount(nodes).max())
    memory_Bps = min((way.shared_Bps for name, way in ways.items() if name != ACROSS), default=float("inf"))
    memory_Bps = memory_Bps if np.isfinite(memory_Bps) else most * inner.bandwidth_Bps
    classes = {
        "port": _link_class(inner.bandwidth_Bps, inner.latency_s / 2),
        "memory": _link_class(max(memory_Bps, inner.bandwidth_Bps), 0.0),
    }
    devices, links = _ranks(tiers)
    names = f"node[0-{n_nodes - 1}]"
    links.append({"from": f"{names}.in", "to": "node{0}.out", "class": "memory"})
    switches = [{"name": f"{names}.{end}", "node": "node{0}"} for end in ("in", "out")]
    if ACROSS in ways:
        across = ways[ACROSS]
        classes["nic"] = _link_class(across.shared_Bps, (across.latency_s - inner.latency_s) / 2)
        switches.append({"name": NETWORK})
        links.append({"from": f"{names}.in", "to": NETWORK, "class": "nic"})
        links.append({"from": NETWORK, "to": f"{names}.out", "class": "nic"})
    return {"class": classes, "device": devices, "switch": switches, "link": links}


def _link_class(bandwidth_Bps: float, latency_s: float) -> dict[str, str]:
    return {"bandwidth": f"{bandwidth_Bps:.6g}B/s", "latency": f"{latency_s:.6g}s", "duplex": "simplex"}


def _ranks(tiers: Mapping[str, Ints]) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """Devices in the order of ranks, with their tiers, and their ports; ranks that follow each other are one entry."""
    where: Sequence[Pair] = list(zip(tiers["node"].tolist(), tiers["socket"].tolist(), strict=True))
    begun: dict[int, int] = {}
    devices, links = [], []
    for (node, socket), run in itertools.groupby(where):
        first, n = begun.get(node, 0), len(list(run))
        begun[node] = first + n
        name = f"node{node}.rank[{first}-{first + n - 1}]"
        device = {"name": name, "node": f"node{node}"}
        devices.append(device if socket < 0 else {**device, "socket": f"socket{socket}"})
        links.append({"from": name, "to": f"node{node}.in", "class": "port"})
        links.append({"from": f"node{node}.out", "to": name, "class": "port"})
    return devices, links
