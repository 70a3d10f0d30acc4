"""Flows that begin together, followed until the last has ended: max-min fair shares, again where an end changes them.

Compiled.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SAME = 1e-12  # relative: two rates, or two times, that are one
MOST_ROUNDS = 64  # different times at which flows end; with more, following events one by one is as good
LOOKED_AT = 4  # levels at which all rising flows are looked at; after them, the lists of the links that are full
CEILING = -1  # a flow's bottleneck that is no link


def follow(paths: Any, capacity: Any, n_bytes: Any, ceiling: Any) -> Any:
    """How long each flow takes.

    Parameters
    ----------
    paths : array (n_flows, n_hops)
        Links, padded with -1 anywhere.
    capacity : array (n_links,)
        In bytes per second.
    n_bytes, ceiling : float or array (n_flows,)
        A flow never exceeds its ceiling.

    Returns
    -------
    float or array (n_flows,) or None
        0 for flows without bytes or links; one value if all take as long; None if they end at too many different times.
    """
    n = len(paths)  # arrays are made outside of compiled code: numpy asks the system for large pages
    count, live = np.zeros(len(capacity), dtype=np.int32), np.empty(n, dtype=np.int32)
    sizes, ceilings = (np.atleast_1d(value).astype(np.float64, copy=False) for value in (n_bytes, ceiling))
    n_live = _start(paths, sizes, count, live)
    if len(sizes) == len(ceilings) == 1 and n_live == n > 0:
        level = _common_rate(paths, capacity, ceilings[0], count)
        if level:
            return sizes[0] / level
    taken_s, left, rate = np.zeros(n), np.full(n, sizes), np.empty(n)
    rising, bottleneck = (np.empty(n, dtype=np.int32) for _ in range(2))
    ended = _follow(paths, capacity, ceilings, count, live, n_live, rising, bottleneck, rate, left, taken_s)
    return taken_s if ended else None


@njit(cache=True)
def _start(paths: Any, n_bytes: Any, count: Any, live: Any) -> int:
    """Count the flows that have bytes on each of their links, and list those that have links; how many."""
    each, n_live = len(n_bytes) > 1, 0
    for flow in range(paths.shape[0]):
        crosses = False
        if n_bytes[flow * each] > 0:
            for hop in range(paths.shape[1]):
                if paths[flow, hop] >= 0:
                    count[paths[flow, hop]] += 1
                    crosses = True
        if crosses:
            live[n_live] = flow
            n_live += 1
    return n_live


@njit(cache=True)
def _common_rate(paths: Any, capacity: Any, ceiling: float, count: Any) -> float:
    """The common case: all flows meet links that are full at one rate. The rate, or 0."""
    level = np.inf
    for link in range(len(capacity)):
        if count[link]:
            level = min(level, capacity[link] / count[link])
    limit = level * (1 + SAME)
    if ceiling < level:
        return 0.0
    for flow in range(paths.shape[0]):
        meets = False
        for hop in range(paths.shape[1]):
            link = paths[flow, hop]
            if link >= 0:
                meets |= capacity[link] <= limit * count[link]
        if not meets:
            return 0.0
    return level


@njit(cache=True)
def _follow(
    paths: Any,
    capacity: Any,
    ceiling: Any,
    count: Any,
    live: Any,
    n_live: int,
    rising: Any,
    bottleneck: Any,
    rate: Any,
    left: Any,
    taken_s: Any,
) -> bool:
    """Change `taken_s`; whether all flows have ended. `count` and `live` as :func:`_start` leaves them."""
    n_hops, n_links = paths.shape[1], len(capacity)
    held = np.zeros(n_links + 1, dtype=np.int32)  # live flows that have their bottleneck there; the last: ceilings
    now, is_fair = 0.0, False
    for _ in range(MOST_ROUNDS):
        if n_live == 0:
            return True
        if not is_fair:
            _share(paths, capacity, ceiling, count, live, n_live, rising, rate, bottleneck)
            for link in range(n_links):
                held[link] = 0
            for i in range(n_live):
                held[bottleneck[live[i]]] += 1
        step_s = np.inf
        for i in range(n_live):
            step_s = min(step_s, left[live[i]] / rate[live[i]])
        now += step_s
        for i in range(n_live):
            flow = live[i]
            if left[flow] <= rate[flow] * step_s * (1 + SAME):
                left[flow], taken_s[flow] = 0.0, now
                held[bottleneck[flow]] -= 1
            else:
                left[flow] -= rate[flow] * step_s
        n_before, n_live, is_fair = n_live, 0, True
        for i in range(n_before):
            flow = live[i]
            if left[flow] > 0:
                live[n_live] = flow
                n_live += 1
                continue
            for hop in range(n_hops):
                link = paths[flow, hop]
                if link >= 0:
                    count[link] -= 1
                    is_fair &= held[link] == 0  # else who is held there may have more now
    return n_live == 0


@njit(cache=True)
def _share(
    paths: Any, capacity: Any, ceiling: Any, count: Any, live: Any, n_live: int, rising: Any, rate: Any, bottleneck: Any
) -> None:
    """Raise all live flows alike; those that meet a full link, or their ceiling, stop there."""
    n_links, n_hops = len(capacity), paths.shape[1]
    room, n_rising, is_full = np.empty(n_links), np.empty(n_links, dtype=np.int32), np.zeros(n_links, dtype=np.bool_)
    links, n_open = np.empty(n_links, dtype=np.int32), 0  # with flows that rise
    for link in range(n_links):
        if count[link]:
            room[link], n_rising[link], links[n_open] = capacity[link], count[link], link
            n_open += 1
    n_listed = n_left = n_live
    lowest_ceiling, each = np.inf, len(ceiling) > 1
    for i in range(n_live):
        rising[i], rate[live[i]] = live[i], -1.0
        lowest_ceiling = min(lowest_ceiling, ceiling[live[i] * each])
    first, flows = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
    n_levels = 0
    while n_left:
        n_levels += 1
        level, n_before, n_open = np.inf, n_open, 0
        for i in range(n_before):
            link = links[i]
            if n_rising[link]:
                level = min(level, room[link] / n_rising[link])
                links[n_open] = link
                n_open += 1
        by_ceiling = lowest_ceiling <= level * (1 + SAME)
        level = min(level, lowest_ceiling)
        limit = level * (1 + SAME)
        for i in range(n_open):
            is_full[links[i]] = room[links[i]] <= limit * n_rising[links[i]]
        if by_ceiling or n_levels <= LOOKED_AT:
            n_before, n_listed, lowest_ceiling = n_listed, 0, np.inf
            for i in range(n_before):
                flow = rising[i]
                if rate[flow] >= 0:
                    continue
                meets, at = ceiling[flow * each] <= limit, CEILING
                for hop in range(n_hops):
                    if paths[flow, hop] >= 0 and is_full[paths[flow, hop]]:
                        meets, at = True, paths[flow, hop]
                if meets:
                    _stop(flow, level, at, paths, rate, bottleneck, room, n_rising)
                    n_left -= 1
                else:
                    lowest_ceiling = min(lowest_ceiling, ceiling[flow * each])
                    rising[n_listed] = flow
                    n_listed += 1
        else:
            if len(first) == 0:
                first, flows = _on_links(paths, rising, n_listed, n_links)
            for i in range(n_open):
                if is_full[links[i]]:
                    for place in range(first[links[i]], first[links[i] + 1]):
                        if rate[flows[place]] < 0:
                            _stop(flows[place], level, links[i], paths, rate, bottleneck, room, n_rising)
                            n_left -= 1
        for i in range(n_open):
            is_full[links[i]] = False


@njit(cache=True)
def _stop(flow: int, level: float, at: int, paths: Any, rate: Any, bottleneck: Any, room: Any, n_rising: Any) -> None:
    rate[flow], bottleneck[flow] = level, at
    for hop in range(paths.shape[1]):
        link = paths[flow, hop]
        if link >= 0:
            room[link] -= level
            n_rising[link] -= 1


@njit(cache=True)
def _on_links(paths: Any, rising: Any, n: int, n_links: int) -> tuple[Any, Any]:
    """Which of the first `n` flows cross each link: where those of a link begin (n_links + 1,), and all of them."""
    first = np.zeros(n_links + 2, dtype=np.int64)
    for i in range(n):
        for hop in range(paths.shape[1]):
            if paths[rising[i], hop] >= 0:
                first[paths[rising[i], hop] + 2] += 1
    for link in range(n_links):
        first[link + 2] += first[link + 1]
    flows = np.empty(first[n_links + 1], dtype=np.int32)
    for i in range(n):
        for hop in range(paths.shape[1]):
            link = paths[rising[i], hop]
            if link >= 0:
                flows[first[link + 1]] = rising[i]
                first[link + 1] += 1
    return first, flows
