"""Shortest routes over links of any shape: for machines that no generator describes, and round links that failed.

A route takes as few links as it can; among those the fastest ones (least sum of 1/bandwidth). Devices pass messages on
only where there is no other way. Among equals the choice is a digit of the destination at every turn (D-mod-k where
the links are a tree: Zahavi 2010), a hash, or the least loaded link.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from commsim.errors import InputError, RefusedError, unknown_name
from commsim.hashing import mixed
from commsim.selection import Ints
from commsim.topology import NO_LINK, Floats, Hops, Links, Topology

ROUTINGS = ("shortest", "ecmp", "adaptive")
SPEED_STEPS = 2**14  # cost of the slowest link beside that of one link more
KEPT = 2**26  # places in tables of candidates that are kept
AT_ONCE = 2**23  # links times destinations that are looked at together


class Router:
    """``router(src, dst)``: routes between devices, found for each destination when it is first asked for.

    Parameters
    ----------
    n_devices : int
    links : Links
    routing : {"shortest", "ecmp", "adaptive"}
        Among equally short ways: by destination; by a hash of source, destination and seed; the one whose links carry
        the fewest routes for their bandwidth, of those that are asked for together.
    seed : int, optional
        Of ECMP's hash; 0 by default.
    vertex_name : callable

    Raises
    ------
    InputError
        For an unknown routing, or a seed that it does not take.
    """

    def __init__(
        self,
        n_devices: int,
        links: Links,
        routing: str = "shortest",
        seed: int | None = None,
        vertex_name: Callable[[int], str] = "vertex {}".format,
    ) -> None:
        if routing not in ROUTINGS:
            raise unknown_name("routing", str(routing), ROUTINGS)
        if seed is not None and routing != "ecmp":
            raise InputError(f"seed={seed} does nothing with routing={routing}; leave it out or take routing=ecmp")
        self._links, self._routing, self._seed, self._name = links, routing, seed or 0, vertex_name
        self._place = _places(n_devices, links)
        ends = (int(end.max(initial=-1)) + 1 for end in (links.src, links.dst))
        n_vertices = max(n_devices, *ends)
        senders = np.where(links.src < n_devices, links.src + n_vertices, links.src)
        self._direct = _Ways(senders, links.dst, links.bandwidth_Bps, n_vertices + n_devices)
        self._first = n_vertices  # a device as a sender is a vertex of its own, that no way leads to
        self._through = _Ways(links.src, links.dst, links.bandwidth_Bps, n_vertices)

    def __call__(self, src: Ints, dst: Ints) -> Ints:
        """Array (n, n_hops) of link numbers, padded with ``NO_LINK``.

        Raises
        ------
        RefusedError
            Naming the first pair between which there is no way.
        """
        src, dst = np.asarray(src, dtype=np.int64), np.asarray(dst, dtype=np.int64)
        load = np.zeros(len(self._links.src)) if self._routing == "adaptive" else None
        turn = (mixed(self._seed, src, dst) >> 1).astype(np.int64) if self._routing == "ecmp" else self._place[dst]
        start = np.where(src == dst, dst, src + self._first)
        hops, found = self._direct.walk(start, dst, turn, load, self._links.bandwidth_Bps)
        if found.all():
            return hops
        more, found_now = self._through.walk(src[~found], dst[~found], turn[~found], load, self._links.bandwidth_Bps)
        if not found_now.all():
            bad = np.flatnonzero(~found)[int(np.argmin(found_now))]
            raise RefusedError(f"there is no way from {self._name(int(src[bad]))} to {self._name(int(dst[bad]))}")
        return spliced(hops, ~found, more)


def spliced(hops: Hops, rows: Any, others: Hops) -> Ints:
    """Routes (n, any) with those of some rows replaced; padding last."""
    width = max(hops.shape[1], others.shape[1])
    out = np.full((len(hops), width), NO_LINK)
    out[:, : hops.shape[1]] = hops
    out[rows] = NO_LINK
    out[rows, : others.shape[1]] = others
    return out


class _Ways:
    """For each destination asked for, the links that lie on a shortest way to it.

    A candidate is a number ``slot * n_links + place``: the slot of its destination, and its place among links ordered
    by where they begin. All of them are kept in one ascending array.
    """

    def __init__(self, tail: Ints, head: Ints, bandwidth_Bps: Floats, n_vertices: int) -> None:
        self._order = np.lexsort((_copy(tail, head), tail))  # of parallel cables one each, then the second ones
        self._tail, self._head = tail[self._order], head[self._order]
        self._first = np.searchsorted(self._tail, np.arange(n_vertices + 1))
        slower = np.round(SPEED_STEPS * bandwidth_Bps[self._order].min(initial=np.inf) / bandwidth_Bps[self._order])
        self._cost = float(SPEED_STEPS * n_vertices) + slower  # whole numbers: sums are exact
        self._n_vertices = n_vertices
        self._forget()

    def _forget(self) -> None:
        self._slot_of = np.full(self._n_vertices, -1)
        self._n_slots = self._longest = 0
        self._candidates: Ints = np.empty(0, dtype=np.int64)

    def walk(self, start: Ints, dst: Ints, turn: Ints, load: Floats | None, bandwidth_Bps: Floats) -> tuple[Ints, Any]:
        """Routes (n, n_hops), and whether each pair has one (n,)."""
        self._prepare(np.unique(dst[start != dst]))
        base = self._slot_of[dst] * len(self._order)
        if load is not None:
            from commsim.least_loaded import least_loaded

            ways = (self._candidates, self._first, self._order, self._head)
            hops, found = least_loaded(start, dst, base, *ways, load, 1 / bandwidth_Bps, self._longest)
            return hops[:, : int((hops != NO_LINK).sum(axis=1).max(initial=0))], found
        columns, vertex, found = [], start.copy(), np.ones(len(dst), dtype=bool)
        turn = turn.copy()
        while (going := np.flatnonzero((vertex != dst) & found)).size:
            at = vertex[going]
            low, high = (np.searchsorted(self._candidates, base[going] + self._first[v]) for v in (at, at + 1))
            count = high - low
            found[going[count == 0]] = False
            going, low, count = going[count > 0], low[count > 0], count[count > 0]
            place = self._candidates[low + turn[going] % count] - base[going]
            turn[going] //= count
            vertex[going] = self._head[place]
            column = np.full(len(dst), NO_LINK)
            column[going] = self._order[place]
            columns.append(column)
        return np.stack(columns, axis=1) if columns else np.empty((len(dst), 0), dtype=np.int64), found

    def _prepare(self, destinations: Ints) -> None:
        """Find the candidates towards those that are new."""
        if len(self._candidates) > KEPT:
            self._forget()
        new = destinations[self._slot_of[destinations] < 0]
        if not len(new):
            return
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import dijkstra

        cheapest = np.lexsort((self._cost, self._tail, self._head))
        head, tail = self._head[cheapest], self._tail[cheapest]
        once = np.append(True, (head[1:] != head[:-1]) | (tail[1:] != tail[:-1]))[: len(head)]
        backwards = csr_array(
            (self._cost[cheapest][once], (head[once], tail[once])), shape=(self._n_vertices, self._n_vertices)
        )
        parts = [self._candidates]
        step = max(1, AT_ONCE // max(len(self._order), self._n_vertices, 1))
        for begin in range(0, len(new), step):
            some = new[begin : begin + step]
            distance = dijkstra(backwards, indices=some)
            furthest = distance[np.isfinite(distance)].max(initial=0.0)
            self._longest = max(self._longest, int(furthest / (SPEED_STEPS * self._n_vertices)))
            left = distance[:, self._head]
            row, place = np.nonzero((distance[:, self._tail] == left + self._cost) & np.isfinite(left))
            self._slot_of[some] = self._n_slots + np.arange(len(some))
            parts.append((self._n_slots + row) * len(self._order) + place)
            self._n_slots += len(some)
        self._candidates = np.concatenate(parts)


def _copy(tail: Ints, head: Ints) -> Ints:
    """The how-manieth each link is of those between the same two vertices (n_links,)."""
    order = np.lexsort((head, tail))
    begins = np.append(True, (tail[order][1:] != tail[order][:-1]) | (head[order][1:] != head[order][:-1]))[
        : len(order)
    ]
    copy = np.empty_like(order)
    copy[order] = np.arange(len(order)) - np.flatnonzero(begins)[np.cumsum(begins) - 1]
    return copy


def _places(n_devices: int, links: Links) -> Ints:
    """Numbers of the devices by which their ways spread (n_devices,): those behind one leaf follow each other.

    The leaf of a device is the first vertex on its way up where there is a choice; up is away from devices, towards
    where it goes furthest. On a tree whose hosts are numbered leaf by leaf these are their own numbers.
    """
    n = max(n_devices, int(links.src.max(initial=-1)) + 1, int(links.dst.max(initial=-1)) + 1)
    level = np.where(np.arange(n) < n_devices, 0, n)
    while True:
        further = level.copy()
        np.minimum.at(further, links.dst, level[links.src] + 1)
        if (further == level).all():
            break
        level = further
    up = np.flatnonzero(level[links.dst] == level[links.src] + 1)
    height = np.zeros(n, dtype=np.int64)
    for step in np.unique(level[links.src[up]])[::-1]:
        mine = up[level[links.src[up]] == step]
        np.maximum.at(height, links.src[mine], height[links.dst[mine]] + 1)
    best = up[height[links.dst[up]] == height[links.src[up]] - 1]
    only = np.arange(n)
    one = best[np.bincount(links.src[best], minlength=n)[links.src[best]] == 1]
    only[links.src[one]] = links.dst[one]
    leaf = np.arange(n)
    while (leaf != only[leaf]).any():
        leaf = only[leaf]
    place = np.empty(n_devices, dtype=np.int64)
    first = np.unique(leaf[:n_devices], return_index=True, return_inverse=True)
    place[np.lexsort((np.arange(n_devices), first[1][first[2]]))] = np.arange(n_devices)
    return place


def require_connected(topology: Topology) -> None:
    """Refuse devices that cannot reach each other.

    Raises
    ------
    RefusedError
        Naming a pair.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    links, n = topology.links, topology.n_vertices
    directions = (links.src, links.dst, "from {} to {}"), (links.dst, links.src, "from {1} to {0}")
    for tail, head, text in directions:
        graph = csr_array((np.ones(len(tail)), (tail, head)), shape=(n, n))
        reached = np.zeros(n, dtype=bool)
        reached[breadth_first_order(graph, 0, return_predecessors=False)] = True
        if not reached[: topology.n_devices].all():
            lost = int(np.argmin(reached[: topology.n_devices]))
            pair = topology.vertex_name(0), topology.vertex_name(lost)
            raise RefusedError(f"the links do not connect all devices: there is no way {text.format(*pair)}")


def routed(
    names: Sequence[str],
    n_devices: int,
    links: Links,
    tiers: Mapping[str, Ints],
    classes: Mapping[str, Ints],
    routing: str = "shortest",
    seed: int | None = None,
) -> Topology:
    """A topology of any shape: vertices by name, devices first; see :class:`Router` for the other parameters.

    Raises
    ------
    InputError
        For an impossible link, or devices that are not connected.
    """
    if n_devices < 1:
        raise InputError("a topology needs at least one device")
    checked = Topology(n_devices, links, _nowhere, names.__getitem__, tiers, classes)
    require_connected(checked)
    return replace(checked, route=Router(n_devices, links, routing, seed, names.__getitem__))


def _nowhere(src: Ints, dst: Ints) -> Ints:
    """Before there are routes."""
    return np.full((np.broadcast(src, dst).size, 0), NO_LINK)
