"""Times that no schedule can beat on a system: a prediction below one of them is an error, never an answer."""

from __future__ import annotations

import numpy as np

from commsim.collective import ALLREDUCE, BROADCAST, Collective
from commsim.program import Ints
from commsim.system import System
from commsim.topology import Floats, Topology


def bound_s(collective: Collective, system: System, n_ranks: int, n_bytes: int, root: int = 0) -> float:
    """The larger of the latency bound and the bandwidth bound, in seconds (no in-network reduction).

    Latency: what the root (rank 0 where there is none) knows must reach the farthest rank. Bandwidth: what each group
    of a tier (a device's ports, a node, a leaf) must let out and in, over the links that leave and enter it.
    """
    if n_ranks == 1:
        return 0.0
    latency = _latencies_s(system.topology, root)[:n_ranks].max()
    both_ways = system.endpoint.both_ways or system.endpoint.message
    overhead = 2 * min(system.endpoint.message.overhead_s + both_ways.overhead_s)
    groupings = {"port": np.arange(system.topology.n_vertices), **system.topology.tiers}
    bandwidth = max(_tier_bound_s(collective, system, groups, n_ranks, n_bytes, root) for groups in groupings.values())
    return float(max(latency + overhead, bandwidth))


def _latencies_s(topology: Topology, root: int) -> Floats:
    """Least latency from the root to every vertex (n_vertices,), over any links: a rank may pass on what it got."""
    least = np.full(topology.n_vertices, np.inf)
    least[root] = 0.0
    while True:
        nearer = least.copy()
        np.minimum.at(nearer, topology.links.dst, least[topology.links.src] + topology.links.latency_s)
        if (nearer == least).all():
            return least
        least = nearer


def _tier_bound_s(collective: Collective, system: System, groups: Ints, n_ranks: int, n_bytes: int, root: int) -> float:
    out_Bps, in_Bps = system.topology.crossing_Bps(groups)
    used, counts = np.unique(groups[:n_ranks], return_counts=True)
    used, counts = used[used >= 0], counts[used >= 0]
    if len(used) < 2 and (counts == n_ranks).any():
        return 0.0
    out_Bps, in_Bps = out_Bps[used], in_Bps[used]
    if collective is BROADCAST:
        receives = used != groups[root]
        sends = ~receives
    else:
        receives = sends = np.ones(len(used), dtype=bool)
    alone = max((n_bytes / rate.min() for rate in (out_Bps[sends], in_Bps[receives]) if len(rate)), default=0.0)
    if collective is not ALLREDUCE:
        return float(alone)
    together = 2 * (len(used) - 1) * n_bytes / min(out_Bps.sum(), in_Bps.sum())  # Patarasuk, Yuan 2009, theorem 1
    return float(max(alone, together))
