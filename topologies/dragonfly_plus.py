"""Dragonfly+: groups that are leaf-spine networks, and cables between the spines of all groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.selection import Ints
from commsim.topology import Links, Topology
from topologies.cables import Cable
from topologies.generator import at_least_one, can_be_built, generator
from topologies.groups import GlobalCables, between_hosts
from topologies.hosts import with_hosts
from topologies.routes import packed, where


@dataclass(frozen=True)
class DragonflyPlus:
    """The structure: links and routes by arithmetic. Leaves of all groups come first, then spines."""

    leaves: int
    spines: int
    global_links: int
    between: GlobalCables

    @property
    def n_leaves(self) -> int:
        """Of all groups."""
        return self.between.groups * self.leaves

    @property
    def _n_up(self) -> int:
        return self.n_leaves * self.spines

    @property
    def n_links(self) -> int:
        """Directed links."""
        return 2 * self._n_up + self.between.n_links

    def links(self, local: Cable, global_: Cable) -> Links:
        """Leaves to spines, back, then those between groups."""
        leaf, spine = np.divmod(np.arange(self._n_up), self.spines)
        inside = local.both_ways(leaf, self.n_leaves + leaf // self.leaves * self.spines + spine)
        across = self.between.links(global_, self.n_leaves, self.global_links, self.spines)
        return Links.joined([inside, across])

    def route(self, src: Ints, dst: Ints, spread: Ints) -> Ints:
        """Between leaves: over one spine, or over one global link and its two spines. `spread` picks among equals."""
        a, b = src // self.leaves, dst // self.leaves
        same = a == b
        copy = spread % self.between.copies
        up, down = (np.where(same, spread % self.spines, self._spine(i, j, copy)) for i, j in ((a, b), (b, a)))
        return packed(
            where(src != dst, src * self.spines + up),
            where(~same, 2 * self._n_up + self.between.link(a, b, copy)),
            where(src != dst, self._n_up + dst * self.spines + down),
        )

    def _spine(self, here: Ints, there: Ints, copy: Ints) -> Ints:
        """The spine of group `here` with that cable to group `there`, counted inside its group."""
        return self.between.port(here, there, copy) // self.global_links


@generator
def dragonfly_plus(
    hosts_per_leaf: int,
    bandwidth_Bps: float,
    latency_s: float,
    leaves: int | None = None,
    spines: int | None = None,
    global_links: int | None = None,
    groups: int | None = None,
    arrangement: str = "palmtree",
    routing: str = "minimal",
    seed: int | None = None,
    global_bandwidth_Bps: float | None = None,
    global_latency_s: float | None = None,
    host_bandwidth_Bps: float | None = None,
    host_latency_s: float | None = None,
) -> Topology:
    """Leaf-spine groups, and cables between the spines of all groups; all of one radix by default.

    Shpiner et al.: Dragonfly+: low cost topology for scaling datacenters, HiPINEB 2017.

    Parameters
    ----------
    hosts_per_leaf : int
        p; half of a switch's ports in the paper.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    leaves, spines, global_links : int, optional
        Of a group, of a group, and of a spine; each as many as hosts per leaf by default.
    groups : int, optional
        1 to ``spines*global_links + 1``, which is the default. With fewer groups every two have
        ``spines*global_links // (groups - 1)`` cables.
    arrangement : {"palmtree", "absolute"}
        Which global port of a group leads where: round the ring of groups, or by the other group's number.
    routing : {"minimal", "valiant"}
        One global cable, of several the destination modulo their number; or by way of a leaf of a third group, which is
        a hash of source, destination and seed (pairs of one group go the minimal way).
    seed : int, optional
        Of the hash; 0 by default.
    global_bandwidth_Bps, global_latency_s, host_bandwidth_Bps, host_latency_s : float, optional
        Of a cable between groups, and of a host's; as inside a group by default.
    """
    per = hosts_per_leaf
    n_leaves, n_spines, h = (per if count is None else count for count in (leaves, spines, global_links))
    at_least_one(hosts_per_leaf=per, leaves=n_leaves, spines=n_spines, global_links=h)
    cables = GlobalCables(n_spines * h + 1 if groups is None else groups, n_spines * h, arrangement)
    structure = DragonflyPlus(n_leaves, n_spines, h, cables)
    can_be_built(structure.n_leaves * per, structure.n_links + 2 * structure.n_leaves * per)

    def name(vertex: int) -> str:
        spine = vertex - structure.n_leaves
        if spine < 0:
            return f"group{vertex // n_leaves}.leaf{vertex % n_leaves}"
        return f"group{spine // n_spines}.spine{spine % n_spines}"

    cable = Cable(latency_s, bandwidth_Bps)
    group_of = (np.arange(cables.groups * count) // count for count in (n_leaves, n_spines))
    return with_hosts(
        structure.n_leaves,
        per,
        cable.but(host_latency_s, host_bandwidth_Bps),
        structure.links(cable, cable.but(global_latency_s, global_bandwidth_Bps)),
        between_hosts(structure.route, per, n_leaves, cables.groups, routing, seed),
        name,
        {"group": np.concatenate(list(group_of))},
    )
