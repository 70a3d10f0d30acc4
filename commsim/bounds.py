"""Times that no schedule can beat on a system: a prediction below one of them is an error, never an answer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commsim.collective import ALLREDUCE, Collective
from commsim.selection import Ints
from commsim.system import System
from commsim.topology import Floats, Topology


def bound_s(
    collective: Collective,
    system: System,
    n_ranks: int,
    n_bytes: int,
    root: int = 0,
    *,
    in_network: bool = False,
    between: NDArray[np.int64] | None = None,
) -> float:
    """The larger of the latency bound and the bandwidth bound, in seconds.

    Latency: what the root (rank 0 where there is none) knows must reach the farthest rank. Bandwidth: what each group
    of a tier (a device's ports, a node, a leaf) must let out and in, over the links that leave and enter it. With
    ``in_network`` the switches reduce or copy, and need not get every rank's data over every port twice.
    ``between`` (n_ranks, n_ranks): bytes that each rank sends to each, where pairs have sizes of their own.
    """
    if n_ranks == 1:
        return 0.0
    latency = _latencies_s(system.topology, root)[:n_ranks].max()
    kinds = [by_size for one in system.endpoint.kinds for by_size in (one.message, one.both_ways) if by_size]
    overhead = 2 * min(min(by_size.overhead_s) for by_size in kinds)
    groupings = {"port": np.arange(system.topology.n_vertices), **system.topology.tiers}
    bandwidth = -burst_s(system) + max(
        _tier_bound_s(collective, system, groups, n_ranks, n_bytes, root, in_network, between)
        for groups in groupings.values()
    )
    if between is not None and not (between - np.diag(np.diag(between))).any():
        return 0.0
    return float(max(latency + overhead if between is None else 0.0, bandwidth))


def burst_s(system: System) -> float:
    """What links that have rested may be ahead of their bandwidth, at most."""
    return float(system.endpoint.burst_bytes / system.topology.links.bandwidth_Bps.min(initial=np.inf))


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


def _tier_bound_s(
    collective: Collective,
    system: System,
    groups: Ints,
    n_ranks: int,
    n_bytes: int,
    root: int,
    in_network: bool,
    between: NDArray[np.int64] | None,
) -> float:
    out_Bps, in_Bps = system.topology.crossing_Bps(groups)
    used, counts = np.unique(groups[:n_ranks], return_counts=True)
    used, counts = used[used >= 0], counts[used >= 0]
    if len(used) < 2 and (counts == n_ranks).any():
        return 0.0
    out_Bps, in_Bps = out_Bps[used], in_Bps[used]
    if between is not None:
        out, into = _crossing(between, groups[:n_ranks], used)
    else:
        shares = collective.crossing(counts, n_ranks, used == groups[root])
        out, into = (np.asarray(share) * n_bytes for share in shares)
    alone = max(float((moved / rate).max()) for moved, rate in ((out, out_Bps), (into, in_Bps)))
    both_Bps = None
    if system.topology.links.medium is not None:
        both_Bps = system.topology.border_Bps(groups)[used]
        alone = max(alone, float(((out + into) / both_Bps).max()))
    if collective is not ALLREDUCE or in_network:
        return alone
    through_Bps = min(out_Bps.sum(), in_Bps.sum(), *([] if both_Bps is None else [both_Bps.sum() / 2]))
    together = 2 * (len(used) - 1) * n_bytes / through_Bps  # Patarasuk, Yuan 2009, theorem 1
    return float(max(alone, together))


def _crossing(between: NDArray[np.int64], group: Ints, used: Ints) -> tuple[Floats, Floats]:
    """Bytes out of and into each group."""
    place = np.searchsorted(used, group)
    n = len(used)
    total = np.zeros((n, n))
    mine = group >= 0
    np.add.at(total, (place[mine][:, None], place[mine][None, :]), between[np.ix_(mine, mine)])
    inside = np.diag(total)
    return total.sum(axis=1) - inside, total.sum(axis=0) - inside
