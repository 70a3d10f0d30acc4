"""Fully connected: a cable between every two hosts."""

from __future__ import annotations

from commsim.topology import Topology
from topologies.cables import Cable
from topologies.generator import at_least_one, can_be_built, generator
from topologies.hyperx import HyperX


@generator
def fully_connected(hosts: int, bandwidth_Bps: float, latency_s: float) -> Topology:
    """`hosts` devices with a cable between every two, and no switch.

    The same with routers is a ``hyperx`` of one dimension.

    Parameters
    ----------
    hosts : int
    bandwidth_Bps, latency_s : float
        Of one direction of one cable, which is the whole path.
    """
    at_least_one(hosts=hosts)
    structure = HyperX((hosts,))
    can_be_built(hosts, structure.n_links)
    return Topology(hosts, structure.links(Cable(latency_s, bandwidth_Bps)), structure.route, "host{}".format)
