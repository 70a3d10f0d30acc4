"""Nodes of GPUs on a switch plane, a NIC for each GPU: rail r is what the r-th NIC of every node is plugged into."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from commsim.selection import Ints
from commsim.topology import NO_LINK, Links, Topology
from topologies.cables import Cable, shifted
from topologies.routes import packed, where
from topologies.routes import shifted as renumbered
from topologies.star import spokes


def rails(
    nodes: int, gpus: int, plane: Cable, nic: Cable, fabric: Topology, nodes_per_unit: int, *, forward: bool = False
) -> Topology:
    """Nodes on a fabric whose devices are NICs; GPUs are numbered node by node. A single node has no NICs.

    Vertices: GPUs, planes (one a node), the fabric's. Links: GPU to plane and back, GPU to NIC and back, the fabric's.

    Parameters
    ----------
    nodes, gpus : int
        `gpus` in each node.
    plane, nic : Cable
        A GPU to its node's plane, and to its NIC.
    fabric : Topology
        Device ``(unit*gpus + rail)*nodes_per_unit + i`` is the NIC of rail `rail` of the i-th node of its unit; those
        of nodes that do not exist are empty ports.
    nodes_per_unit : int
        Nodes that share their leaves.
    forward : bool
        A message to another rail goes over the sender's plane to the GPU of that rail in its node, and out by its NIC.
    """
    n = nodes * gpus
    first_nic = n + nodes
    node, rail = np.divmod(np.arange(n), gpus)
    slot = (node // nodes_per_unit * gpus + rail) * nodes_per_unit + node % nodes_per_unit

    def name(vertex: int) -> str:
        if vertex < n:
            return f"node{vertex // gpus}.gpu{vertex % gpus}"
        if vertex < first_nic:
            return f"node{vertex - n}.nvswitch"
        if vertex >= first_nic + fabric.n_devices:
            return fabric.vertex_name(vertex - first_nic)
        place, i = divmod(vertex - first_nic, nodes_per_unit)
        return f"node{place // gpus * nodes_per_unit + i}.nic{place % gpus}"

    def route(src: Ints, dst: Ints) -> Ints:
        far = src // gpus != dst // gpus
        leaves_at = src // gpus * gpus + dst % gpus if forward else src  # the GPU by whose NIC a far message leaves
        stop = np.where(far, leaves_at, dst)
        return packed(
            where(src != stop, src),
            where(src != stop, n + stop),
            where(far, 2 * n + leaves_at),
            np.where(far[:, None], renumbered(fabric.route(slot[leaves_at], slot[dst]), 4 * n), NO_LINK),
            where(far, 3 * n + dst),
        )

    inside = spokes(node, plane, name)
    if nodes == 1:
        return replace(inside, tiers={"node": np.zeros(n + 1, dtype=np.int64)})
    to_nic = nic.both_ways(np.arange(n), first_nic + slot)
    links = Links.joined([inside.links, to_nic, shifted(fabric.links, first_nic)])
    return Topology(n, links, route, name, _tiers(node, slot, fabric, gpus, nodes_per_unit))


def _tiers(node: Ints, slot: Ints, fabric: Topology, gpus: int, nodes_per_unit: int) -> Mapping[str, Ints]:
    """Nodes; and units, where there are several."""
    nodes = np.arange(node[-1] + 1)
    node_of = np.full(fabric.n_vertices, -1)
    node_of[slot] = node
    tiers = {"node": np.concatenate([node, nodes, node_of])}
    if len(nodes) > nodes_per_unit:
        leaf = fabric.tiers["leaf"]
        unit_of = np.where(leaf >= 0, leaf // gpus, -1)
        tiers["unit"] = np.concatenate([node // nodes_per_unit, nodes // nodes_per_unit, unit_of])
    return tiers
