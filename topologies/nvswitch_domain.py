"""GPUs of one NVLink domain behind switch planes: a DGX node, an NVL72 rack."""

from __future__ import annotations

import numpy as np

from commsim.topology import Topology
from topologies.cables import Cable
from topologies.generator import at_least_one, can_be_built, generator
from topologies.star import spokes


@generator
def nvswitch_domain(gpus: int, bandwidth_Bps: float, latency_s: float, planes: int = 1) -> Topology:
    """`gpus` on `planes` parallel switch planes, each GPU with a link to every plane: one non-blocking domain.

    The planes are one vertex, whose link to a GPU has the bandwidth of all: hardware spreads every message over them.
    Ishii, Wells: The NVLink-network switch, Hot Chips 34, 2022.

    Parameters
    ----------
    gpus : int
    bandwidth_Bps, latency_s : float
        Of one direction of the links between one GPU and one plane; a path has two hops.
    planes : int
    """
    at_least_one(gpus=gpus, planes=planes)
    can_be_built(gpus, 2 * gpus)
    nowhere_else = np.zeros(gpus + 1, dtype=np.int64)
    cable = Cable(latency_s, planes * bandwidth_Bps)
    domain = spokes(nowhere_else[:gpus], cable, lambda v: f"gpu{v}" if v < gpus else "nvswitch")
    return Topology(gpus, domain.links, domain.route, domain.vertex_name, {"node": nowhere_else})
