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

from commsim.errors import InputError
from commsim.models.compiled import compiled, prefetch
from commsim.models.records import LINE, records, zeros

NONE, CEILING = -1, -2  # a flow's bottleneck: not decided, or its own ceiling
GONE = -1.0  # the ceiling of a flow that has ended
RISES = -1.0  # the new rate of a flow that has not stopped yet
INFINITE = 0x7FF0000000000000  # the bits of infinity
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
BEGUN, TOUCHED, CHANGED, FREE, MET, CAPPED, SHIFT = range(7)  # places in Network.n
BLOCK = 16  # levels whose lowest is found at once


class Network(NamedTuple):
    """Flows on links. Flows are numbered by slots, which the caller gives out.

    After :func:`solve`, ``flow[slot].rate`` is fair, and ``changed[: n[CHANGED]]`` are the slots that have another rate
    now. A link is one record, and so is a flow, each of a line of the cache. The hops of a flow have places from
    ``slot << n[SHIFT]`` on; those over one link are a list.
    """

    link: Any
    flow: Any
    on: Any  # of each hop the link, or NONE behind a flow's last
    following: Any  # in the link's list
    preceding: Any
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
    link, flow = records(n_links, LINK, LINE), records(n_slots, FLOW, LINE)
    link["capacity"] = link["room"] = capacity
    link["head"], flow["most"] = NONE, GONE
    counters = np.zeros(7, dtype=np.int64)
    counters[SHIFT] = shift
    n_blocks = n_links // BLOCK + 1
    on, following, preceding = (zeros(n_slots << shift, np.int32) for _ in range(3))
    begun, free, changed = (zeros(n_slots, np.int32) for _ in range(3))
    touched, met = (zeros(n_links, np.int32) for _ in range(2))
    level = zeros(n_blocks * BLOCK, np.float64)
    hops = on, following, preceding
    return Network(link, flow, *hops, begun, touched, met, level, free, changed, counters)


@compiled
def _touch(link: Any, touched: Any, n: Any, on: int) -> None:
    """The flows that have their bottleneck on this link take part in the next solution."""
    if not link[on].is_touched:
        link[on].is_touched = 1
        touched[n[TOUCHED]] = on
        n[TOUCHED] += 1


@compiled
def _fetch(slot: int, link: Any, on: Any, n: Any) -> None:
    """Read the links of a flow, all at once rather than each when it is needed."""
    for hop in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        if on[hop] < 0:
            break
        prefetch(link, on[hop])


@compiled
def add(net: Any, slot: int, way: Any, most: float) -> None:
    """A flow of at most `most` begins on the links `way` (n_hops,); its rate is 0 until the next solution."""
    link, n = net.link, net.n
    f = net.flow[slot]
    f.rate, f.most, f.bottleneck = 0.0, most, NONE
    if not f.is_listed:
        f.is_listed = 1
        net.begun[n[BEGUN]] = slot
        n[BEGUN] += 1
    first = end = slot << n[SHIFT]
    for number in way:
        if number < 0:
            break
        prefetch(link, number)
        net.on[end] = number
        end += 1
    if end < (slot + 1) << n[SHIFT]:
        net.on[end] = NONE
    for hop in range(first, end):
        at = link[net.on[hop]]
        net.preceding[hop], net.following[hop] = NONE, at.head
        if at.head >= 0:
            net.preceding[at.head] = hop
        at.head = hop
        at.count += 1
        if at.room <= at.capacity * NEAR:  # else there may be room enough: tried first
            _touch(link, net.touched, n, net.on[hop])


@compiled
def remove(net: Any, slot: int) -> None:
    """A flow has ended."""
    link, n = net.link, net.n
    f = net.flow[slot]
    _fetch(slot, link, net.on, n)
    for hop in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        number, following, preceding = net.on[hop], net.following[hop], net.preceding[hop]
        if number < 0:
            break
        at = link[number]
        if preceding >= 0:
            net.following[preceding] = following
        else:
            at.head = following
        if following >= 0:
            net.preceding[following] = preceding
        at.count -= 1
        if f.bottleneck == number:
            at.held -= 1
        if at.held:  # room on a link that holds nobody back changes nothing
            _touch(link, net.touched, n, number)
        at.room = at.room + f.rate if at.count else at.capacity
    f.rate, f.most = 0.0, GONE


@compiled
def solve(net: Any) -> None:
    """Make all rates fair again."""
    n = net.n
    n[CHANGED] = 0
    if n[TOUCHED] == 0 and n[BEGUN] == 0:
        return
    link, flow, on, following = net.link, net.flow, net.on, net.following
    met, level, free = net.met, net.level, net.free
    n[FREE] = n[MET] = n[CAPPED] = 0
    for i in range(n[BEGUN]):
        slot = net.begun[i]
        flow[slot].is_listed = 0
        if flow[slot].most >= 0:
            _join(slot, link, flow, on, met, level, free, n)
    for i in range(n[TOUCHED]):
        link[net.touched[i]].is_touched = 0
        _join_held(net.touched[i], link, flow, on, following, met, level, free, n)
    for i in range(n[MET]):
        at = link[met[i]]
        if at.crossing == at.count:
            at.room = at.capacity  # nobody else is there: no rounding
        level[i] = _level(at)
    _raise(link, flow, on, following, met, level, free, n)
    _take(link, flow, free, net.changed, n)
    n[TOUCHED] = n[BEGUN] = 0


@compiled
def _level(at: Any) -> float:
    """The level at which a link is full, or passes the flows that it holds."""
    here = max(at.room, 0.0) / at.rising if at.rising else np.inf
    if at.left and at.level < here and (at.rising or at.room > at.capacity * NEAR):
        here = at.level
    return here


@compiled
def _join(slot: int, link: Any, flow: Any, on: Any, met: Any, level: Any, free: Any, n: Any) -> None:
    """The flow rises with the others, if it does not yet; what it had is there for all."""
    f = flow[slot]
    if f.at < n[FREE] and free[f.at] == slot:
        return
    _fetch(slot, link, on, n)
    f.at, f.new = n[FREE], RISES
    free[n[FREE]] = slot
    n[FREE] += 1
    if f.most < np.inf:
        n[CAPPED] += 1
    for hop in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        number = on[hop]
        if number < 0:
            break
        at = link[number]
        if at.at >= n[MET] or met[at.at] != number:
            at.at, at.left, at.crossing, at.rising = n[MET], at.held, 0, 0
            met[n[MET]] = number
            if n[MET] % BLOCK == 0:
                level[n[MET] : n[MET] + BLOCK] = np.inf
            n[MET] += 1
        at.crossing += 1
        at.rising += 1
        at.room += f.rate
        if number == f.bottleneck:
            at.left -= 1
        level[at.at] = _level(at)


@compiled
def _join_held(
    full: int, link: Any, flow: Any, on: Any, following: Any, met: Any, level: Any, free: Any, n: Any
) -> None:
    """All flows that have their bottleneck on a link rise."""
    hop = link[full].head
    while hop >= 0:
        if flow[hop >> n[SHIFT]].bottleneck == full:
            _join(hop >> n[SHIFT], link, flow, on, met, level, free, n)
        hop = following[hop]


@compiled
def _stop(slot: int, rate: float, bottleneck: int, link: Any, flow: Any, on: Any, level: Any, n: Any) -> None:
    """A flow stops at a rate; the rest of its links is for the others."""
    flow[slot].new, flow[slot].next = rate, bottleneck
    if flow[slot].most < np.inf:
        n[CAPPED] -= 1
    for hop in range(slot << n[SHIFT], (slot + 1) << n[SHIFT]):
        if on[hop] < 0:
            break
        at = link[on[hop]]
        at.room -= rate
        at.rising -= 1
        level[at.at] = _level(at)


@compiled
def _raise(link: Any, flow: Any, on: Any, following: Any, met: Any, level: Any, free: Any, n: Any) -> None:
    """Raise all free flows alike until each has met a full link, or its ceiling.

    A flow that joins stops at no level below: a link that has filled up there does not carry it, or it had joined then.
    """
    while True:
        lowest = _lowest(flow, level, free, n)
        if lowest == np.inf:
            return
        limit = lowest * (1 + SAME)
        if n[CAPPED]:
            for i in range(n[FREE]):
                f = flow[free[i]]
                if f.new == RISES and f.most <= limit:
                    _stop(free[i], lowest, CEILING, link, flow, on, level, n)
        first = -BLOCK
        while first + BLOCK < n[MET]:  # those that join add links behind these
            first += BLOCK
            if _least(level, first) > limit:
                continue
            for i in range(first, first + BLOCK):
                if level[i] > limit:
                    continue
                full, at = met[i], link[met[i]]
                if at.rising and at.room <= limit * at.rising:
                    _fill(full, lowest, link, flow, on, following, met, level, free, n)
                if at.left and at.level <= limit and (at.rising or at.room > at.capacity * NEAR):
                    _join_held(full, link, flow, on, following, met, level, free, n)


@compiled
def _least(level: Any, first: int) -> Any:
    """The lowest level of a block."""
    bits, least = level.view(np.int64), INFINITE  # in the same order, and compared several at a time
    for i in range(BLOCK):
        other = bits[first + i]
        least = other if other < least else least
    return np.int64(least).view(np.float64)


@compiled
def _lowest(flow: Any, level: Any, free: Any, n: Any) -> float:
    """The lowest level at which something happens on a link, or a flow meets its ceiling."""
    lowest = np.inf
    for first in range(0, n[MET], BLOCK):
        lowest = min(lowest, _least(level, first))
    if n[CAPPED]:
        for i in range(n[FREE]):
            if flow[free[i]].new == RISES:
                lowest = min(lowest, flow[free[i]].most)
    return lowest


@compiled
def _fill(
    full: int, rate: float, link: Any, flow: Any, on: Any, following: Any, met: Any, level: Any, free: Any, n: Any
) -> None:
    """A link is full at a rate: others that have more on it join; if it is still full, all that rise on it stop."""
    at, most = link[full], rate * (1 + NEAR)
    if at.crossing < at.count and (at.held == 0 or at.level > most):  # else nobody on it had more
        hop = at.head
        while hop >= 0:
            if flow[hop >> n[SHIFT]].rate > most:
                _join(hop >> n[SHIFT], link, flow, on, met, level, free, n)
            hop = following[hop]
        if at.room > rate * (1 + SAME) * at.rising:
            return
    hop = at.head
    while hop >= 0:
        slot = hop >> n[SHIFT]
        if flow[slot].new == RISES and flow[slot].at < n[FREE] and free[flow[slot].at] == slot:
            _stop(slot, rate, full, link, flow, on, level, n)
        hop = following[hop]


@compiled
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
