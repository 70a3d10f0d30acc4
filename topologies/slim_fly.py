"""Slim Fly: McKay-Miller-Širáň graphs, whose routers are at most two hops apart."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.topology import NO_LINK, Links, Topology
from topologies.cables import Cable
from topologies.finite_fields import Field, prime_power
from topologies.generator import at_least_one, can_be_built, generator
from topologies.hosts import with_hosts
from topologies.routes import packed, where


@dataclass(frozen=True)
class SlimFly:
    """The structure for a prime power q = 4w + δ, δ in (-1, 0, 1): 2q² routers, numbered ``(side*q + x)*q + y``.

    (0, x, y) and (1, m, c) have a cable where y = mx + c; (side, x, y) and (side, x, z) where z - y is among the
    generators of the side; all in GF(q). Hafner: Geometric realisation of the graphs of McKay-Miller-Širáň, 2004.
    """

    q: int

    def __post_init__(self) -> None:
        if self.q < 3 or not prime_power(self.q):
            near = min((n for n in range(3, max(2 * self.q, 5)) if prime_power(n)), key=lambda n: abs(n - self.q))
            raise InputError(f"q={self.q} must be a power of a prime, above 2; the nearest is q={near}")

    @property
    def n_routers(self) -> int:
        """2q²."""
        return 2 * self.q**2

    @property
    def n_inside(self) -> int:
        """Cables of a router inside its column: (q - δ)/2 for q = 4w + δ."""
        return 2 * ((self.q + 1) // 4)

    @property
    def degree(self) -> int:
        """Cables of a router: (3q - δ)/2."""
        return self.n_inside + self.q

    @cached_property
    def field(self) -> Field:
        """GF(q)."""
        found = Field.of(self.q)
        assert found is not None
        return found

    @cached_property
    def generators(self) -> Ints:
        """Differences inside a column, an array (2, n_inside): of side 0 and of side 1."""
        q, w = self.q, self.n_inside // 2
        power = self.field.powers
        if q % 4 != 3:
            exponents = [[*range(0, q - 1, 2)], [*range(1, q, 2)]]
        else:
            exponents = [
                [*range(0, 2 * w - 1, 2), *range(2 * w - 1, 4 * w - 2, 2)],
                [*range(1, 2 * w, 2), *range(2 * w, 4 * w - 1, 2)],
            ]
        return np.sort(power[np.array(exponents) % (q - 1)], axis=1)

    @cached_property
    def _port_of(self) -> Ints:
        """Array (2, q): which generator a difference is; NO_LINK for none."""
        port = np.full((2, self.q), NO_LINK)
        for side in (0, 1):
            port[side, self.generators[side]] = np.arange(self.n_inside)
        return port

    @cached_property
    def _half(self) -> Ints:
        """Array (2, q): a generator whose complement to the difference is a generator too."""
        half = np.zeros((2, self.q), dtype=np.int64)
        for side, generators in enumerate(self.generators):
            half[side, self.field.plus[generators[:, None], generators]] = generators[:, None]
        return half

    def links(self, cable: Cable) -> Links:
        """Router by router: first inside its column, by generator; then to the other side, by column."""
        router, port = np.divmod(np.arange(self.n_routers * self.degree), self.degree)
        side, x, y = self._split(router)
        inside = self._router(side, x, self.field.plus[y, self.generators[side, np.minimum(port, self.n_inside - 1)]])
        column = np.maximum(port - self.n_inside, 0)
        across = self._router(1 - side, column, self._meets(side, x, y, column))
        return cable.one_way(router, np.where(port < self.n_inside, inside, across))

    def route(self, src: Ints, dst: Ints) -> Ints:
        """Over one router where there is no cable; between routers."""
        near = self._adjacent(src, dst) | (src == dst)
        middle = np.where(near, dst, self._common(src, dst))
        return packed(where(src != dst, self._link(src, middle)), where(~near, self._link(middle, dst)))

    def _split(self, router: Ints) -> tuple[Ints, Ints, Ints]:
        return router // self.q**2, router // self.q % self.q, router % self.q

    def _router(self, side: Ints | int, x: Ints, y: Ints) -> Ints:
        return (side * self.q + x) * self.q + y

    def _meets(self, side: Ints, x: Ints, y: Ints, column: Ints) -> Ints:
        """The place in a column of the other side to which (side, x, y) has a cable."""
        product = self.field.times[x, column]
        return np.where(side == 0, self.field.minus[y, product], self.field.plus[y, product])

    def _offset(self, a: Ints, b: Ints) -> Ints:
        """Of routers on two sides: y - (mx + c); 0 where they have a cable."""
        (_, x, y), (_, m, c) = self._split(np.minimum(a, b)), self._split(np.maximum(a, b))
        offset: Ints = self.field.minus[self._meets(np.zeros_like(x), x, y, m), c]
        return offset

    def _adjacent(self, src: Ints, dst: Ints) -> NDArray[np.bool_]:
        (s, x, y), (t, m, c) = self._split(src), self._split(dst)
        inside = (x == m) & (self._port_of[s, self.field.minus[c, y]] != NO_LINK)
        adjacent: NDArray[np.bool_] = np.where(s == t, inside, self._offset(src, dst) == 0)
        return adjacent

    def _link(self, src: Ints, dst: Ints) -> Ints:
        """The number of the link between routers that have one."""
        (s, _, y), (t, m, c) = self._split(src), self._split(dst)
        port = np.where(s == t, self._port_of[s, self.field.minus[c, y]], self.n_inside + m)
        return src * self.degree + port

    def _common(self, src: Ints, dst: Ints) -> Ints:
        """A neighbour of both of two routers that have no cable."""
        (s, x, y), (t, m, c) = self._split(src), self._split(dst)
        field = self.field
        in_column = self._router(s, x, field.plus[y, self._half[s, field.minus[c, y]]])
        rise = np.where(s == 0, field.minus[y, c], field.minus[c, y])
        slope = field.times[rise, field.inverse[field.minus[x, m]]]
        where_columns_meet = self._router(1 - s, slope, self._meets(s, x, y, slope))
        one_side = np.where(x == m, in_column, where_columns_meet)
        return np.where(s == t, one_side, self._between_sides(src, dst))

    def _between_sides(self, src: Ints, dst: Ints) -> Ints:
        (_, x, y), (_, m, c) = self._split(np.minimum(src, dst)), self._split(np.maximum(src, dst))
        by_first = self._port_of[0, self._offset(src, dst)] != NO_LINK
        first, second = (self._meets(np.full_like(x, side), *ends) for side, ends in ((1, (m, c, x)), (0, (x, y, m))))
        return np.where(by_first, self._router(0, x, first), self._router(1, m, second))


@generator
def slim_fly(
    q: int,
    bandwidth_Bps: float,
    latency_s: float,
    hosts_per_router: int | None = None,
    host_bandwidth_Bps: float | None = None,
    host_latency_s: float | None = None,
) -> Topology:
    """Slim Fly of 2q² routers, any two at most two hops apart, with minimal routing; q a power of a prime.

    Besta, Hoefler: Slim Fly: a cost effective low-diameter network topology, SC 2014.

    Parameters
    ----------
    q : int
        4, 5, 7, 8, 9, 11, …; a router has (3q - δ)/2 cables to others, q = 4w + δ.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    hosts_per_router : int, optional
        Half of the cables to other routers, rounded up, by default: full global bandwidth.
    host_bandwidth_Bps, host_latency_s : float, optional
        Of a cable between host and router; as between routers by default.
    """
    at_least_one(q=q, hosts_per_router=1 if hosts_per_router is None else hosts_per_router)
    can_be_built(2 * q**2, 3 * q**3)
    structure = SlimFly(q)
    n_routers, degree = structure.n_routers, structure.degree
    per = -(-degree // 2) if hosts_per_router is None else hosts_per_router
    can_be_built(n_routers * per, n_routers * (degree + 2 * per))
    cable = Cable(latency_s, bandwidth_Bps)
    return with_hosts(
        n_routers,
        per,
        cable.but(host_latency_s, host_bandwidth_Bps),
        structure.links(cable),
        lambda src, dst: structure.route(src // per, dst // per),
        lambda v: f"router{v // q**2}.{v // q % q}.{v % q}",
    )
