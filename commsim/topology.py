"""Topology: devices and directed links as arrays, and the route between any two devices."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from commsim.errors import InputError, RefusedError
from commsim.selection import Ints

if TYPE_CHECKING:
    import networkx as nx

Floats = NDArray[np.float64]
Hops: TypeAlias = NDArray[np.integer[Any]]  # links of routes (n, n_hops), padded with NO_LINK
NO_LINK = -1
MAX_DEVICES = 2**24


def require_possible(n_devices: int) -> None:
    """Refuse a number of devices that would fill the memory; for generators, before they build.

    Raises
    ------
    InputError
    """
    if n_devices > MAX_DEVICES:
        raise InputError(f"{n_devices} devices are too many; a topology has at most {MAX_DEVICES}")


@dataclass(frozen=True, eq=False)
class Links:
    """Directed links, arrays (n_links,). Vertices below ``n_devices`` are devices, the others switches.

    Attributes
    ----------
    src, dst : array
    latency_s, bandwidth_Bps : array
    medium : array, optional
        The number of the link whose capacity each one shares: of a half-duplex cable both directions have the lower
        number of the two. None: every link has a capacity of its own.
    """

    src: Ints
    dst: Ints
    latency_s: Floats
    bandwidth_Bps: Floats
    medium: Ints | None = None

    @staticmethod
    def joined(parts: list[Links]) -> Links:
        """All links of the parts, numbered on."""
        names = ("src", "dst", "latency_s", "bandwidth_Bps")
        columns: list[Any] = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        if all(part.medium is None for part in parts):
            return Links(*columns)
        first = np.cumsum([0, *(len(part.src) for part in parts)])
        media = [part.media + before for part, before in zip(parts, first.tolist(), strict=False)]
        return replace(Links(*columns), medium=np.concatenate(media))

    @property
    def media(self) -> Ints:
        """Like ``medium``, always an array."""
        return np.arange(len(self.src)) if self.medium is None else self.medium

    def on_medium(self, hops: Hops) -> Hops:
        """Links of routes by the links that have the capacity."""
        if self.medium is None:
            return hops
        return np.where(hops == NO_LINK, NO_LINK, self.medium[hops]).astype(hops.dtype)

    def busy_s(self, carried: Floats) -> Floats:
        """Time that carrying so many bytes takes at full bandwidth; links that share a capacity are busy together."""
        if self.medium is None:
            return carried / self.bandwidth_Bps
        together: Floats = np.bincount(self.medium, carried, len(self.src))[self.medium] / self.bandwidth_Bps
        return together

    @staticmethod
    def both_directions(a: Ints, b: Ints, latency_s: float, bandwidth_Bps: float) -> Links:
        """Cables of one class: first all links a to b, then all links b to a (full duplex)."""
        n = 2 * len(a)
        return Links(
            np.concatenate([a, b]),
            np.concatenate([b, a]),
            np.full(n, float(latency_s)),
            np.full(n, float(bandwidth_Bps)),
        )


@dataclass(frozen=True, eq=False)
class Topology:
    """A machine as a graph.

    Attributes
    ----------
    n_devices : int
        Devices that can hold a rank: vertices 0 … n_devices-1.
    links : Links
    route : callable
        ``route(src, dst)``: arrays (n,) of devices to an array (n, n_hops) of link numbers in order, padded with
        ``NO_LINK``; no links from a device to itself.
    vertex_name : callable
        Name of a vertex, for people.
    tiers : mapping
        Name of a tier ("node", "leaf") to an array (n_vertices,): which group of it a vertex lies in, or -1.
    classes : mapping
        Name of a class of links ("nvlink") to their numbers. May be empty.
    routed : array of bool (n_links,) or None
        Links that some route takes; None: all. The others are there (a socket's, that no GPU sends by), and no bound
        counts on them.
    """

    n_devices: int
    links: Links
    route: Callable[[Ints, Ints], Hops]
    vertex_name: Callable[[int], str] = "vertex {}".format
    tiers: Mapping[str, Ints] = field(default_factory=dict)
    classes: Mapping[str, Ints] = field(default_factory=dict)
    routed: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        require_possible(self.n_devices)
        if self.n_devices < 1:
            raise InputError(f"a topology needs at least one device, not {self.n_devices}")
        links = self.links
        for name, values, wrong in (
            ("bandwidth must be above 0", links.bandwidth_Bps, links.bandwidth_Bps <= 0),
            ("latency must be at least 0", links.latency_s, links.latency_s < 0),
            ("bandwidth must be finite", links.bandwidth_Bps, ~np.isfinite(links.bandwidth_Bps)),
            ("latency must be finite", links.latency_s, ~np.isfinite(links.latency_s)),
        ):
            if wrong.any():
                bad = int(np.argmax(wrong))
                raise InputError(f"link {self.link_name(bad)}: {name}, not {values[bad]:g}")
        if links.medium is not None:
            differs = links.bandwidth_Bps != links.bandwidth_Bps[links.medium]
            if differs.any():
                bad = int(np.argmax(differs))
                raise InputError(
                    f"link {self.link_name(bad)} is half duplex, so both directions have one bandwidth: change both"
                )

    @property
    def n_links(self) -> int:
        """Directed links."""
        return len(self.links.src)

    @property
    def n_vertices(self) -> int:
        """Devices and switches."""
        ends = (int(e.max()) for e in (self.links.src, self.links.dst) if len(e))
        return max(self.n_devices, *(end + 1 for end in ends), 0)

    def link_name(self, link: int) -> str:
        """``"gpu0→nvswitch0"``."""
        return f"{self.vertex_name(int(self.links.src[link]))}→{self.vertex_name(int(self.links.dst[link]))}"

    def path(self, src: Ints, dst: Ints) -> Path:
        """Links, latency, slowest bandwidth and the two ports of each route. Arrays (n,) of devices.

        Raises
        ------
        RefusedError
            If a route takes a half-duplex cable there and back, and so would share it with itself.
        """
        from commsim.hops import along

        src, dst = src.view(), dst.view()
        src.flags.writeable = dst.flags.writeable = False  # one type for compiled routes, whoever asks
        hops = self.route(src, dst).astype(np.int32, copy=False)  # half the memory: a step may have millions
        if self.links.medium is not None:
            self._refuse_there_and_back(hops)
        figures = np.empty(len(hops)), np.empty(len(hops))
        along(hops, self.links.latency_s, self.links.bandwidth_Bps, *figures)
        return Path(hops, *figures)

    def _refuse_there_and_back(self, hops: Hops) -> None:
        media = np.sort(self.links.on_medium(hops), axis=1)
        twice = (media[:, 1:] == media[:, :-1]) & (media[:, 1:] != NO_LINK)
        if twice.any():
            cable = self.link_name(int(media[:, 1:][twice][0]))
            raise RefusedError(
                f"a route takes the half-duplex cable {cable} there and back, which no model has; use shortest paths"
            )

    def renumbered(self, devices: Ints) -> Topology:
        """The same machine whose device i is what device ``devices[i]`` was; links keep their numbers.

        Parameters
        ----------
        devices : array (n_devices,)
            A permutation.
        """
        old = np.concatenate([devices, np.arange(self.n_devices, self.n_vertices)])
        new = np.empty_like(old)
        new[old] = np.arange(len(old))
        route, name = self.route, self.vertex_name
        return replace(
            self,
            links=replace(self.links, src=new[self.links.src], dst=new[self.links.dst]),
            route=lambda src, dst: route(old[src], old[dst]),
            vertex_name=lambda vertex: name(int(old[vertex])),
            tiers={tier: groups[old] for tier, groups in self.tiers.items()},
        )

    def crossing_Bps(self, groups: Ints) -> tuple[Floats, Floats]:
        """Bandwidth out of and into each group of vertices: two arrays (n_groups,). `groups` as in ``tiers``.

        Of the links that some route takes.
        """
        n_groups = int(groups.max()) + 1
        src, dst = groups[self.links.src], groups[self.links.dst]
        taken = True if self.routed is None else self.routed

        def through(end: Ints) -> Floats:
            crossing = (src != dst) & (end >= 0) & taken
            return np.bincount(end[crossing], self.links.bandwidth_Bps[crossing], n_groups).astype(np.float64)

        return through(src), through(dst)

    def border_Bps(self, groups: Ints) -> Floats:
        """Bandwidth out of and into each group together (n_groups,): a capacity that both directions share counts once.

        The sum of both results of :meth:`crossing_Bps` where no link is half duplex.
        """
        ends = groups[self.links.src], groups[self.links.dst]
        crossing = ends[0] != ends[1]
        rows = np.concatenate([np.flatnonzero(crossing & (end >= 0)) for end in ends])
        group = np.concatenate([end[crossing & (end >= 0)] for end in ends])
        pairs = np.unique(np.stack([group, self.links.media[rows]]), axis=1)
        total = np.bincount(pairs[0], self.links.bandwidth_Bps[pairs[1]], int(groups.max()) + 1)
        return total.astype(np.float64)

    def to_networkx(self) -> nx.MultiDiGraph:
        """The same as a networkx graph, which :func:`commsim.graphs.from_networkx` reads.

        Vertices have ``name`` and ``device``, and the number of their group under the name of each tier; edges have
        ``latency_s`` and ``bandwidth_Bps``, and ``medium`` where some are half duplex.
        """
        import networkx as nx

        graph = nx.MultiDiGraph()
        for v in range(self.n_vertices):
            own = {tier: int(groups[v]) for tier, groups in self.tiers.items() if groups[v] >= 0}
            graph.add_node(v, name=self.vertex_name(v), device=v < self.n_devices, **own)
        names = ["src", "dst", "latency_s", "bandwidth_Bps", *([] if self.links.medium is None else ["medium"])]
        for src, dst, *figures in zip(*(getattr(self.links, name).tolist() for name in names), strict=True):
            graph.add_edge(src, dst, **dict(zip(names[2:], figures, strict=True)))
        return graph


@dataclass(frozen=True, eq=False)
class Path:
    """Routes of n pairs: ``hops`` (n, n_hops), int32; others (n,), or one value where all have the same."""

    hops: Hops
    latency_s: Any
    bandwidth_Bps: Any

    @cached_property
    def _ports(self) -> tuple[Hops, Hops]:
        from commsim.hops import ends

        first, last = (np.empty(len(self.hops), dtype=self.hops.dtype) for _ in range(2))
        ends(self.hops, first, last)
        return first, last

    @property
    def first(self) -> Hops:
        """The port at which each route begins; NO_LINK where there is none."""
        return self._ports[0]

    @property
    def last(self) -> Hops:
        """The port at which it ends."""
        return self._ports[1]
