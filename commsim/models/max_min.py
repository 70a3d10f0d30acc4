"""Max-min fair rates: flows and capacities, nothing else.

Rates are max-min fair if every flow has a bottleneck: a full link on which no flow has more, or its own ceiling
(Bertsekas, Gallager: Data Networks, 1992, section 6.5.2). There is one such solution. :func:`max_min_rates` finds it
from scratch. :func:`solve` mends it after flows have come and gone: the flows that had their bottleneck on a link that
was touched are raised anew, all alike, against what the others leave. On the way others join them, at their own rates:
those that would have more on a link that fills up, and those whose bottleneck is full no longer, or would be passed.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from commsim.errors import InputError
from commsim.models.records import LINE, records

NONE, CEILING = -1, -2  # a flow's bottleneck: not decided, or its own ceiling
GONE = -1.0  # the ceiling of a flow that has ended
RISES = -1.0  # the new rate of a flow that has not stopped yet
STALE = -1.0  # the level of a link at which something has changed
SAME, NEAR = 1e-12, 1e-9  # relative differences: of two rates that are one, and that break a bottleneck

LINK = {
    "capacity": "f8",
    "room": "f8",  # that its flows leave; while rates are mended, those that do not rise
    "level": "f8",  # the rate of the flows that have their bottleneck here
    "head": "i4",  # first place of the list of its flows
    "count": "i4",  # its flows
    "held": "i4",  # those that have their bottleneck here
    "left": "i4",  # of these, those that are not free
    "crossing": "i4",  # free flows
    "rising": "i4",  # those that still rise
    "at": "i4",  # its place in `met`
    "is_touched": "i4",
}
FLOW = {
    "rate": "f8",
    "most": "f8",  # its ceiling
    "new": "f8",
    "old": "f8",  # before the last solution
    "bottleneck": "i4",
    "next": "i4",  # the new one
    "at": "i4",  # its place in `free`
    "is_listed": "i4",  # in `begun`
}
ON, FOLLOWING, PRECEDING = range(3)  # columns of Network.hop
BEGUN, TOUCHED, CHANGED, FREE, MET, CAPPED, SHIFT = range(7)  # places in Network.n


class Network(NamedTuple):
    """Flows on links. Flows are numbered by slots, which the caller gives out.

    After :func:`solve`, ``flow[slot].rate`` is fair, and ``changed[: n[CHANGED]]`` are the slots that have another rate
    now. A link is one record, and so is a flow, each of a line of the cache. ``hop`` has a row for every hop of a flow,
    from ``slot << n[SHIFT]`` on: the link, and the places of the flows around it in the link's list.
    """

    link: Any
    flow: Any
    hop: Any
    begun: Any  # flows that have begun since the last solution
    touched: Any  # links that have lost or gained a flow since
    met: Any  # links that free flows cross
    level: Any  # of each of these, the level at which something happens there
    free: Any  # flows that have risen
    changed: Any
    n: Any  # counters, and by how much a slot is shifted


def network(capacity: Any, n_slots: int, n_hops: int) -> Network:
    """An empty network of links with these capacities, for at most `n_slots` flows at a time."""
    n_links, shift = len(capacity), (n_hops - 1).bit_length() if n_hops else 0
    if n_slots << shift >= 2**31:
        raise InputError(f"{n_slots} flows at a time over {n_hops} links each are too many to follow one by one")

    def zeros(*shape: int) -> Any:
        return np.zeros(shape, dtype=np.int32)

    link, flow = records(n_links, LINK, LINE), records(n_slots, FLOW, LINE)
    link["capacity"] = link["room"] = capacity
    link["head"], flow["most"] = NONE, GONE
    counters = np.zeros(7, dtype=np.int64)
    counters[SHIFT] = shift
    lists = zeros(n_slots), zeros(n_links), zeros(n_links), np.zeros(n_links), zeros(n_slots), zeros(n_slots)
    return Network(link, flow, zeros(n_slots << shift, 3) + NONE, *lists, counters)


# Arrays are bound to names first: numba counts references at every access to a tuple's field.


@njit(cache=True)
def _touch(link: Any, touched: Any, n: Any, on: int) -> None:
    """The flows that have their bottleneck on this link take part in the next solution."""
    if not link[on].is_touched:
        link[on].is_touched = 1
        touched[n[TOUCHED]] = on
        n[TOUCHED] += 1


@njit(cache=True)
def add(net: Any, slot: int, way: Any, most: float) -> None:
    """A flow of at most `most` begins on the links `way` (n_hops,); its rate is 0 until the next solution."""
    link, hop, n = net.link, net.hop, net.n
    f = net.flow[slot]
    f.rate, f.most, f.bottleneck = 0.0, most, NONE
    if not f.is_listed:
        f.is_listed = 1
        net.begun[n[BEGUN]] = slot
        n[BEGUN] += 1
    here = slot << n[SHIFT]
    for on in way:
        if on < 0:
            break
        at = link[on]
        hop[here, ON], hop[here, PRECEDING], hop[here, FOLLOWING] = on, NONE, at.head
        if at.head >= 0:
            hop[at.head, PRECEDING] = here
        at.head = here
        at.count += 1
        if at.room <= at.capacity * NEAR:  # else there may be room enough: tried first
            _touch(link, net.touched, n, on)
        here += 1
    if here < (slot + 1) << n[SHIFT]:
        hop[here, ON] = NONE


@njit(cache=True)
def remove(net: Any, slot: int) -> None:
    """A flow has ended."""
    link, hop, n = net.link, net.hop, net.n
    f = net.flow[slot]
    for here in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        on, following, preceding = hop[here, ON], hop[here, FOLLOWING], hop[here, PRECEDING]
        if on < 0:
            break
        at = link[on]
        if preceding >= 0:
            hop[preceding, FOLLOWING] = following
        else:
            at.head = following
        if following >= 0:
            hop[following, PRECEDING] = preceding
        at.count -= 1
        if f.bottleneck == on:
            at.held -= 1
        if at.held:  # room on a link that holds nobody back changes nothing
            _touch(link, net.touched, n, on)
        at.room = at.room + f.rate if at.count else at.capacity
    f.rate, f.most = 0.0, GONE


@njit(cache=True)
def solve(net: Any) -> None:
    """Make all rates fair again."""
    n = net.n
    n[CHANGED] = 0
    if n[TOUCHED] == 0 and n[BEGUN] == 0:
        return
    link, flow, hop, met, level, free = net.link, net.flow, net.hop, net.met, net.level, net.free
    n[FREE] = n[MET] = n[CAPPED] = 0
    for i in range(n[BEGUN]):
        slot = net.begun[i]
        flow[slot].is_listed = 0
        if flow[slot].most >= 0:
            _join(slot, link, flow, hop, met, level, free, n)
    for i in range(n[TOUCHED]):
        link[net.touched[i]].is_touched = 0
        _join_held(net.touched[i], link, flow, hop, met, level, free, n)
    for i in range(n[MET]):
        on = link[met[i]]
        if on.crossing == on.count:
            on.room = on.capacity  # nobody else is there: no rounding
    _raise(link, flow, hop, met, level, free, n)
    _take(link, flow, free, net.changed, n)
    n[TOUCHED] = n[BEGUN] = 0


@njit(cache=True)
def _join(slot: int, link: Any, flow: Any, hop: Any, met: Any, level: Any, free: Any, n: Any) -> None:
    """The flow rises with the others, if it does not yet; what it had is there for all."""
    f = flow[slot]
    if f.at < n[FREE] and free[f.at] == slot:
        return
    f.at, f.new = n[FREE], RISES
    free[n[FREE]] = slot
    n[FREE] += 1
    if f.most < np.inf:
        n[CAPPED] += 1
    for here in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        on = hop[here, ON]
        if on < 0:
            break
        at = link[on]
        if at.at >= n[MET] or met[at.at] != on:
            at.at, at.left, at.crossing, at.rising = n[MET], at.held, 0, 0
            met[n[MET]] = on
            n[MET] += 1
        at.crossing += 1
        at.rising += 1
        at.room += f.rate
        if on == f.bottleneck:
            at.left -= 1
        level[at.at] = STALE


@njit(cache=True)
def _join_held(full: int, link: Any, flow: Any, hop: Any, met: Any, level: Any, free: Any, n: Any) -> None:
    """All flows that have their bottleneck on a link rise."""
    here = link[full].head
    while here >= 0:
        slot = here >> n[SHIFT]
        if flow[slot].bottleneck == full:
            _join(slot, link, flow, hop, met, level, free, n)
        here = hop[here, FOLLOWING]


@njit(cache=True)
def _stop(slot: int, rate: float, bottleneck: int, link: Any, flow: Any, hop: Any, level: Any, n: Any) -> None:
    """A flow stops at a rate; the rest of its links is for the others."""
    flow[slot].new, flow[slot].next = rate, bottleneck
    if flow[slot].most < np.inf:
        n[CAPPED] -= 1
    for here in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        on = hop[here, ON]
        if on < 0:
            break
        at = link[on]
        at.room -= rate
        at.rising -= 1
        level[at.at] = STALE


@njit(cache=True)
def _raise(link: Any, flow: Any, hop: Any, met: Any, level: Any, free: Any, n: Any) -> None:
    """Raise all free flows alike until each has met a full link, or its ceiling.

    A flow that joins stops at no level below: a link that has filled up there does not carry it, or it had joined then.
    """
    while True:
        lowest = _lowest(link, flow, met, level, free, n)
        if lowest == np.inf:
            return
        limit = lowest * (1 + SAME)
        if n[CAPPED]:
            for i in range(n[FREE]):
                f = flow[free[i]]
                if f.new == RISES and f.most <= limit:
                    _stop(free[i], lowest, CEILING, link, flow, hop, level, n)
        for i in range(n[MET]):  # those that join add links behind these
            if level[i] > limit:
                continue
            on = met[i]
            at = link[on]
            if at.rising and at.room <= limit * at.rising:
                _fill(on, lowest, link, flow, hop, met, level, free, n)
            if at.left and at.level <= limit and (at.rising or at.room > at.capacity * NEAR):
                _join_held(on, link, flow, hop, met, level, free, n)


@njit(cache=True)
def _lowest(link: Any, flow: Any, met: Any, level: Any, free: Any, n: Any) -> float:
    """The lowest level at which a link is full, or passes flows that it holds, or a flow meets its ceiling."""
    lowest = np.inf
    for i in range(n[MET]):
        here = level[i]
        if here < 0:
            at, here = link[met[i]], np.inf
            if at.rising:
                here = max(at.room, 0.0) / at.rising
            if at.left and at.level < here and (at.rising or at.room > at.capacity * NEAR):
                here = at.level
            level[i] = here
        lowest = min(lowest, here)
    if n[CAPPED]:
        for i in range(n[FREE]):
            if flow[free[i]].new == RISES:
                lowest = min(lowest, flow[free[i]].most)
    return lowest


@njit(cache=True)
def _fill(full: int, rate: float, link: Any, flow: Any, hop: Any, met: Any, level: Any, free: Any, n: Any) -> None:
    """A link is full at a rate: others that have more on it join; if it is still full, all that rise on it stop."""
    at, most = link[full], rate * (1 + NEAR)
    if at.crossing < at.count and (at.held == 0 or at.level > most):  # else nobody on it had more
        here = at.head
        while here >= 0:
            if flow[here >> n[SHIFT]].rate > most:
                _join(here >> n[SHIFT], link, flow, hop, met, level, free, n)
            here = hop[here, FOLLOWING]
        if at.room > rate * (1 + SAME) * at.rising:
            return
    here = at.head
    while here >= 0:
        slot = here >> n[SHIFT]
        if flow[slot].new == RISES and flow[slot].at < n[FREE] and free[flow[slot].at] == slot:
            _stop(slot, rate, full, link, flow, hop, level, n)
        here = hop[here, FOLLOWING]


@njit(cache=True)
def _take(link: Any, flow: Any, free: Any, changed: Any, n: Any) -> None:
    """The new rates become the rates."""
    n_changed = 0
    for i in range(n[FREE]):
        f = flow[free[i]]
        if f.bottleneck >= 0:
            link[f.bottleneck].held -= 1
        if f.next >= 0:
            link[f.next].held += 1
            link[f.next].level = f.new
        f.bottleneck = f.next
        if abs(f.new - f.rate) > SAME * f.new:
            f.old = f.rate
            changed[n_changed] = free[i]
            n_changed += 1
        f.rate = f.new
    n[CHANGED] = n_changed


def max_min_rates(paths: Any, capacity: Any, ceiling: Any = None) -> Any:
    """Fair rates of all flows, from scratch.

    Parameters
    ----------
    paths : array (n_flows, n_hops) of int
        Links of each flow, padded with -1 behind them; none twice.
    capacity : array (n_links,)
    ceiling : array (n_flows,), optional
        The most that each flow can take.

    Returns
    -------
    array (n_flows,)
    """
    paths = np.asarray(paths, dtype=np.int32)
    net = network(np.asarray(capacity), len(paths), paths.shape[1])
    for slot, path in enumerate(paths):
        add(net, slot, path, np.inf if ceiling is None else float(ceiling[slot]))
    solve(net)
    return net.flow["rate"].copy()
