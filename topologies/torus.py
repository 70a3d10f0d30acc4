"""Tori and meshes of any dimension: ``shape=4x4x4``; routers have a cable to both neighbours along each dimension."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.topology import NO_LINK, Links, Topology
from topologies.cables import Cable
from topologies.generator import at_least_one, can_be_built, generator
from topologies.grids import coordinate, grid_name, require_shape, strides
from topologies.hosts import with_hosts


@dataclass(frozen=True)
class Torus:
    """Routers on a grid, rings along the dimensions that wrap, lines along the others. Links and routes by arithmetic.

    A dimension of size 2 has one cable, whether it wraps or not; one of size 1 has none.

    Attributes
    ----------
    shape : tuple of int
    wrap : tuple of int
        For each dimension 1 where it wraps, else 0.
    """

    shape: tuple[int, ...]
    wrap: tuple[int, ...]

    def __post_init__(self) -> None:
        require_shape(self.shape)
        if len(self.wrap) != len(self.shape) or not set(self.wrap) <= {0, 1}:
            shape, wrap = ("x".join(map(str, each)) for each in (self.shape, self.wrap))
            raise InputError(f"wrap={wrap}: write a 1 (ring) or a 0 (line) for each dimension of shape={shape}")

    @property
    def n_routers(self) -> int:
        """Places of the grid."""
        return prod(self.shape)

    @property
    def _lines(self) -> list[tuple[int, int, int, int]]:
        """For each dimension: size, stride, cables along one line, cables in all."""
        lines = []
        for size, stride, wrap in zip(self.shape, strides(self.shape), self.wrap, strict=True):
            along = size if wrap and size > 2 else size - 1
            lines.append((size, stride, along, self.n_routers // size * along))
        return lines

    @property
    def n_links(self) -> int:
        """Directed links."""
        return sum(2 * cables for *_, cables in self._lines)

    def links(self, cable: Cable) -> Links:
        """Dimension by dimension, all links upwards, then all downwards."""
        parts = []
        for size, stride, along, cables in self._lines:
            line, low = np.divmod(np.arange(cables), stride)
            x, high = line % along, line // along
            first = high * stride * size + low
            parts.append(cable.both_ways(first + x * stride, first + (x + 1) % size * stride))
        return Links.joined(parts)

    def route(self, src: Ints, dst: Ints) -> Ints:
        """Dimension by dimension, the first one first; round a ring the shorter way, upwards where both are equal.

        Dally, Seitz: Deadlock-free message routing in multiprocessor interconnection networks, 1987 (e-cube).
        """
        runs = []
        here, base = src, 0
        for size, stride, along, cables in self._lines:
            x, y = coordinate(here, stride, size), coordinate(dst, stride, size)
            away = (y - x) % size
            up = 2 * away <= size if along == size else y >= x
            line = base + here // (stride * size) * stride * along + here % stride + np.where(up, 0, cables)
            first, turn = np.where(up, (x, np.ones_like(x)), (x - 1, -np.ones_like(x)))  # by the lower end of a cable
            runs.append((np.where(up, away, size - away), line, first, turn, size, stride))
            here = here + (y - x) * stride
            base += 2 * cables
        return _joined(len(src), runs)

    def topology(self, cable: Cable, hosts_per_router: int | None, host: Cable) -> Topology:
        """Routers with hosts on them; routers that are devices themselves where `hosts_per_router` is None."""
        at_least_one(hosts_per_router=1 if hosts_per_router is None else hosts_per_router)
        per = hosts_per_router or 0
        can_be_built(self.n_routers * max(per, 1), self.n_links + 2 * self.n_routers * per)
        links = self.links(cable)
        if not per:
            return Topology(self.n_routers, links, self.route, lambda v: grid_name("host", self.shape, v))
        return with_hosts(
            self.n_routers,
            per,
            host,
            links,
            lambda src, dst: self.route(src // per, dst // per),
            lambda v: grid_name("router", self.shape, v),
        )


def _joined(n: int, runs: list[tuple[Ints, Ints, Ints, Ints, int, int]]) -> Ints:
    """Routes (n, n_hops) of runs along a line: ``steps`` links ``line + (first + turn*step) % size * stride`` each."""
    done = np.zeros(n, dtype=np.int64)
    lengths = sum((steps for steps, *_ in runs), done)
    hops = np.full((n, int(lengths.max(initial=0))), NO_LINK)
    for steps, line, first, turn, size, stride in runs:
        row = np.repeat(np.arange(n), steps)
        step = np.arange(len(row)) - np.repeat(np.cumsum(steps) - steps, steps)
        hops[row, done[row] + step] = line[row] + (first[row] + turn[row] * step) % size * stride
        done = done + steps
    return hops


@generator
def torus(
    shape: tuple[int, ...],
    bandwidth_Bps: float,
    latency_s: float,
    hosts_per_router: int | None = None,
    wrap: tuple[int, ...] | None = None,
    host_bandwidth_Bps: float | None = None,
    host_latency_s: float | None = None,
) -> Topology:
    """Torus with dimension-order routing: ``torus:shape=4x4x4,…``, rank = x + 4y + 16z.

    Dally: Performance analysis of k-ary n-cube interconnection networks, IEEE Transactions on Computers 39(6), 1990.

    Parameters
    ----------
    shape : tuple of int
        Routers along each dimension. Size 2 has one cable, not two.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    hosts_per_router : int, optional
        By default none: every router is itself a device, as in TPU pods and Blue Gene.
    wrap : tuple of int, optional
        1 for each dimension that wraps, 0 for the others (``1x1x0``); all wrap by default.
    host_bandwidth_Bps, host_latency_s : float, optional
        Of a cable between host and router; as between routers by default.
    """
    shape = tuple(shape)
    cable = Cable(latency_s, bandwidth_Bps)
    structure = Torus(shape, (1,) * len(shape) if wrap is None else tuple(wrap))
    return structure.topology(cable, hosts_per_router, cable.but(host_latency_s, host_bandwidth_Bps))


@generator
def mesh(
    shape: tuple[int, ...],
    bandwidth_Bps: float,
    latency_s: float,
    hosts_per_router: int | None = None,
    host_bandwidth_Bps: float | None = None,
    host_latency_s: float | None = None,
) -> Topology:
    """Mesh with dimension-order routing, a torus that does not wrap: ``mesh:shape=4x4,…``, rank = x + 4y.

    Parameters
    ----------
    shape : tuple of int
        Routers along each dimension.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    hosts_per_router : int, optional
        By default none: every router is itself a device.
    host_bandwidth_Bps, host_latency_s : float, optional
        Of a cable between host and router; as between routers by default.
    """
    cable = Cable(latency_s, bandwidth_Bps)
    structure = Torus(tuple(shape), (0,) * len(shape))
    return structure.topology(cable, hosts_per_router, cable.but(host_latency_s, host_bandwidth_Bps))
