"""Extended generalized fat trees: XGFT(h; m; w) of Öhring et al., IPPS 1995, with parallel cables, D-mod-k."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.spec import join_spec
from commsim.system import Endpoint, System
from commsim.topology import NO_LINK, Links, Topology, require_possible
from topologies.in_network import everywhere


@dataclass(frozen=True)
class FatTree:
    """The structure: counts per level, and links and routes by arithmetic.

    A vertex of level l is (subtree a, copy b) with number ``a*W + b``: ``W`` the product of ``up`` below l. It has
    ``up[l]`` parents, each over ``parallel[l]`` cables. Vertices are numbered level by level, hosts first.

    Attributes
    ----------
    down, up, parallel : tuple of int
        For each level, from the hosts up: children of a switch, parents of what is below, cables between the two.
    """

    down: tuple[int, ...]
    up: tuple[int, ...]
    parallel: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.down) == len(self.up) == len(self.parallel) > 0:
            counts = f"{len(self.down)}, {len(self.up)} and {len(self.parallel)}"
            raise InputError(f"down, up and parallel need one number a level each, not {counts}")
        if min(self.down + self.up + self.parallel) < 1:
            raise InputError(f"down={self.down}, up={self.up}, parallel={self.parallel}: all must be at least 1")
        require_possible(self.n_hosts)

    @property
    def n_levels(self) -> int:
        """Levels of switches."""
        return len(self.down)

    @property
    def n_hosts(self) -> int:
        """Leaves of the tree."""
        return prod(self.down)

    def copies(self, level: int) -> int:
        """Switches of one level that reach the same hosts."""
        return prod(self.up[:level])

    def n_at(self, level: int) -> int:
        """Vertices of a level (0: hosts)."""
        return prod(self.down[level:]) * self.copies(level)

    @property
    def first_vertex(self) -> list[int]:
        """First vertex number of each level, and the number of all vertices."""
        return [0, *accumulate(self.n_at(level) for level in range(self.n_levels + 1))]

    def _cables(self, level: int) -> int:
        """Cables between a level and the next."""
        return self.n_at(level) * self.up[level] * self.parallel[level]

    def links(self, latency_s: float, bandwidth_Bps: float) -> Links:
        """Level by level, all cables upwards, then all downwards, vertices numbered by level."""
        first = self.first_vertex
        parts = []
        for level in range(self.n_levels):
            cable = np.arange(self._cables(level))
            vertex, port = np.divmod(cable, self.up[level] * self.parallel[level])
            parent = self._parent(level, vertex, port // self.parallel[level])
            parts.append(
                Links.both_directions(first[level] + vertex, first[level + 1] + parent, latency_s, bandwidth_Bps)
            )
        return Links.joined(parts)

    def _parent(self, level: int, vertex: Ints, which: Ints) -> Ints:
        subtree, copy = np.divmod(vertex, self.copies(level))
        return subtree // self.down[level] * self.copies(level + 1) + copy + which * self.copies(level)

    def route(self, src: Ints, dst: Ints) -> Ints:
        """D-mod-k: the upward port of every level is a digit of the destination; downward the way is unique.

        Zahavi: D-Mod-K routing providing non-blocking traffic for shift permutations on real life fat trees, 2010.
        """
        n = self.n_levels
        hops = np.full((len(src), 2 * n), NO_LINK)
        vertex, base, digits = src, 0, dst
        copy_above = np.zeros_like(dst)
        for level in range(n):
            width = self.up[level] * self.parallel[level]
            turn = digits % width  # over all parents first, then over their cables
            which = turn % self.up[level]
            port = which * self.parallel[level] + turn // self.up[level]
            digits = digits // self.up[level]
            climbing = src // prod(self.down[:level]) != dst // prod(self.down[:level])
            below = dst // prod(self.down[:level]) * self.copies(level) + copy_above
            hops[:, level] = np.where(climbing, base + vertex * width + port, NO_LINK)
            hops[:, 2 * n - 1 - level] = np.where(climbing, base + self._cables(level) + below * width + port, NO_LINK)
            vertex = self._parent(level, vertex, which)
            copy_above = copy_above + which * self.copies(level)
            base += 2 * self._cables(level)
        order = np.argsort(hops == NO_LINK, axis=1, kind="stable")  # padding last
        return np.take_along_axis(hops, order, axis=1)

    def vertex_name(self, vertex: int) -> str:
        """``"host3"``, ``"leaf0"``, ``"level2switch5"``."""
        first = self.first_vertex
        level = int(np.searchsorted(first, vertex, side="right")) - 1
        word = {0: "host", 1: "leaf", 2: "spine", 3: "core"}.get(level, f"level{level}switch")
        return f"{word}{vertex - first[level]}"

    def under(self, level: int) -> Ints:
        """For each vertex up to a level the subtree of that level it lies in; -1 above it. Array (n_vertices,)."""
        groups = np.full(self.first_vertex[-1], -1)
        for below, first in zip(range(level + 1), self.first_vertex, strict=False):
            subtree = np.arange(self.n_at(below)) // self.copies(below)
            groups[first : first + self.n_at(below)] = subtree // prod(self.down[below:level])
        return groups


def xgft(
    down: tuple[int, ...],
    up: tuple[int, ...],
    bandwidth_Bps: float,
    latency_s: float,
    parallel: tuple[int, ...] | None = None,
    overhead_s: float = 0.0,
    gap_s: float = 0.0,
    gamma_s_per_byte: float = 0.0,
    in_network: str = "none",
) -> System:
    """Extended generalized fat tree with D-mod-k routing: ``xgft:down=16x16,up=1x8,parallel=1x1,…``.

    Parameters
    ----------
    down, up : tuple of int
        For each level, from the hosts up: children of a switch; parents of what is below it. Hosts: the product of
        `down`. Taper of level l: ``down[l-1] / (up[l]*parallel[l])``.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    parallel : tuple of int, optional
        Cables between a vertex and each of its parents; 1 everywhere by default.
    overhead_s, gap_s, gamma_s_per_byte : float
        LogGP's o and g, and the cost of reduction.
    in_network : {"none", "reduce", "multicast", "both"}
        What the switches do themselves.
    """
    tree = FatTree(tuple(down), tuple(up), tuple(parallel) if parallel else (1,) * len(down))
    tiers = {"leaf" if level == 1 else f"level {level} subtree": tree.under(level) for level in range(1, tree.n_levels)}
    topology = Topology(tree.n_hosts, tree.links(latency_s, bandwidth_Bps), tree.route, tree.vertex_name, tiers)
    numbers = {"down": tree.down, "up": tree.up, "parallel": tree.parallel}
    name = join_spec("xgft", {key: "x".join(map(str, value)) for key, value in numbers.items()})
    endpoint = Endpoint.uniform(overhead_s, gap_s, gamma_s_per_byte)
    return System(name, topology, endpoint, in_network=everywhere(in_network))
