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

NONE, CEILING = -1, -2  # a flow's bottleneck: not decided, or its own ceiling
GONE = -1.0  # the ceiling of a flow that has ended
RISES = -1.0  # the new rate of a flow that has not stopped yet
SAME, NEAR = 1e-12, 1e-9  # relative differences: of two rates that are one, and that break a bottleneck

CAPACITY, LOAD, SPARE, LEVEL = range(4)  # columns of Network.link
HEAD, COUNT, HELD, LEFT, CROSSING, RISING, MET_MARK, TOUCHED_MARK, IS_LIVE = range(9)  # columns of Network.at_link
RATE, MOST, NEW, OLD = range(4)  # columns of Network.flow
BOTTLENECK, NEXT, FREE_MARK, LISTED = range(4)  # columns of Network.of_flow
FOLLOWING, PRECEDING = range(2)  # columns of Network.place
BEGUN, TOUCHED, CHANGED, FREE, MET, LIVE, CAPPED, MARK = range(8)  # places in Network.n


class Network(NamedTuple):
    """Flows on links. Flows are numbered by slots, which the caller gives out.

    After :func:`solve`, ``flow[slot, RATE]`` is fair, and ``changed[: n[CHANGED]]`` are the slots that have another
    rate now, ``flow[slot, OLD]`` what they had. What is read together stands side by side, as columns:

    - ``link`` (n_links, 4): capacity; load; what those that do not rise leave of it; the rate of the flows that have
      their bottleneck there.
    - ``at_link`` (n_links, 9): first place of the list of flows; flows; those that have their bottleneck there; of
      these, those that are not free; free flows; those that still rise; and three marks.
    - ``flow`` (n_slots, 4): rate, ceiling, new rate, old rate. ``of_flow`` (n_slots, 4): bottleneck, the new one, and
      two marks.
    - ``place`` (n_slots * n_hops, 2): a place is slot * n_hops + hop; the places around it in its link's list.
    """

    link: Any
    at_link: Any
    flow: Any
    of_flow: Any
    place: Any
    path: Any  # (n_slots, n_hops), padding behind
    begun: Any  # flows that have begun since the last solution
    touched: Any  # links that have lost or gained a flow since
    met: Any  # links that free flows cross
    live: Any  # of these, those where something can still happen
    share: Any  # of each live link, the level at which it is full
    free: Any
    changed: Any
    n: Any  # counters


def network(capacity: Any, n_slots: int, n_hops: int) -> Network:
    """An empty network of links with these capacities, for at most `n_slots` flows at a time."""
    n_links = len(capacity)
    if n_slots * n_hops >= 2**31:
        raise InputError(f"{n_slots} flows at a time over {n_hops} links each are too many to follow one by one")

    def zeros(*shape: int) -> Any:
        return np.zeros(shape, dtype=np.int32)

    link, at_link, flow = np.zeros((n_links, 4)), zeros(n_links, 9), np.zeros((n_slots, 4))
    link[:, CAPACITY], at_link[:, HEAD] = capacity, NONE
    path, place = zeros(n_slots, n_hops) + NONE, zeros(n_slots * n_hops, 2) + NONE
    begun, touched, met, live = zeros(n_slots), zeros(n_links), zeros(n_links), zeros(n_links)
    lists = begun, touched, met, live, np.zeros(n_links), zeros(n_slots), zeros(n_slots)
    counters = np.zeros(8, dtype=np.int64)
    return Network(link, at_link, flow, zeros(n_slots, 4), place, path, *lists, counters)


# Arrays are bound to names first: numba counts references at every access to a tuple's field.


@njit(cache=True)
def _touch(at_link: Any, touched: Any, n: Any, link: int) -> None:
    """The flows that have their bottleneck on this link take part in the next solution."""
    if not at_link[link, TOUCHED_MARK]:
        at_link[link, TOUCHED_MARK] = 1
        touched[n[TOUCHED]] = link
        n[TOUCHED] += 1


@njit(cache=True)
def add(net: Any, slot: int, way: Any, most: float) -> None:
    """A flow of at most `most` begins on the links `way` (n_hops,); its rate is 0 until the next solution."""
    link, at_link, place, path, n = net.link, net.at_link, net.place, net.path, net.n
    n_hops = path.shape[1]
    net.flow[slot, RATE], net.flow[slot, MOST] = 0.0, most
    net.of_flow[slot, BOTTLENECK] = NONE
    if not net.of_flow[slot, LISTED]:
        net.of_flow[slot, LISTED] = 1
        net.begun[n[BEGUN]] = slot
        n[BEGUN] += 1
    for hop in range(n_hops):
        on = way[hop]
        path[slot, hop] = on
        if on < 0:
            break
        here = slot * n_hops + hop
        head = at_link[on, HEAD]
        place[here, PRECEDING], place[here, FOLLOWING] = NONE, head
        if head >= 0:
            place[head, PRECEDING] = here
        at_link[on, HEAD] = here
        at_link[on, COUNT] += 1
        if link[on, LOAD] >= link[on, CAPACITY] * (1 - NEAR):  # else there may be room enough: tried first
            _touch(at_link, net.touched, n, on)


@njit(cache=True)
def remove(net: Any, slot: int) -> None:
    """A flow has ended."""
    link, at_link, place, path = net.link, net.at_link, net.place, net.path
    n_hops, rate, bottleneck = path.shape[1], net.flow[slot, RATE], net.of_flow[slot, BOTTLENECK]
    for hop in range(n_hops):
        on = path[slot, hop]
        if on < 0:
            break
        here = slot * n_hops + hop
        before, after = place[here, PRECEDING], place[here, FOLLOWING]
        if before >= 0:
            place[before, FOLLOWING] = after
        else:
            at_link[on, HEAD] = after
        if after >= 0:
            place[after, PRECEDING] = before
        at_link[on, COUNT] -= 1
        if bottleneck == on:
            at_link[on, HELD] -= 1
        if at_link[on, HELD]:  # room on a link that holds nobody back changes nothing
            _touch(at_link, net.touched, net.n, on)
        link[on, LOAD] = max(link[on, LOAD] - rate, 0.0) if at_link[on, COUNT] else 0.0
    net.flow[slot, RATE], net.flow[slot, MOST] = 0.0, GONE


@njit(cache=True)
def solve(net: Any) -> None:
    """Make all rates fair again."""
    n = net.n
    n[CHANGED] = 0
    if n[TOUCHED] == 0 and n[BEGUN] == 0:
        return
    link, at_link, flow, of_flow, place, path = net.link, net.at_link, net.flow, net.of_flow, net.place, net.path
    met, live, free = net.met, net.live, net.free
    n[MARK] += 1
    n[FREE] = n[MET] = n[LIVE] = n[CAPPED] = 0
    for i in range(n[BEGUN]):
        slot = net.begun[i]
        of_flow[slot, LISTED] = 0
        if flow[slot, MOST] >= 0:
            _join(slot, link, at_link, flow, of_flow, path, met, live, free, n)
    for i in range(n[TOUCHED]):
        at_link[net.touched[i], TOUCHED_MARK] = 0
        _join_held(net.touched[i], link, at_link, flow, of_flow, place, path, met, live, free, n)
    for i in range(n[MET]):
        if at_link[met[i], CROSSING] == at_link[met[i], COUNT]:
            link[met[i], SPARE] = link[met[i], CAPACITY]  # nobody else is there: no rounding
    _raise(link, at_link, flow, of_flow, place, path, met, live, net.share, free, n)
    _take(link, at_link, flow, of_flow, path, met, free, net.changed, n)
    n[TOUCHED] = n[BEGUN] = 0


@njit(cache=True)
def _join(
    slot: int, link: Any, at_link: Any, flow: Any, of_flow: Any, path: Any, met: Any, live: Any, free: Any, n: Any
) -> None:
    """The flow rises with the others, if it does not yet; what it had is there for all."""
    if of_flow[slot, FREE_MARK] == n[MARK]:
        return
    of_flow[slot, FREE_MARK] = n[MARK]
    flow[slot, NEW] = RISES
    free[n[FREE]] = slot
    n[FREE] += 1
    if flow[slot, MOST] < np.inf:
        n[CAPPED] += 1
    bottleneck = of_flow[slot, BOTTLENECK]
    for hop in range(path.shape[1]):
        on = path[slot, hop]
        if on < 0:
            break
        if at_link[on, MET_MARK] != n[MARK]:
            at_link[on, MET_MARK] = n[MARK]
            at_link[on, CROSSING], at_link[on, RISING], at_link[on, LEFT] = 0, 0, at_link[on, HELD]
            link[on, SPARE] = link[on, CAPACITY] - link[on, LOAD]
            at_link[on, IS_LIVE] = 0
            met[n[MET]] = on
            n[MET] += 1
        if not at_link[on, IS_LIVE]:
            at_link[on, IS_LIVE] = 1
            live[n[LIVE]] = on
            n[LIVE] += 1
        at_link[on, CROSSING] += 1
        at_link[on, RISING] += 1
        link[on, SPARE] += flow[slot, RATE]
        if on == bottleneck:
            at_link[on, LEFT] -= 1


@njit(cache=True)
def _join_held(
    full: int,
    link: Any,
    at_link: Any,
    flow: Any,
    of_flow: Any,
    place: Any,
    path: Any,
    met: Any,
    live: Any,
    free: Any,
    n: Any,
) -> None:
    """All flows that have their bottleneck on a link rise."""
    here, n_hops = at_link[full, HEAD], path.shape[1]
    while here >= 0:
        if of_flow[here // n_hops, BOTTLENECK] == full:
            _join(here // n_hops, link, at_link, flow, of_flow, path, met, live, free, n)
        here = place[here, FOLLOWING]


@njit(cache=True)
def _stop(
    slot: int, level: float, bottleneck: int, link: Any, at_link: Any, flow: Any, of_flow: Any, path: Any
) -> None:
    """A flow stops at a level; the rest of its links is for the others."""
    flow[slot, NEW], of_flow[slot, NEXT] = level, bottleneck
    for hop in range(path.shape[1]):
        on = path[slot, hop]
        if on < 0:
            break
        link[on, SPARE] -= level
        at_link[on, RISING] -= 1


@njit(cache=True)
def _raise(
    link: Any,
    at_link: Any,
    flow: Any,
    of_flow: Any,
    place: Any,
    path: Any,
    met: Any,
    live: Any,
    share: Any,
    free: Any,
    n: Any,
) -> None:
    """Raise all free flows alike until each has met a full link, or its ceiling.

    A flow that joins stops at no level below: a link that has filled up there does not carry it, or it had joined then.
    """
    n_hops = path.shape[1]
    while True:
        level = _next_level(link, at_link, flow, live, share, free, n)
        if level == np.inf:
            return
        limit = level * (1 + SAME)
        if n[CAPPED]:
            for i in range(n[FREE]):
                slot = free[i]
                if flow[slot, NEW] == RISES and flow[slot, MOST] <= limit:
                    n[CAPPED] -= 1
                    _stop(slot, level, CEILING, link, at_link, flow, of_flow, path)
        for i in range(n[LIVE]):  # those that join add links behind these
            if share[i] > limit:
                continue
            on = live[i]
            if at_link[on, RISING] and link[on, SPARE] <= limit * at_link[on, RISING]:
                _fill(on, level, n_hops, link, at_link, flow, of_flow, place, path, met, live, free, n)
            if at_link[on, LEFT] and link[on, LEVEL] <= limit and _is_loose(link, at_link, on):
                _join_held(on, link, at_link, flow, of_flow, place, path, met, live, free, n)


@njit(cache=True)
def _is_loose(link: Any, at_link: Any, on: int) -> bool:
    """Whether flows that have their bottleneck on a link would be passed, or have room."""
    return bool(at_link[on, RISING] > 0 or link[on, SPARE] > link[on, CAPACITY] * NEAR)


@njit(cache=True)
def _next_level(link: Any, at_link: Any, flow: Any, live: Any, share: Any, free: Any, n: Any) -> float:
    """The lowest level at which something happens; links where nothing can happen leave the list."""
    level, kept = np.inf, 0
    for i in range(n[LIVE]):
        on = live[i]
        rising, here = at_link[on, RISING], np.inf
        if rising:
            here = max(link[on, SPARE], 0.0) / rising
        if at_link[on, LEFT] and (rising or link[on, SPARE] > link[on, CAPACITY] * NEAR):
            here = min(here, link[on, LEVEL])
        if here == np.inf and not at_link[on, LEFT]:
            at_link[on, IS_LIVE] = 0
            continue
        live[kept], share[kept] = on, here
        kept += 1
        level = min(level, here)
    n[LIVE] = kept
    if n[CAPPED]:
        for i in range(n[FREE]):
            if flow[free[i], NEW] == RISES:
                level = min(level, flow[free[i], MOST])
    return level


@njit(cache=True)
def _fill(
    full: int,
    level: float,
    n_hops: int,
    link: Any,
    at_link: Any,
    flow: Any,
    of_flow: Any,
    place: Any,
    path: Any,
    met: Any,
    live: Any,
    free: Any,
    n: Any,
) -> None:
    """A link is full at a level: others that have more on it join; if it is still full, all that rise on it stop."""
    if at_link[full, CROSSING] < at_link[full, COUNT]:
        most, here = level * (1 + NEAR), at_link[full, HEAD]
        while here >= 0:
            if flow[here // n_hops, RATE] > most:
                _join(here // n_hops, link, at_link, flow, of_flow, path, met, live, free, n)
            here = place[here, FOLLOWING]
        if link[full, SPARE] > level * (1 + SAME) * at_link[full, RISING]:
            return
    here = at_link[full, HEAD]
    while here >= 0:
        slot = here // n_hops
        if of_flow[slot, FREE_MARK] == n[MARK] and flow[slot, NEW] == RISES:
            if flow[slot, MOST] < np.inf:
                n[CAPPED] -= 1
            _stop(slot, level, full, link, at_link, flow, of_flow, path)
        here = place[here, FOLLOWING]


@njit(cache=True)
def _take(
    link: Any, at_link: Any, flow: Any, of_flow: Any, path: Any, met: Any, free: Any, changed: Any, n: Any
) -> None:
    """The new rates become the rates; loads follow."""
    n_changed = 0
    for i in range(n[MET]):
        if at_link[met[i], CROSSING] == at_link[met[i], COUNT]:
            link[met[i], LOAD] = 0.0  # all of its flows are free: their sum, without rounding of differences
    for i in range(n[FREE]):
        slot = free[i]
        new, old = flow[slot, NEW], flow[slot, RATE]
        before, after = of_flow[slot, BOTTLENECK], of_flow[slot, NEXT]
        if before >= 0:
            at_link[before, HELD] -= 1
        if after >= 0:
            at_link[after, HELD] += 1
            link[after, LEVEL] = new
        of_flow[slot, BOTTLENECK] = after
        for hop in range(path.shape[1]):
            on = path[slot, hop]
            if on < 0:
                break
            link[on, LOAD] += new if at_link[on, CROSSING] == at_link[on, COUNT] else new - old
        if abs(new - old) > SAME * new:
            flow[slot, OLD] = old
            changed[n_changed] = slot
            n_changed += 1
        flow[slot, RATE] = new
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
    paths = np.asarray(paths, dtype=np.int64)
    net = network(np.asarray(capacity), len(paths), paths.shape[1])
    for slot, path in enumerate(paths):
        add(net, slot, path, np.inf if ceiling is None else float(ceiling[slot]))
    solve(net)
    return net.flow[:, RATE].copy()
