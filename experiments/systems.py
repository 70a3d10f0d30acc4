"""Named machines beside their bounds and published measurements: ``python -m experiments.systems`` writes the page."""

from __future__ import annotations

from collections.abc import Mapping

from collectives.grids import near_square
from collectives.helpers import largest_power_of_two
from collectives.registry import find
from commsim import Algorithm, Result, System, simulate

LEVELS = ("module", "switch", "socket", "node")
MANY_NODES = 16
LARGE_PLANE = 16  # of more devices not all send to all

MISSES: Mapping[tuple[str, int], str] = {}
"""Machines and numbers of nodes whose best algorithm is not within 1.3 of the bound, with the cause."""


def levels(system: System) -> list[int]:
    """Devices in the groups of a node, from the smallest to the node: ``[3, 6]`` for Summit."""
    sizes = []
    for tier in LEVELS:
        groups = system.topology.tiers.get(tier)
        if groups is not None:
            sizes.append(int((groups[: system.n_devices] == groups[0]).sum()))
    return sorted({size for size in sizes if size > 1})


def candidates(system: System) -> list[Algorithm]:
    """Allreduces of large vectors that suit the machine, a few of them."""
    return [find("allreduce", spec) for spec in _specs(system)]


def best(system: System, n_bytes: int) -> Result:
    """The fastest of them."""
    results = [simulate(one, system, n_bytes, model="fluid") for one in candidates(system)]
    return min(results, key=lambda result: result.time_s)


def _specs(system: System) -> list[str]:
    notes, sizes = system.notes, levels(system)
    if "shape" in notes:
        return [_on_a_torus(notes["shape"])]
    per_node = sizes[-1] if sizes else 1
    nodes = system.n_devices // per_node
    if nodes == 1:
        return _in_a_node(system, sizes)
    across = "rabenseifner" if nodes == largest_power_of_two(nodes) else "circulant"
    if per_node == 1:
        return [across]
    if "rings" in notes and nodes < MANY_NODES:
        return [f"multi_ring:rings={notes['rings']},segments=6"]
    return [_split(sizes, across, 32 if nodes < MANY_NODES else 8)]


def _on_a_torus(shape: str) -> str:
    lines = [size for size in shape.split("x") if size != "1"]
    return f"torus_bucket:shape={'x'.join(lines)},parts={2 * len(lines)},segments=4"


def _in_a_node(system: System, sizes: list[int]) -> list[str]:
    specs = ["ring_segmented:segments=8", "all_pairs"]
    if "rings" in system.notes:
        specs.append(f"multi_ring:rings={system.notes['rings']}")
    return specs + ([_split(sizes[:-1], "ring", 16)] if len(sizes) > 1 else [])


def _split(sizes: list[int], across: str, segments: int) -> str:
    """Level by level; large planes in two."""
    factors = [size // below for below, size in zip([1, *sizes], sizes, strict=False)]
    if len(factors) == 1 and factors[0] > LARGE_PLANE:
        factors = list(near_square(factors[0]))
    shape = "x".join(map(str, factors))
    return f"node_split:ranks_per_node={shape},intra=linear,inter={across},segments={segments}"
