"""Puts hosts on the routers of a network: the same number on each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from commsim.selection import Ints
from commsim.topology import NO_LINK, Links, Topology
from topologies.cables import Cable, shifted
from topologies.routes import shifted as renumbered
from topologies.routes import where


def with_hosts(
    n_routers: int,
    hosts_per_router: int,
    cable: Cable,
    links: Links,
    between: Callable[[Ints, Ints], Ints],
    router_name: Callable[[int], str],
    tiers: Mapping[str, Ints] | None = None,
) -> Topology:
    """Hosts 0 … n-1, host h on router ``h // hosts_per_router``; then the routers' vertices, moved up.

    Links: all hosts to routers, then back, then the routers' own.

    Parameters
    ----------
    n_routers : int
        Routers that have hosts: the first vertices of `links`.
    hosts_per_router : int
    cable : Cable
        From a host to its router.
    links : Links
        Between routers, and switches without hosts behind them.
    between : callable
        ``between(src, dst)``: arrays (n,) of hosts to an array (n, any) of numbers of `links`, from router to router,
        padding last.
    router_name : callable
    tiers : mapping, optional
        As in Topology, over the routers' vertices; a host belongs where its router does.
    """
    n_hosts = n_routers * hosts_per_router
    host = np.arange(n_hosts)
    router = host // hosts_per_router
    own = dict(tiers or {})
    if n_routers > 1:
        n_vertices = int(max(links.src.max(initial=0), links.dst.max(initial=0), n_routers - 1)) + 1
        vertex = np.arange(n_vertices)
        own["router"] = np.where(vertex < n_routers, vertex, -1)

    def route(src: Ints, dst: Ints) -> Ints:
        moves, middle = src != dst, between(src, dst)
        hops = np.full((len(src), middle.shape[1] + 2), NO_LINK)
        hops[:, 0] = where(moves, src)
        hops[:, 1:-1] = renumbered(middle, 2 * n_hosts)
        hops[np.arange(len(src)), 1 + (middle != NO_LINK).sum(axis=1)] = where(moves, n_hosts + dst)
        return hops

    return Topology(
        n_hosts,
        Links.joined([cable.both_ways(host, n_hosts + router), shifted(links, n_hosts)]),
        route,
        lambda vertex: f"host{vertex}" if vertex < n_hosts else router_name(vertex - n_hosts),
        {tier: np.concatenate([groups[router], groups]) for tier, groups in own.items()},
    )
