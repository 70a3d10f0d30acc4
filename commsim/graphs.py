"""A machine from a networkx graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from commsim.errors import InputError
from commsim.routing import routed
from commsim.selection import Ints
from commsim.topology import Links, Topology
from commsim.units import parse_bandwidth, parse_time

if TYPE_CHECKING:
    import networkx as nx


def from_networkx(
    graph: nx.Graph, *, tiers: Sequence[str] = ("node",), routing: str = "shortest", seed: int | None = None
) -> Topology:
    """A topology from a graph, a multigraph, or a directed one.

    Parameters
    ----------
    graph : networkx graph
        Nodes: ``device`` (true or false; where no node has it, all are devices), ``name`` (else the node itself).
        Edges: ``bandwidth_Bps`` and ``latency_s``, as numbers or as texts with units; of an undirected edge
        ``duplex`` may be "half"; of directed ones those with equal ``medium`` share their capacity.
    tiers : sequence of str
        Attributes of nodes that say in which group of a tier they lie.
    routing : {"shortest", "ecmp", "adaptive"}
    seed : int, optional
        See :class:`commsim.routing.Router`.

    Raises
    ------
    InputError
        Naming the edge and the attribute that is missing or impossible, or devices that are not connected.

    Examples
    --------
    >>> import networkx as nx
    >>> from commsim import System, from_networkx
    >>> graph = nx.Graph()
    >>> graph.add_nodes_from(["gpu0", "gpu1", "gpu2"], device=True)
    >>> graph.add_node("switch", device=False)
    >>> for gpu in ("gpu0", "gpu1", "gpu2"):
    ...     graph.add_edge(gpu, "switch", bandwidth_Bps="450GB/s", latency_s="500ns")
    >>> System("mine", from_networkx(graph)).n_devices
    3
    """
    marked = any("device" in data for _, data in graph.nodes(data=True))
    is_device = {node: bool(data.get("device", not marked)) for node, data in graph.nodes(data=True)}
    ordered = sorted(graph.nodes, key=lambda node: not is_device[node])  # stable: devices first, each in their order
    number = {node: i for i, node in enumerate(ordered)}
    rows = [(number[a], number[b], *_figures(a, b, data)) for a, b, data in graph.edges(data=True)]
    columns = [np.array(column) for column in zip(*rows, strict=True)] if rows else [np.empty(0, dtype=np.int64)] * 4
    src, dst, latency, bandwidth = columns[0], columns[1], columns[2].astype(float), columns[3].astype(float)
    data = [attributes for _, _, attributes in graph.edges(data=True)]
    if graph.is_directed():
        links = Links(src, dst, latency, bandwidth, _media(data))
    else:
        n, half = len(src), np.array([_is_half_duplex(attributes) for attributes in data], dtype=bool)
        medium = np.concatenate([np.arange(n), np.where(half, np.arange(n), n + np.arange(n))]) if half.any() else None
        ends = np.concatenate([src, dst]), np.concatenate([dst, src])
        links = Links(*ends, np.tile(latency, 2), np.tile(bandwidth, 2), medium)
    names = [str(graph.nodes[node].get("name", node)) for node in ordered]
    groups = {tier: _groups([graph.nodes[node].get(tier) for node in ordered]) for tier in tiers}
    present = {tier: group for tier, group in groups.items() if group.max(initial=-1) >= 0}
    return routed(names, sum(is_device.values()), links, present, {}, routing, seed)


def _figures(a: Any, b: Any, data: dict[str, Any]) -> tuple[float, float]:
    found = []
    for key, parse in (("latency_s", parse_time), ("bandwidth_Bps", parse_bandwidth)):
        if key not in data:
            raise InputError(f"edge {a}–{b} has no {key}")
        try:
            found.append(parse(data[key]))
        except InputError as error:
            raise InputError(f"edge {a}–{b}, {key}: {error}") from None
    return found[0], found[1]


def _is_half_duplex(data: dict[str, Any]) -> bool:
    duplex = data.get("duplex", "full")
    if duplex not in ("full", "half"):
        raise InputError(f"duplex={duplex!r} of an edge must be 'full' or 'half'")
    return bool(duplex == "half")


def _media(data: list[dict[str, Any]]) -> Ints | None:
    """Of each edge the first one with the same ``medium``."""
    if not any("medium" in attributes for attributes in data):
        return None
    first: dict[Any, int] = {}
    return np.array(
        [
            first.setdefault(attributes["medium"], i) if "medium" in attributes else i
            for i, attributes in enumerate(data)
        ]
    )


def _groups(values: list[Any]) -> Ints:
    """Numbers for what the vertices say, in order of first appearance; -1 for nothing."""
    known: dict[Any, int] = {}
    return np.array([-1 if value is None else known.setdefault(value, len(known)) for value in values])
