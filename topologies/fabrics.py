"""Fabrics between the NICs of nodes, built as large as a number of nodes needs; and which port each NIC is.

A fabric is ``fabric(nodes, nics, nic, hop)``: cables from a NIC to its switch and between switches. It returns the
topology whose devices are ports, and the port of each NIC, an array (nodes, nics).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from commsim.selection import Ints
from commsim.topology import Topology
from topologies.cables import Cable
from topologies.dragonfly import Dragonfly
from topologies.fat_tree import FatTree, tree_topology
from topologies.groups import GlobalCables, between_hosts
from topologies.hosts import with_hosts
from topologies.star import spokes

Fabric: TypeAlias = Callable[[int, int, Cable, Cable], tuple[Topology, Ints]]


def one_switch(nodes: int, nics: int, nic: Cable, _hop: Cable) -> tuple[Topology, Ints]:
    """All NICs on one switch that never blocks: a network of which no more is known."""
    n = nodes * nics
    return spokes(np.zeros(n, dtype=np.int64), nic, lambda _: "network"), _in_order(nodes, nics)


def clos(per_leaf: int, up: int, radix: int, *, rails: bool = False) -> Fabric:
    """A fat tree of two levels while its spines have ports for all leaves, else of three.

    Parameters
    ----------
    per_leaf : int
        Ports of a leaf for NICs; with rails, nodes that share their leaves, else ports of any nodes.
    up : int
        Cables of a leaf to spines.
    radix : int
        Ports of a spine.
    rails : bool
        The r-th NICs of the nodes of a unit are on its leaf r.
    """

    def size(leaves: int) -> FatTree:
        if leaves <= radix:
            return FatTree((per_leaf, leaves), (1, up), (1, 1))
        half = radix // 2
        return FatTree((per_leaf, half, -(-leaves // half)), (1, up, half), (1, 1, 1))

    def fabric(nodes: int, nics: int, nic: Cable, hop: Cable) -> tuple[Topology, Ints]:
        if not rails:
            return _tree(size(-(-nodes * nics // per_leaf)), _in_order(nodes, nics), nic, hop)
        tree = size(-(-nodes // per_leaf) * nics)
        return rail_tree(tree, nodes, nics, per_leaf, nic, hop)

    return fabric


def rail_tree(
    tree: FatTree, nodes: int, nics: int, nodes_per_unit: int, nic: Cable, hop: Cable
) -> tuple[Topology, Ints]:
    """The tree with NIC r of the i-th node of a unit on port ``(unit*nics + r)*nodes_per_unit + i``."""
    topology, slot = _tree(tree, _by_rail(nodes, nics, nodes_per_unit), nic, hop)
    leaf = topology.tiers.get("leaf")
    if leaf is None or nodes <= nodes_per_unit or tree.down[0] != nodes_per_unit:
        return topology, slot
    return replace(topology, tiers={**topology.tiers, "unit": np.where(leaf >= 0, leaf // nics, -1)}), slot


def slices(down: tuple[int, ...], up: tuple[int, ...], parallel: tuple[int, ...], nodes_per_rack: int) -> Fabric:
    """A fat tree as it was built, with as many racks as are needed; the r-th NICs of a rack's nodes are neighbours."""

    def fabric(nodes: int, nics: int, nic: Cable, hop: Cable) -> tuple[Topology, Ints]:
        tree = FatTree((*down, -(-nodes // nodes_per_rack)), up, parallel)
        return rail_tree(tree, nodes, nics, nodes_per_rack, nic, hop)

    return fabric


def dragonfly(per_router: int, routers: int, cables: int) -> Fabric:
    """Groups of `routers`, each with `per_router` NICs, and `cables` between every two groups; minimal routing.

    The r-th NICs of as many nodes as a router has ports are on one router.
    """

    def fabric(nodes: int, nics: int, nic: Cable, hop: Cable) -> tuple[Topology, Ints]:
        n_groups = -(-nodes * nics // (per_router * routers))
        n_ports = cables * max(n_groups - 1, 1)
        structure = Dragonfly(routers, -(-n_ports // routers), GlobalCables(n_groups, n_ports))
        return _with_nics(structure, per_router, nics, nic, hop), _by_rail(nodes, nics, per_router)

    return fabric


def _with_nics(structure: Dragonfly, per_router: int, nics: int, nic: Cable, hop: Cable) -> Topology:
    """The dragonfly; a unit are the routers of the NICs of as many nodes as one of them has ports."""
    routers, router = structure.size, np.arange(structure.n_routers)
    return with_hosts(
        structure.n_routers,
        per_router,
        nic,
        structure.links(hop, hop),
        between_hosts(structure.route, per_router, routers, structure.between.groups, "minimal", None),
        lambda v: f"group{v // routers}.router{v % routers}",
        {"group": router // routers} | ({} if routers % nics else {"unit": router // nics}),
    )


def _in_order(nodes: int, nics: int) -> Ints:
    return np.arange(nodes * nics).reshape(nodes, nics)


def _by_rail(nodes: int, nics: int, nodes_per_unit: int) -> Ints:
    """Ports of the r-th NICs of the nodes of a unit side by side."""
    (unit, i), rail = np.divmod(np.arange(nodes)[:, None], nodes_per_unit), np.arange(nics)
    slot: Ints = (unit * nics + rail) * nodes_per_unit + i
    return slot


def _tree(tree: FatTree, slot: Ints, nic: Cable, hop: Cable) -> tuple[Topology, Ints]:
    return tree_topology(tree, [nic] + [hop] * (tree.n_levels - 1)), slot
