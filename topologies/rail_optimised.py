"""Rail-optimised fat tree: in each unit of nodes the NICs of one rail share a leaf, and all leaves share the spines."""

from __future__ import annotations

from commsim.topology import Topology
from topologies.cables import Cable
from topologies.fat_tree import FatTree, tree_topology
from topologies.generator import at_least_one, can_be_built, generator, one_of
from topologies.rails import rails


@generator
def rail_optimised(
    nodes: int,
    gpus_per_node: int,
    bandwidth_Bps: float,
    latency_s: float,
    node_bandwidth_Bps: float,
    node_latency_s: float,
    nic_latency_s: float = 0.0,
    nodes_per_leaf: int | None = None,
    spines: int | None = None,
    uplink_bandwidth_Bps: float | None = None,
    uplink_latency_s: float | None = None,
    cross_rail: str = "spine",
    routing: str = "dmodk",
    seed: int | None = None,
) -> Topology:
    """Nodes of GPUs, a NIC for each GPU; the r-th NICs of a unit's nodes are on its leaf r, every leaf on every spine.

    NVIDIA DGX SuperPOD reference architecture, compute fabric. With ``cross_rail=pxn`` a message to another rail
    changes rails inside the sender's node instead: NCCL 2.12's PXN (Doubling all2all performance, NVIDIA blog, 2022).

    Parameters
    ----------
    nodes, gpus_per_node : int
        Ranks are GPUs, node by node.
    bandwidth_Bps, latency_s : float
        Of one direction of a NIC, and of one cable.
    node_bandwidth_Bps, node_latency_s : float
        A GPU to its node's switch plane; a path inside the node has two.
    nic_latency_s : float
        A GPU to its NIC, whose bandwidth this hop has.
    nodes_per_leaf : int, optional
        Nodes of a unit; all by default. Ports of a unit that is not full stay empty.
    spines : int, optional
        By default as many as a leaf has nodes: no taper.
    uplink_bandwidth_Bps, uplink_latency_s : float, optional
        Of a cable between leaf and spine; as the NICs' by default.
    cross_rail : {"spine", "pxn"}
        How a message reaches another rail of another node.
    routing : {"dmodk", "ecmp"}
        Which spine: a digit of the destination, or a hash of source, destination and seed.
    seed : int, optional
        Of the hash; 0 by default.
    """
    per_leaf = nodes if nodes_per_leaf is None else nodes_per_leaf
    n_spines = per_leaf if spines is None else spines
    at_least_one(nodes=nodes, gpus_per_node=gpus_per_node, nodes_per_leaf=per_leaf, spines=n_spines)
    one_of("cross_rail", cross_rail, ("spine", "pxn"))
    leaves = -(-nodes // per_leaf) * gpus_per_node
    can_be_built(leaves * per_leaf, 6 * leaves * per_leaf + 2 * leaves * n_spines)
    plane, nic = Cable(node_latency_s, node_bandwidth_Bps), Cable(nic_latency_s, bandwidth_Bps)
    cable = Cable(latency_s, bandwidth_Bps)
    tree = FatTree((per_leaf, leaves), (1, n_spines), (1, 1))
    fabric = tree_topology(tree, [cable, cable.but(uplink_latency_s, uplink_bandwidth_Bps)], routing, seed)
    return rails(nodes, gpus_per_node, plane, nic, fabric, per_leaf, forward=cross_rail == "pxn")
