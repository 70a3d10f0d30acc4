"""Max-min fair rates: flows and capacities, nothing else.

Rates are max-min fair if every flow has a bottleneck: a full link on which no flow has more, or its own ceiling
(Bertsekas, Gallager: Data Networks, 1992, section 6.5.2). There is one such solution. :func:`max_min_rates` finds it
from scratch. :func:`solve` mends it after flows have come and gone: the flows on the links that were touched are set
free and filled anew against what the others leave; where that breaks the bottleneck of another flow, its link joins,
until nothing is broken.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

NONE, CEILING = -1, -2  # a flow's bottleneck: not decided, or its own ceiling
GONE = -1.0  # the ceiling of a flow that has ended
OPEN = -1.0  # the new rate of a free flow that still rises
SAME, NEAR = 1e-12, 1e-9  # relative differences: of two rates that are one, and that break a bottleneck
TOUCHED, CHANGED, FREE, MET, MARK, NEW = 0, 1, 2, 3, 4, 5  # places in Network.n


class Network(NamedTuple):
    """Flows on links, arrays. Flows are numbered by slots, which the caller gives out.

    After :func:`solve`, ``rate[slot]`` is fair, and ``changed[: n[CHANGED]]`` are the slots that have another rate now,
    ``old_rate`` what they had.
    """

    capacity: Any  # (n_links,)
    load: Any
    head: Any  # first place of each link's list of flows
    count: Any
    following: Any  # (n_slots * n_hops,): a place is slot * n_hops + hop
    owner: Any  # the slot of each place
    preceding: Any
    path: Any  # (n_slots, n_hops), padded with -1
    rate: Any  # (n_slots,)
    ceiling: Any
    bottleneck: Any
    new_rate: Any
    old_rate: Any
    new: Any  # flows that have begun since the last solution
    touched: Any  # (n_links,): links of the region
    in_region: Any
    met: Any  # links that free flows cross
    met_mark: Any
    room: Any
    share: Any  # of the room, for each flow that still rises
    crossing: Any  # free flows on each link
    n_open: Any  # those that still rise
    free: Any  # (n_slots,)
    free_mark: Any
    changed: Any
    n: Any  # counters


def network(capacity: Any, n_slots: int, n_hops: int) -> Network:
    """An empty network of links with these capacities, for at most `n_slots` flows at a time."""
    n_links, places = len(capacity), n_slots * n_hops

    def links(fill: float, kind: type = np.int64) -> Any:
        return np.full(n_links, fill, dtype=kind)

    def slots(fill: float, kind: type = np.int64) -> Any:
        return np.full(n_slots, fill, dtype=kind)

    return Network(
        capacity=np.ascontiguousarray(capacity, dtype=np.float64),
        load=links(0, np.float64),
        head=links(NONE),
        count=links(0),
        following=np.full(places, NONE),
        owner=np.arange(places) // n_hops,
        preceding=np.full(places, NONE),
        path=np.full((n_slots, n_hops), NONE),
        rate=slots(0, np.float64),
        ceiling=slots(np.inf, np.float64),
        bottleneck=slots(NONE),
        new_rate=slots(0, np.float64),
        old_rate=slots(0, np.float64),
        new=slots(0),
        touched=links(0),
        in_region=links(0),
        met=links(0),
        met_mark=links(0),
        room=links(0, np.float64),
        share=links(0, np.float64),
        crossing=links(0),
        n_open=links(0),
        free=slots(0),
        free_mark=slots(0),
        changed=slots(0),
        n=np.zeros(6, dtype=np.int64),
    )


# Arrays are bound to names first: numba counts references at every access to a tuple's field.


@njit(cache=True)
def touch(net: Any, link: int) -> None:
    """The link takes part in the next solution."""
    in_region, n = net.in_region, net.n
    if not in_region[link]:
        in_region[link] = 1
        net.touched[n[TOUCHED]] = link
        n[TOUCHED] += 1


@njit(cache=True)
def add(net: Any, slot: int, way: Any, most: float) -> None:
    """A flow of at most `most` begins on the links `way` (n_hops,); its rate is 0 until the next solution."""
    path, head, count, load, capacity = net.path, net.head, net.count, net.load, net.capacity
    preceding, following = net.preceding, net.following
    n_hops = path.shape[1]
    net.rate[slot] = 0.0
    net.ceiling[slot] = most
    net.bottleneck[slot] = NONE
    is_listed = net.n[NEW] < len(net.new)
    if is_listed:
        net.new[net.n[NEW]] = slot
        net.n[NEW] += 1
    for hop in range(n_hops):
        link = way[hop]
        path[slot, hop] = link
        if link >= 0:
            place = slot * n_hops + hop
            preceding[place] = NONE
            following[place] = head[link]
            if head[link] >= 0:
                preceding[head[link]] = place
            head[link] = place
            count[link] += 1
            if not is_listed or load[link] >= capacity[link] * (1 - NEAR):  # else it may find room enough: tried first
                touch(net, link)


@njit(cache=True)
def remove(net: Any, slot: int) -> None:
    """A flow has ended."""
    path, head, count, load, capacity = net.path, net.head, net.count, net.load, net.capacity
    preceding, following = net.preceding, net.following
    n_hops, rate = path.shape[1], net.rate[slot]
    for hop in range(n_hops):
        link = path[slot, hop]
        if link >= 0:
            place = slot * n_hops + hop
            before, after = preceding[place], following[place]
            if before >= 0:
                following[before] = after
            else:
                head[link] = after
            if after >= 0:
                preceding[after] = before
            count[link] -= 1
            if count[link] and load[link] >= capacity[link] * (
                1 - NEAR
            ):  # room on a link that was not full changes nothing
                touch(net, link)
            load[link] = max(load[link] - rate, 0.0) if count[link] else 0.0
    net.rate[slot] = 0.0
    net.ceiling[slot] = GONE


@njit(cache=True)
def solve(net: Any) -> None:
    """Make all rates fair again."""
    n, in_region, touched = net.n, net.in_region, net.touched
    n[CHANGED] = 0
    if n[TOUCHED] == 0 and n[NEW] == 0:
        return
    while True:
        _set_free(net)
        _fill(net)
        if not _widen(net):
            break
    _take(net)
    for i in range(n[TOUCHED]):
        in_region[touched[i]] = 0
    n[TOUCHED] = n[NEW] = 0


@njit(cache=True)
def _set_free(net: Any) -> None:
    """All flows on the region's links are free; each link that they meet has room for them: what the others leave."""
    n, touched, head, following, owner = net.n, net.touched, net.head, net.following, net.owner
    free, free_mark, path, rate, new_rate = net.free, net.free_mark, net.path, net.rate, net.new_rate
    met, met_mark, room, crossing, n_open = net.met, net.met_mark, net.room, net.crossing, net.n_open
    capacity, load, count, share = net.capacity, net.load, net.count, net.share
    n_hops = path.shape[1]
    n[MARK] += 1
    mark = n[MARK]
    n_free = n_met = 0
    for i in range(n[NEW]):
        slot = net.new[i]
        if free_mark[slot] != mark and net.ceiling[slot] >= 0:
            free_mark[slot] = mark
            free[n_free] = slot
            n_free += 1
    for i in range(n[TOUCHED]):
        place = head[touched[i]]
        while place >= 0:
            slot = owner[place]
            if free_mark[slot] != mark:
                free_mark[slot] = mark
                free[n_free] = slot
                n_free += 1
            place = following[place]
    for i in range(n_free):
        slot = free[i]
        new_rate[slot] = OPEN
        for hop in range(n_hops):
            link = path[slot, hop]
            if link >= 0:
                if met_mark[link] != mark:
                    met_mark[link] = mark
                    met[n_met] = link
                    n_met += 1
                    room[link] = capacity[link] - load[link]
                    crossing[link] = 0
                room[link] += rate[slot]
                crossing[link] += 1
    for i in range(n_met):
        link = met[i]
        n_open[link] = crossing[link]
        if crossing[link] == count[link]:
            room[link] = capacity[link]  # nobody else is there: no rounding
        share[link] = room[link] / n_open[link]
    n[FREE], n[MET] = n_free, n_met


@njit(cache=True)
def _leave(link: int, level: float, room: Any, n_open: Any, share: Any) -> None:
    """A flow stops at a level; the rest of the link is for the others."""
    room[link] -= level
    n_open[link] -= 1
    if n_open[link]:
        share[link] = room[link] / n_open[link]


@njit(cache=True)
def _fill(net: Any) -> None:
    """Raise all free flows alike; those that meet a full link, or their ceiling, stop there."""
    met, room, n_open, head, following, owner = net.met, net.room, net.n_open, net.head, net.following, net.owner
    new_rate, free_mark, bottleneck, path = net.new_rate, net.free_mark, net.bottleneck, net.path
    free, ceiling, share, n = net.free, net.ceiling, net.share, net.n
    n_hops, mark = path.shape[1], n[MARK]
    n_left, n_links, n_free = n[FREE], n[MET], n[FREE]
    n_capped = 0  # flows with a ceiling stand first
    for i in range(n_free):
        slot = free[i]
        if ceiling[slot] < np.inf:
            free[i], free[n_capped] = free[n_capped], slot
            n_capped += 1
    while n_left:
        level = np.inf
        kept = 0
        for i in range(n_links):  # links without open flows leave the front of the list
            link = met[i]
            if n_open[link]:
                level = min(level, share[link])
                met[i], met[kept] = met[kept], link
                kept += 1
        n_links = kept
        for i in range(n_capped):
            if new_rate[free[i]] == OPEN:
                level = min(level, ceiling[free[i]])
        level = max(level, 0.0)
        limit = level * (1 + SAME)
        for i in range(n_capped):
            slot = free[i]
            if new_rate[slot] == OPEN and ceiling[slot] <= limit:
                new_rate[slot] = level
                bottleneck[slot] = CEILING
                n_left -= 1
                for hop in range(n_hops):
                    if path[slot, hop] >= 0:
                        _leave(path[slot, hop], level, room, n_open, share)
        for i in range(n_links):
            full = met[i]
            if n_open[full] and share[full] <= limit:
                place = head[full]
                while place >= 0:
                    slot = owner[place]
                    if free_mark[slot] == mark and new_rate[slot] == OPEN:
                        new_rate[slot] = level
                        bottleneck[slot] = full
                        n_left -= 1
                        for hop in range(n_hops):
                            if path[slot, hop] >= 0:
                                _leave(path[slot, hop], level, room, n_open, share)
                    place = following[place]


@njit(cache=True)
def _widen(net: Any) -> bool:
    """Take links into the region where the new rates break a bottleneck; whether there were any."""
    met, in_region, crossing, count, capacity = net.met, net.in_region, net.crossing, net.count, net.capacity
    head, following, owner, free_mark = net.head, net.following, net.owner, net.free_mark
    new_rate, rate, bottleneck, n = net.new_rate, net.rate, net.bottleneck, net.n
    mark, grown = n[MARK], False
    for i in range(n[MET]):
        link = met[i]
        if in_region[link] or crossing[link] == count[link]:
            continue
        total = highest_free = highest_fixed = 0.0
        lowest_held = lowest_bound = np.inf  # of the fixed, and of the free, that have their bottleneck here
        place = head[link]
        while place >= 0:
            slot = owner[place]
            if free_mark[slot] == mark:
                mine = new_rate[slot]
                highest_free = max(highest_free, mine)
                if bottleneck[slot] == link:
                    lowest_bound = min(lowest_bound, mine)
            else:
                mine = rate[slot]
                highest_fixed = max(highest_fixed, mine)
                if bottleneck[slot] == link:
                    lowest_held = min(lowest_held, mine)
            total += mine
            place = following[place]
        breaks = lowest_bound * (1 + NEAR) < highest_fixed
        if lowest_held < np.inf:
            is_full = total >= capacity[link] * (1 - NEAR)
            breaks = breaks or not is_full or lowest_held * (1 + NEAR) < highest_free
        if breaks:
            touch(net, link)
            grown = True
    return grown


@njit(cache=True)
def _take(net: Any) -> None:
    """The new rates become the rates; loads follow."""
    met, crossing, count, load, free, path = net.met, net.crossing, net.count, net.load, net.free, net.path
    new_rate, rate, old_rate, changed, n = net.new_rate, net.rate, net.old_rate, net.changed, net.n
    n_hops, n_changed = path.shape[1], 0
    for i in range(n[MET]):
        if crossing[met[i]] == count[met[i]]:
            load[met[i]] = 0.0  # all of its flows are free: their sum, without rounding of differences
    for i in range(n[FREE]):
        slot = free[i]
        new, old = new_rate[slot], rate[slot]
        for hop in range(n_hops):
            link = path[slot, hop]
            if link >= 0:
                load[link] += new if crossing[link] == count[link] else new - old
        if abs(new - old) > SAME * new:
            old_rate[slot] = old
            changed[n_changed] = slot
            n_changed += 1
        rate[slot] = new
    n[CHANGED] = n_changed


def max_min_rates(paths: Any, capacity: Any, ceiling: Any = None) -> Any:
    """Fair rates of all flows, from scratch.

    Parameters
    ----------
    paths : array (n_flows, n_hops) of int
        Links of each flow, padded with -1; none twice.
    capacity : array (n_links,)
    ceiling : array (n_flows,), optional
        The most that each flow can take.

    Returns
    -------
    array (n_flows,)
    """
    paths = np.asarray(paths, dtype=np.int64)
    net = network(np.asarray(capacity), len(paths), paths.shape[1])
    for slot, path in enumerate(paths):
        add(net, slot, path, np.inf if ceiling is None else float(ceiling[slot]))
    solve(net)
    return net.rate.copy()
