"""Leaf and spine: two levels of switches, every leaf on every spine."""

from __future__ import annotations

from commsim.topology import Topology
from topologies.cables import Cable
from topologies.fat_tree import FatTree, tree_topology
from topologies.generator import at_least_one, generator


@generator
def leaf_spine(
    hosts_per_leaf: int,
    leaves: int,
    spines: int,
    bandwidth_Bps: float,
    latency_s: float,
    uplink_bandwidth_Bps: float | None = None,
    uplink_latency_s: float | None = None,
    routing: str = "dmodk",
    seed: int | None = None,
) -> Topology:
    """Two levels of switches, a cable from every leaf to every spine; other fat trees are ``xgft``.

    Alizadeh, Edsall: On the data path performance of leaf-spine datacenter fabrics, Hot Interconnects 2013.

    Parameters
    ----------
    hosts_per_leaf, leaves, spines : int
        Taper: ``hosts_per_leaf*bandwidth / (spines*uplink_bandwidth)``.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    uplink_bandwidth_Bps, uplink_latency_s : float, optional
        The same of a cable between leaf and spine; as the hosts' by default.
    routing : {"dmodk", "ecmp"}
        Which spine: the destination modulo the spines, or a hash of source, destination and seed.
    seed : int, optional
        Of the hash; 0 by default.
    """
    at_least_one(hosts_per_leaf=hosts_per_leaf, leaves=leaves, spines=spines)
    cable = Cable(latency_s, bandwidth_Bps)
    tree = FatTree((hosts_per_leaf, leaves), (1, spines), (1, 1))
    return tree_topology(tree, [cable, cable.but(uplink_latency_s, uplink_bandwidth_Bps)], routing, seed)
