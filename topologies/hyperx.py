"""HyperX: routers on a grid, each with a cable to every other one along each dimension."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from commsim.selection import Ints
from commsim.topology import Links, Topology
from topologies.cables import Cable
from topologies.cliques import clique_links, clique_route
from topologies.generator import at_least_one, can_be_built, generator
from topologies.grids import coordinate, grid_name, require_shape, strides
from topologies.hosts import with_hosts
from topologies.routes import packed, shifted


@dataclass(frozen=True)
class HyperX:
    """The structure: links and routes by arithmetic."""

    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        require_shape(self.shape)

    @property
    def n_routers(self) -> int:
        """Places of the grid."""
        return prod(self.shape)

    @property
    def n_links(self) -> int:
        """Directed links."""
        return self.n_routers * sum(size - 1 for size in self.shape)

    def links(self, cable: Cable) -> Links:
        """Dimension by dimension, router by router, by peer."""
        sizes = zip(self.shape, strides(self.shape), strict=True)
        return Links.joined([clique_links(self.n_routers, size, cable, stride) for size, stride in sizes])

    def route(self, src: Ints, dst: Ints) -> Ints:
        """At most one hop along each dimension, the first one first."""
        parts = []
        here, base = src, 0
        for size, stride in zip(self.shape, strides(self.shape), strict=True):
            there = here + (coordinate(dst, stride, size) - coordinate(here, stride, size)) * stride
            parts.append(shifted(clique_route(here, there, size, stride), base))
            here = there
            base += self.n_routers * (size - 1)
        return packed(*parts)


@generator
def hyperx(
    shape: tuple[int, ...],
    hosts_per_router: int,
    bandwidth_Bps: float,
    latency_s: float,
    host_bandwidth_Bps: float | None = None,
    host_latency_s: float | None = None,
) -> Topology:
    """Grid of routers, each with a cable to all others along each dimension; dimension-order routing.

    Ahn, Binkert, Davis, McLaren, Schreiber: HyperX: topology, routing, and packaging of efficient large-scale networks,
    SC 2009. The flattened butterfly is the case of equal sizes.

    Parameters
    ----------
    shape : tuple of int
        Routers along each dimension; number = x + shape[0]*y + ….
    hosts_per_router : int
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    host_bandwidth_Bps, host_latency_s : float, optional
        Of a cable between host and router; as between routers by default.
    """
    structure, per = HyperX(tuple(shape)), hosts_per_router
    at_least_one(hosts_per_router=per)
    can_be_built(structure.n_routers * per, structure.n_links + 2 * structure.n_routers * per)
    cable = Cable(latency_s, bandwidth_Bps)
    return with_hosts(
        structure.n_routers,
        per,
        cable.but(host_latency_s, host_bandwidth_Bps),
        structure.links(cable),
        lambda src, dst: structure.route(src // per, dst // per),
        lambda v: grid_name("router", structure.shape, v),
    )
