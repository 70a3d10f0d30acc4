"""Groups of routers with cables between every two groups: what dragonflies have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.topology import Links
from topologies.cables import Cable
from topologies.cliques import peer_of, port_to
from topologies.generator import at_least_one, one_of, seed_of
from topologies.routes import packed, pick

ARRANGEMENTS = ("palmtree", "absolute")


@dataclass(frozen=True)
class GlobalCables:
    """Which global port of a group is cabled to which group.

    Camarero, Vallejo, Beivide: Topological characterization of Hamming and dragonfly networks, ACM TACO 11(4), 2014
    (palmtree); Hastings et al.: Comparing global link arrangements for dragonfly networks, CLUSTER 2015.

    Attributes
    ----------
    groups : int
    ports : int
        Global ports of each group. With fewer groups than ``ports + 1`` every two groups have
        ``ports // (groups - 1)`` cables; ports that do not divide evenly stay empty.
    arrangement : {"palmtree", "absolute"}
        Port k of group i: to group ``i - k - 1`` round the ring of groups; or to group k, oneself left out.
    """

    groups: int
    ports: int
    arrangement: str = "palmtree"

    def __post_init__(self) -> None:
        at_least_one(groups=self.groups)
        one_of("arrangement", self.arrangement, ARRANGEMENTS)
        if self.groups > self.ports + 1:
            raise InputError(
                f"groups={self.groups} are too many: the {self.ports} global links of a group reach at most "
                f"{self.ports} others; take groups={self.ports + 1} or more global_links"
            )

    @property
    def copies(self) -> int:
        """Cables between every two groups."""
        return self.ports // (self.groups - 1) if self.groups > 1 else 1

    @property
    def n_links(self) -> int:
        """Directed links."""
        return self.groups * (self.groups - 1) * self.copies

    def port(self, here: Ints, there: Ints, copy: Ints | int) -> Ints:
        """The port of group `here` for each copy of the cable to group `there`."""
        round_the_ring = self.arrangement == "palmtree"
        first = (here - there - 1) % self.groups if round_the_ring else port_to(here, there)
        return copy * (self.groups - 1) + first

    def link(self, here: Ints, there: Ints, copy: Ints) -> Ints:
        """Its number, group by group, by other group, by copy."""
        return (here * (self.groups - 1) + port_to(here, there)) * self.copies + copy

    def links(self, cable: Cable, first_vertex: int, ports_per_vertex: int, vertices_per_group: int) -> Links:
        """All global links, each group's ports in turn on its vertices."""
        pair, copy = np.divmod(np.arange(self.n_links), self.copies)
        here, other = np.divmod(pair, max(self.groups - 1, 1))
        there = peer_of(here, other)
        ends = (
            first_vertex + a * vertices_per_group + self.port(a, b, copy) // ports_per_vertex
            for a, b in ((here, there), (there, here))
        )
        return cable.one_way(*ends)


def between_hosts(
    route: Callable[[Ints, Ints, Ints], Ints], per: int, per_group: int, groups: int, routing: str, seed: int | None
) -> Callable[[Ints, Ints], Ints]:
    """The routing "minimal" or "valiant" between hosts, of the minimal one between routers.

    Valiant: A scheme for fast parallel communication, SIAM Journal on Computing 11(2), 1982; here by way of a router in
    a third group, and only between groups.

    Parameters
    ----------
    route : callable
        ``route(src, dst, spread)``: arrays (n,) of routers, and of numbers that pick among equals (the host).
    per, per_group, groups : int
        Hosts of a router, routers (that have hosts) of a group, groups.
    routing : {"minimal", "valiant"}
    seed : int or None

    Raises
    ------
    InputError
        For an unknown routing, a seed without effect, or a detour without a third group.
    """
    hashed = seed_of(routing, seed, "minimal", "valiant")
    if hashed is None:
        return lambda src, dst: route(src // per, dst // per, dst)
    if groups < 3:
        raise InputError(f"routing=valiant goes through a third group, and there are {groups}; take routing=minimal")

    def detour(src: Ints, dst: Ints) -> Ints:
        a, b = src // per // per_group, dst // per // per_group
        group = pick(groups - 2, src, dst, hashed, 0)
        for taken in (np.minimum(a, b), np.maximum(a, b)):
            group = group + (group >= taken)
        middle = group * per_group + pick(per_group, src, dst, hashed, 1)
        middle = np.where(a == b, src // per, middle)
        return packed(route(src // per, middle, dst), route(middle, dst // per, dst))

    return detour
