"""The calibrated system as a TOML file: a network found or given, and what its ends cost."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from commsim.selection import Ints
from commsim.system import System
from commsim.system_file import write_system
from experiments.calibrate.fit import Calibration
from experiments.calibrate.places import ACROSS, Pair
from experiments.calibrate.structure import extended

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
    tables = found_tables(calibration, tiers) if structure is None else extended(path, *structure, calibration.shares)
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
