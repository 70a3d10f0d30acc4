"""Rails without a spine: the NICs of one rail are on one switch, and no switch knows two rails."""

from __future__ import annotations

import numpy as np

from commsim.topology import Topology
from topologies.cables import Cable
from topologies.generator import at_least_one, can_be_built, generator
from topologies.rails import rails
from topologies.star import spokes


@generator
def rail_only(
    nodes: int,
    gpus_per_node: int,
    bandwidth_Bps: float,
    latency_s: float,
    node_bandwidth_Bps: float,
    node_latency_s: float,
    nic_latency_s: float = 0.0,
) -> Topology:
    """Nodes of GPUs whose r-th NICs share one non-blocking switch, rail r; there is nothing between rails.

    A message to another rail is forwarded inside the sender's node: over its plane to the GPU of the receiver's rail,
    and out by that GPU's NIC. Wang et al.: Rail-only: a low-cost high-performance network for training LLMs with
    trillion parameters, HOTI 2024.

    Parameters
    ----------
    nodes, gpus_per_node : int
        Ranks are GPUs, node by node.
    bandwidth_Bps, latency_s : float
        Of one direction of a NIC and of its cable to the rail's switch.
    node_bandwidth_Bps, node_latency_s : float
        A GPU to its node's switch plane; a path inside the node has two.
    nic_latency_s : float
        A GPU to its NIC, whose bandwidth this hop has.
    """
    at_least_one(nodes=nodes, gpus_per_node=gpus_per_node)
    n = nodes * gpus_per_node
    can_be_built(n, 6 * n)
    plane, nic = Cable(node_latency_s, node_bandwidth_Bps), Cable(nic_latency_s, bandwidth_Bps)
    switches = spokes(np.arange(n) // nodes, Cable(latency_s, bandwidth_Bps), lambda v: f"rail{v - n}")
    return rails(nodes, gpus_per_node, plane, nic, switches, nodes, forward=True)
