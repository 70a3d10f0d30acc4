"""Star: every host has one cable to one switch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from commsim.selection import Ints
from commsim.topology import NO_LINK, Topology, require_possible
from topologies.cables import Cable
from topologies.generator import at_least_one, generator


def spokes(switch: Ints, cable: Cable, vertex_name: Callable[[int], str]) -> Topology:
    """Devices with one cable each: device i to the switch ``switch[i]``. Routes exist between devices of one switch."""
    n = len(switch)

    def route(src: Ints, dst: Ints) -> Ints:
        return np.where((src == dst)[:, None], NO_LINK, np.stack([src, n + dst], axis=1))

    return Topology(n, cable.both_ways(np.arange(n), n + switch), route, vertex_name)


@generator
def star(hosts: int, bandwidth_Bps: float, latency_s: float) -> Topology:
    """`hosts` devices round one non-blocking switch.

    Parameters
    ----------
    hosts : int
    bandwidth_Bps, latency_s : float
        Of one direction of one cable; a path has two cables.
    """
    at_least_one(hosts=hosts)
    require_possible(hosts)
    cable = Cable(latency_s, bandwidth_Bps)
    return spokes(np.zeros(hosts, dtype=np.int64), cable, lambda v: f"host{v}" if v < hosts else "switch")
