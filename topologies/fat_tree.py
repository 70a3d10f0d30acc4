"""Extended generalized fat trees: XGFT(h; m; w) of Öhring et al., IPPS 1995, with parallel cables; D-mod-k or ECMP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from math import prod

import numpy as np

from commsim.errors import InputError
from commsim.selection import Ints
from commsim.topology import Hops, Links, Topology, require_possible
from topologies.cables import Cable
from topologies.generator import generator, seed_of
from topologies.routes import pick


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

    def links(self, cables: Sequence[Cable]) -> Links:
        """Level by level, all cables upwards, then all downwards, vertices numbered by level; one class a level."""
        first = self.first_vertex
        parts = []
        for level, cable in enumerate(cables):
            vertex, port = np.divmod(np.arange(self._cables(level)), self.up[level] * self.parallel[level])
            parent = self._parent(level, vertex, port // self.parallel[level])
            parts.append(cable.both_ways(first[level] + vertex, first[level + 1] + parent))
        return Links.joined(parts)

    def _parent(self, level: int, vertex: Ints, which: Ints) -> Ints:
        subtree, copy = np.divmod(vertex, self.copies(level))
        return subtree // self.down[level] * self.copies(level + 1) + copy + which * self.copies(level)

    def route(self, src: Ints, dst: Ints, seed: int | None = None) -> Hops:
        """Up to the first common subtree and down again; downward the way is unique.

        D-mod-k: the upward port of every level is a digit of the destination. ECMP, with a seed: it is a hash of
        source, destination, seed and level. Cables between the same two vertices are used alike upwards and downwards.
        """
        from topologies.climb import climb, highest

        turns = np.empty((0, self.n_levels), dtype=np.int64) if seed is None else self._hashed(src, dst, seed)
        levels = range(self.n_levels)
        counts = ([self.copies(level) for level in levels], [self._cables(level) for level in levels])
        down, *shape = (np.array(column) for column in (self.down, self.up, self.parallel, *counts))
        hops = np.empty((len(src), 2 * highest(src, dst, down)), dtype=np.int32)
        climb(src, dst, turns, hops, down, *shape)
        return hops

    def _hashed(self, src: Ints, dst: Ints, seed: int) -> Ints:
        widths = enumerate(zip(self.up, self.parallel, strict=True))
        return np.stack([pick(up * parallel, src, dst, seed, level) for level, (up, parallel) in widths], axis=1)

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


def tree_topology(tree: FatTree, cables: Sequence[Cable], routing: str = "dmodk", seed: int | None = None) -> Topology:
    """The tree as a topology: one class of cables a level, ``routing`` "dmodk" or "ecmp"."""
    tiers = {"leaf" if level == 1 else f"level {level} subtree": tree.under(level) for level in range(1, tree.n_levels)}
    route = partial(tree.route, seed=seed_of(routing, seed, "dmodk", "ecmp"))
    return Topology(tree.n_hosts, tree.links(cables), route, tree.vertex_name, tiers)


@generator
def xgft(
    down: tuple[int, ...],
    up: tuple[int, ...],
    bandwidth_Bps: float,
    latency_s: float,
    parallel: tuple[int, ...] | None = None,
    routing: str = "dmodk",
    seed: int | None = None,
) -> Topology:
    """Extended generalized fat tree of any height: ``xgft:down=16x16,up=1x8,parallel=1x1,…``.

    Öhring, Ibel, Das, Kumar: On generalized fat trees, IPPS 1995.

    Parameters
    ----------
    down, up : tuple of int
        For each level, from the hosts up: children of a switch; parents of what is below it. Hosts: the product of
        `down`. Taper of level l: ``down[l-1] / (up[l]*parallel[l])``.
    bandwidth_Bps, latency_s : float
        Of one direction of one cable.
    parallel : tuple of int, optional
        Cables between a vertex and each of its parents; 1 everywhere by default.
    routing : {"dmodk", "ecmp"}
        Which parent: a digit of the destination, or a hash of source, destination and seed.
    seed : int, optional
        Of the hash; 0 by default.
    """
    tree = FatTree(tuple(down), tuple(up), tuple(parallel) if parallel else (1,) * len(down))
    return tree_topology(tree, [Cable(latency_s, bandwidth_Bps)] * tree.n_levels, routing, seed)
