"""Dragonfly: groups of routers that are all connected, and cables between all groups."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from commsim.selection import Ints
from commsim.topology import Links, Topology
from topologies.cables import Cable
from topologies.cliques import clique_links, clique_route
from topologies.generator import at_least_one, can_be_built, generator
from topologies.groups import GlobalCables, between_hosts
from topologies.hosts import with_hosts
from topologies.routes import packed, where


@dataclass(frozen=True)
class Dragonfly:
    """The structure: links and routes by arithmetic. Router ``group*size + i``; port k of a group: on ``i = k//h``."""

    size: int
    global_links: int
    between: GlobalCables

    @property
    def n_routers(self) -> int:
        """Of all groups."""
        return self.between.groups * self.size

    @property
    def _n_local(self) -> int:
        return self.n_routers * (self.size - 1)

    @property
    def n_links(self) -> int:
        """Directed links."""
        return self._n_local + self.between.n_links

    def links(self, local: Cable, global_: Cable) -> Links:
        """Those inside groups, then those between."""
        across = self.between.links(global_, 0, self.global_links, self.size)
        return Links.joined([clique_links(self.n_routers, self.size, local), across])

    def route(self, src: Ints, dst: Ints, spread: Ints) -> Ints:
        """Minimal: to the router with the global link, over it, to the destination; between routers.

        Of several cables one with the fewest local hops, by `spread`.
        """
        a, b = src // self.size, dst // self.size
        same = a == b
        copy = self._best_copy(src, dst, spread)
        out, into = self._gateway(a, b, copy), self._gateway(b, a, copy)
        return packed(
            clique_route(src, np.where(same, dst, out), self.size),
            where(~same, self._n_local + self.between.link(a, b, copy)),
            clique_route(np.where(same, dst, into), dst, self.size),
        )

    def _gateway(self, here: Ints, there: Ints, copy: Ints) -> Ints:
        """The router of group `here` with that cable to group `there`."""
        return here * self.size + self.between.port(here, there, copy) // self.global_links

    def _best_copy(self, src: Ints, dst: Ints, spread: Ints) -> Ints:
        """One on both routers, else on the source's, else on the destination's, else any."""
        at_src = self._copies_on(src, dst // self.size)
        at_dst = self._copies_on(dst, src // self.size)
        on_both = np.maximum(at_src[0], at_dst[0]), np.minimum(at_src[1], at_dst[1])
        first, last = np.zeros_like(src), np.full_like(src, self.between.copies - 1)
        for low, high in (at_dst, at_src, on_both):
            first, last = np.where(low <= high, (low, high), (first, last))
        return first + spread % (last - first + 1)

    def _copies_on(self, router: Ints, there: Ints) -> tuple[Ints, Ints]:
        """First and last copy of the cable to group `there` that is on the router; the last is lower where none is."""
        here, i = np.divmod(router, self.size)
        others = max(self.between.groups - 1, 1)
        port = i * self.global_links - self.between.port(here, there, 0)
        low, high = -(-port // others), (port + self.global_links - 1) // others
        return np.maximum(low, 0), np.minimum(high, self.between.copies - 1)


@generator
def dragonfly(
    hosts_per_router: int,
    bandwidth_Bps: float,
    latency_s: float,
    routers_per_group: int | None = None,
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
    """Groups of fully connected routers, and cables between all groups; balanced by default (a = 2p = 2h).

    Kim, Dally, Scott, Abts: Technology-driven, highly-scalable dragonfly topology, ISCA 2008.

    Parameters
    ----------
    hosts_per_router : int
        p.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    routers_per_group, global_links, groups : int, optional
        a, 2p by default; h of each router, p by default; 1 to ``a*h + 1``, which is the default. With fewer groups
        every two have ``a*h // (groups - 1)`` cables.
    arrangement : {"palmtree", "absolute"}
        Which global port of a group leads where: round the ring of groups, or by the other group's number.
    routing : {"minimal", "valiant"}
        At most one global cable; or by way of a router of a third group, which is a hash of source, destination and
        seed (pairs of one group go the minimal way).
    seed : int, optional
        Of the hash; 0 by default.
    global_bandwidth_Bps, global_latency_s, host_bandwidth_Bps, host_latency_s : float, optional
        Of a cable between groups, and of a host's; as inside a group by default.
    """
    per = hosts_per_router
    size = 2 * per if routers_per_group is None else routers_per_group
    h = per if global_links is None else global_links
    at_least_one(hosts_per_router=per, routers_per_group=size, global_links=h)
    structure = Dragonfly(size, h, GlobalCables(size * h + 1 if groups is None else groups, size * h, arrangement))
    n_groups, n_routers = structure.between.groups, structure.n_routers
    can_be_built(n_routers * per, structure.n_links + 2 * n_routers * per)
    cable = Cable(latency_s, bandwidth_Bps)
    return with_hosts(
        n_routers,
        per,
        cable.but(host_latency_s, host_bandwidth_Bps),
        structure.links(cable, cable.but(global_latency_s, global_bandwidth_Bps)),
        between_hosts(structure.route, per, size, n_groups, routing, seed),
        lambda v: f"group{v // size}.router{v % size}",
        {"group": np.arange(n_routers) // size},
    )
