"""What a machine's network is: counts, classes of links, degree, diameter, bisection, taper; and what looks wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from commsim import System, Topology
from commsim.errors import InputError
from commsim.hashing import mixed
from commsim.link_changes import reverse_of, without
from commsim.selection import Ints
from commsim.topology import NO_LINK, Hops
from commsim.units import format_bandwidth, format_time_short

ALL_PAIRS = 1024  # devices, up to which every pair's route is looked at
SOME_PAIRS = 65_536
MOST_SPLITS, MOST_LINKS = 12, 200_000
ROWS = 12


@dataclass(frozen=True)
class LinkClass:
    """Cables that are alike: ``links`` are their directed links. ``duplex`` as in system files."""

    name: str
    links: Ints
    n_cables: int
    bandwidth_Bps: float
    latency_s: float
    duplex: str


@dataclass(frozen=True)
class Bisection:
    """Least maximum flow from one half of the devices to the other, over several ways of halving them."""

    bandwidth_Bps: float
    injection_Bps: float
    n_splits: int


def kind_of(name: str) -> str:
    """What a vertex is, of its name: ``"gpu"`` of ``"node3.gpu2"``, ``"router"`` of ``"router0.1.2"``."""
    return re.sub(r"[\d.,_-]+$", "", name).rpartition(".")[2] or name


def levels(topology: Topology) -> Ints:
    """Links from each vertex to the nearest device, at least (n_vertices,): 0 for devices."""
    level = np.where(np.arange(topology.n_vertices) < topology.n_devices, 0, topology.n_vertices)
    while True:
        nearer = level.copy()
        np.minimum.at(nearer, topology.links.src, level[topology.links.dst] + 1)
        if (nearer == level).all():
            return level
        level = nearer


def empty_ports(topology: Topology) -> Ints:
    """Switches that only fill a port: with one neighbour, and in no node although others of their kind are in one."""
    nodes = topology.tiers.get("node")
    if nodes is None:
        return np.empty(0, dtype=np.int64)
    links, n = topology.links, topology.n_vertices
    ends = np.unique(np.stack([links.src, links.dst]), axis=1)
    n_neighbours = np.bincount(ends[0], minlength=n)
    lonely = np.flatnonzero((n_neighbours == 1) & (nodes[:n] < 0))
    lonely = lonely[lonely >= topology.n_devices]
    in_nodes = {kind_of(topology.vertex_name(v)) for v in np.flatnonzero(nodes[:n] >= 0).tolist()}
    found = [v for v in lonely.tolist() if kind_of(topology.vertex_name(v)) in in_nodes]
    return np.array(found, dtype=np.int64)


def link_classes(topology: Topology) -> list[LinkClass]:
    """Links by class and figures; those of no class by what they link. The most numerous of each class first."""
    links, n = topology.links, topology.n_links
    own: Ints = np.full(n, -1)
    for number, of_class in enumerate(topology.classes.values()):
        own[of_class] = number
    names, level = list(topology.classes), levels(topology)
    kinds = [kind_of(topology.vertex_name(vertex)) for vertex in range(topology.n_vertices)]
    reverse = reverse_of(links)
    shared = links.medium is not None and np.bincount(links.media, minlength=n)[links.media] > 1
    duplex = np.where(reverse == NO_LINK, "simplex", np.where(shared, "half", "full"))
    grouped: dict[tuple[str, float, float, str], list[int]] = {}
    ends = zip(links.src.tolist(), links.dst.tolist(), strict=True)
    figures = zip(links.bandwidth_Bps.tolist(), links.latency_s.tolist(), duplex.tolist(), strict=True)
    for link, ((a, b), key) in enumerate(zip(ends, figures, strict=True)):
        if own[link] >= 0:
            name = names[own[link]]
        else:
            low, high = sorted((a, b), key=lambda vertex: (level[vertex], kinds[vertex]))
            name = f"{kinds[low]}–{kinds[high]}"
        grouped.setdefault((name, *key), []).append(link)
    made = []
    for (name, bandwidth, latency, kind), members in grouped.items():
        n_cables = len(members) if kind == "simplex" else (len(members) + 1) // 2
        made.append(LinkClass(name, np.array(members), n_cables, bandwidth, latency, kind))
    order = {name: at for at, name in enumerate(dict.fromkeys(one.name for one in made))}
    return sorted(made, key=lambda one: (order[one.name], -one.n_cables))


def degrees(topology: Topology) -> tuple[tuple[int, int], tuple[int, int] | None]:
    """Fewest and most cables of a device, and of a switch (None where there are none)."""
    n = topology.n_vertices
    counts = np.maximum(np.bincount(topology.links.src, minlength=n), np.bincount(topology.links.dst, minlength=n))
    devices, switches = counts[: topology.n_devices], counts[topology.n_devices :]
    linked = switches[switches > 0]
    return (int(devices.min()), int(devices.max())), (int(linked.min()), int(linked.max())) if len(linked) else None


def pairs(topology: Topology) -> Iterator[tuple[Ints, Ints]]:
    """Pairs of devices, in portions: all of them, or where there are too many some that are spread evenly."""
    n = topology.n_devices
    if n <= ALL_PAIRS:
        for source in range(0, n, max(1, SOME_PAIRS // n)):
            src = np.arange(source, min(n, source + max(1, SOME_PAIRS // n)))
            yield np.repeat(src, n), np.tile(np.arange(n), len(src))
        return
    src = np.arange(SOME_PAIRS) % n
    yield src, (mixed(0, np.arange(SOME_PAIRS)) % np.uint64(n)).astype(np.int64)


def diameter(topology: Topology) -> tuple[int, float]:
    """Most links of a route, and the mean over pairs of two devices, over what :func:`pairs` yields.

    Raises
    ------
    InputError
        If a route is no way from its source to its destination; names the pair.
    """
    most, total, count = 0, 0, 0
    for src, dst in pairs(topology):
        hops = topology.route(src, dst)
        _require_ways(topology, src, dst, hops)
        lengths = (hops != NO_LINK).sum(axis=1)
        most = max(most, int(lengths.max(initial=0)))
        total += int(lengths.sum())
        count += int((src != dst).sum())
    return most, total / max(count, 1)


def _require_ways(topology: Topology, src: Ints, dst: Ints, hops: Hops) -> None:
    at, right = src.copy(), np.ones(len(src), dtype=bool)
    for column in hops.T:
        used = column != NO_LINK
        right[used] &= topology.links.src[column[used]] == at[used]
        at[used] = topology.links.dst[column[used]]
    right &= at == dst
    if not right.all():
        bad = int(np.argmin(right))
        a, b = topology.vertex_name(int(src[bad])), topology.vertex_name(int(dst[bad]))
        raise InputError(f"the route from {a} to {b} is no way between them")


def bisection(topology: Topology) -> Bisection | None:
    """An upper bound of the bisection bandwidth: the least over some ways of halving; None where there is too much.

    The halves are every second run of s devices, for the numbers s that divide: the halves of a tree, a torus along
    each dimension. Each is a maximum flow (scipy), one direction.
    """
    n = topology.n_devices
    if n < 2 or topology.n_links > MOST_LINKS:
        return None
    runs = [run for run in range(n // 2, 0, -1) if n % (2 * run) == 0] or [n // 2]
    if len(runs) > MOST_SPLITS:
        runs = [runs[i * (len(runs) - 1) // (MOST_SPLITS - 1)] for i in range(MOST_SPLITS)]
    if topology.n_links > MOST_LINKS // 10:
        runs = runs[:1]
    own_Bps = np.bincount(topology.links.src, topology.links.bandwidth_Bps, topology.n_vertices)[:n]
    found = []
    for run in runs:
        first = np.arange(n) // run % 2 == 0
        found.append((_max_flow_Bps(topology, first), float(min(own_Bps[first].sum(), own_Bps[~first].sum()))))
    least, injection = min(found)
    return Bisection(least, injection, len(runs))


def _max_flow_Bps(topology: Topology, first: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> float:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_flow

    links, n = topology.links, topology.n_vertices
    unit_Bps = float(links.bandwidth_Bps.sum()) / 2**30  # scipy counts in 32 bits
    capacity = np.maximum(np.round(links.bandwidth_Bps / unit_Bps), 1).astype(np.int64)
    devices = np.arange(topology.n_devices)
    tail = np.concatenate([links.src, np.full(first.sum(), n), devices[~first]])
    head = np.concatenate([links.dst, devices[first], np.full((~first).sum(), n + 1)])
    values = np.concatenate([capacity, np.full(len(devices), 2**30)]).astype(np.int32)
    graph = coo_array((values, (tail, head)), shape=(n + 2, n + 2)).tocsr()
    return float(maximum_flow(graph, n, n + 1).flow_value) * unit_Bps


def tapers(topology: Topology) -> list[tuple[str, int, float]]:
    """For each tier its groups, and what their devices inject over what leaves the group (the largest of them)."""
    found = []
    injected = np.bincount(topology.links.src, topology.links.bandwidth_Bps, topology.n_vertices)[: topology.n_devices]
    for tier, groups in topology.tiers.items():
        own = groups[: topology.n_devices]
        n_groups = len(np.unique(own[own >= 0]))
        if n_groups < 2:
            continue
        out_Bps, _ = topology.crossing_Bps(groups)
        inside = np.bincount(own[own >= 0], injected[own >= 0], len(out_Bps))
        with np.errstate(divide="ignore", invalid="ignore"):
            found.append((tier, n_groups, float(np.nanmax(inside / out_Bps))))
    return found


def described(system: System) -> str:
    """All of it as text.

    Raises
    ------
    InputError
        If a route is no way.
    """
    topology = system.topology
    hops, mean = diameter(topology)
    empty = empty_ports(topology)
    if len(empty):
        topology = without(topology, np.isin(topology.links.src, empty) | np.isin(topology.links.dst, empty))
    device, switch = degrees(topology)
    n_switches = len(np.unique(np.concatenate([topology.links.src, topology.links.dst, np.arange(topology.n_devices)])))
    lines = [
        f"{system.name}: {topology.n_devices} devices, "
        f"{_number(n_switches - topology.n_devices, 'switch', 'switches')}, "
        f"{sum(one.n_cables for one in link_classes(topology))} cables"
        + (f", {len(empty)} empty ports" if len(empty) else ""),
        *_class_lines(link_classes(topology)),
        f"degree: {_range(device)} of a device" + (f", {_range(switch)} of a switch" if switch else ""),
        _diameter_line(topology, hops, mean),
        _bisection_line(topology),
        *(
            f"taper of a {tier}: {ratio:.3g}:1, what its devices inject to what leaves it ({count} groups)"
            for tier, count, ratio in tapers(topology)
        ),
    ]
    lines += [f"ASSUMED {key}: {text}" for key, text in system.assumed.items()]
    return "\n".join(lines) + "\n"


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _class_lines(classes: list[LinkClass]) -> list[str]:
    shown = classes[:ROWS]
    wide = max((len(one.name) for one in shown), default=0)
    lines = [
        f"  {one.name:<{wide}} {one.n_cables:>7} x {format_bandwidth(one.bandwidth_Bps):>10}, "
        f"{format_time_short(one.latency_s):>7}, {one.duplex}"
        + (" (one direction each)" if one.duplex == "simplex" else " duplex")
        for one in shown
    ]
    return lines + ([f"  and {len(classes) - ROWS} more classes"] if len(classes) > ROWS else [])


def _range(ends: tuple[int, int]) -> str:
    return str(ends[0]) if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def _diameter_line(topology: Topology, hops: int, mean: float) -> str:
    if topology.n_devices <= ALL_PAIRS:
        return f"diameter: {hops} links, {mean:.3g} on average (routes of all pairs)"
    return f"diameter: at least {hops} links, {mean:.3g} on average (routes of {SOME_PAIRS} pairs)"


def _bisection_line(topology: Topology) -> str:
    found = bisection(topology)
    if found is None:
        return "bisection: not computed" + ("" if topology.n_devices < 2 else " for so many links")
    share = f"{100 * found.bandwidth_Bps / found.injection_Bps:.3g} % of what half of the devices inject"
    ways = "one way of halving" if found.n_splits == 1 else f"{found.n_splits} ways of halving"
    return (
        f"bisection: at most {format_bandwidth(found.bandwidth_Bps)} one way, {share} "
        f"(maximum flow, least over {ways} the devices by their numbers)"
    )


def remarks(system: System) -> list[str]:
    """What is possible, and yet may be a mistake."""
    topology, found = system.topology, []
    links, n = topology.links, topology.n_vertices
    degree = np.bincount(links.src, minlength=n) + np.bincount(links.dst, minlength=n)
    ends = [v for v in range(topology.n_devices, n) if 0 < degree[v] <= 2 and _neighbours(topology, v) == 1]
    if ends:
        found.append(f"{_some(topology, ends)} lead nowhere: switches with one neighbour")
    reverse = reverse_of(links)
    paired = reverse != NO_LINK
    differs = np.flatnonzero(paired & (links.bandwidth_Bps != links.bandwidth_Bps[np.maximum(reverse, 0)]))
    if len(differs):
        found.append(
            f"{topology.link_name(int(differs[0]))} and its way back have two rates ({len(differs) // 2} cables)"
        )
    if not paired.all():
        alone = topology.link_name(int(np.argmin(paired)))
        found.append(f"{alone} has no way back ({int((~paired).sum())} links)")
    nodes = topology.tiers.get("node")
    if nodes is not None and system.ranks_per_node(topology.n_devices) == 0:
        found.append(
            "nodes have unequally many devices, or not in a row: hierarchical algorithms refuse to guess groups"
        )
    if system.assumed:
        found.append(f"{len(system.assumed)} figures are ASSUMED: {', '.join(list(system.assumed)[:6])}")
    return found


def _neighbours(topology: Topology, vertex: int) -> int:
    links = topology.links
    beside = np.concatenate([links.dst[links.src == vertex], links.src[links.dst == vertex]])
    return len(np.unique(beside))


def _some(topology: Topology, vertices: list[int]) -> str:
    names = [topology.vertex_name(vertex) for vertex in vertices[:3]]
    return ", ".join(names) + (f" and {len(vertices) - 3} more" if len(vertices) > 3 else "")
