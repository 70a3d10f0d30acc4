"""Flows that begin together, followed until the last has ended: max-min fair shares, again after each end. Compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SAME = 1e-12  # relative: two rates, or two times, that are one
MOST_ROUNDS = 64  # different times at which flows end; with more, following events one by one is as good


@njit(cache=True)
def follow(paths: Any, capacity: Any, n_bytes: Any, ceiling: Any, taken_s: Any) -> bool:
    """How long each flow takes.

    Parameters
    ----------
    paths : array (n_flows, n_hops)
        Links, padded with -1 anywhere.
    capacity : array (n_links,)
        In bytes per second.
    n_bytes, ceiling : array (n_flows,)
        A flow never exceeds its ceiling.
    taken_s : array (n_flows,)
        The answer; 0 for flows without bytes or links.

    Returns
    -------
    bool
        False if flows end at too many different times.
    """
    n_flows, n_hops = paths.shape
    n_links = len(capacity)
    first = np.zeros(n_links + 1, dtype=np.int64)
    left = np.zeros(n_flows)
    running = 0
    for flow in range(n_flows):
        taken_s[flow] = 0.0
        has_link = False
        for hop in range(n_hops):
            if paths[flow, hop] >= 0 and n_bytes[flow] > 0:
                first[paths[flow, hop] + 1] += 1
                has_link = True
        if has_link:
            left[flow] = n_bytes[flow]
            running += 1
    if _alike(paths, capacity, n_bytes, ceiling, first, taken_s):
        return True
    used = np.empty(n_links, dtype=np.int64)
    n_used = 0
    for link in range(n_links):
        if first[link + 1]:
            used[n_used] = link
            n_used += 1
        first[link + 1] += first[link]
    flows, fill, count = (
        np.empty(first[n_links], dtype=np.int32),
        np.empty(n_links, np.int64),
        np.empty(n_links, np.int64),
    )
    for link in range(n_links):
        fill[link], count[link] = first[link], first[link + 1] - first[link]
    live, n_live = np.empty(running, dtype=np.int64), 0
    for flow in range(n_flows):
        if left[flow] > 0:
            live[n_live] = flow
            n_live += 1
            for hop in range(n_hops):
                link = paths[flow, hop]
                if link >= 0:
                    flows[fill[link]] = flow
                    fill[link] += 1
    rate, room, n_open = np.zeros(n_flows), np.zeros(n_links), np.zeros(n_links, dtype=np.int64)
    now = 0.0
    for _ in range(MOST_ROUNDS):
        if n_live == 0:
            return True
        _share(paths, capacity, ceiling, first, flows, count, used, n_used, live, n_live, left, rate, room, n_open)
        step_s = np.inf
        for i in range(n_live):
            step_s = min(step_s, left[live[i]] / rate[live[i]])
        now += step_s
        kept = 0
        for i in range(n_live):
            flow = live[i]
            if left[flow] <= rate[flow] * step_s * (1 + SAME):
                left[flow], taken_s[flow] = 0.0, now
                for hop in range(n_hops):
                    if paths[flow, hop] >= 0:
                        count[paths[flow, hop]] -= 1
            else:
                left[flow] -= rate[flow] * step_s
                live[kept] = flow
                kept += 1
        n_live = kept
    return n_live == 0


@njit(cache=True)
def _alike(paths: Any, capacity: Any, n_bytes: Any, ceiling: Any, first: Any, taken_s: Any) -> bool:
    """The common case: all flows are equally large and meet links that are full at one rate.

    ``first[link + 1]`` is the number of flows on a link.
    """
    level, size = np.inf, 0.0
    for link in range(len(capacity)):
        if first[link + 1]:
            level = min(level, capacity[link] / first[link + 1])
    limit = level * (1 + SAME)
    for flow in range(len(paths)):
        crosses = meets = False
        for hop in range(paths.shape[1]):
            link = paths[flow, hop]
            if link >= 0 and first[link + 1]:
                crosses = True
                meets |= capacity[link] <= limit * first[link + 1]
        if n_bytes[flow] > 0 and crosses:
            size = n_bytes[flow] if size == 0 else size
            if not meets or n_bytes[flow] != size or ceiling[flow] < level:
                return False
            taken_s[flow] = size / level
    return True


@njit(cache=True)
def _share(
    paths: Any,
    capacity: Any,
    ceiling: Any,
    first: Any,
    flows: Any,
    count: Any,
    used: Any,
    n_used: int,
    live: Any,
    n_live: int,
    left: Any,
    rate: Any,
    room: Any,
    n_open: Any,
) -> None:
    """Raise all live flows alike; those that meet a full link, or their ceiling, stop there."""
    n_hops = paths.shape[1]
    links = np.empty(n_used, dtype=np.int64)
    n_links = 0
    for i in range(n_used):
        link = used[i]
        if count[link]:
            room[link], n_open[link] = capacity[link], count[link]
            links[n_links] = link
            n_links += 1
    lowest_ceiling = np.inf
    for i in range(n_live):
        rate[live[i]] = -1.0
        lowest_ceiling = min(lowest_ceiling, ceiling[live[i]])
    n_left = n_live
    while n_left:
        level = np.inf
        kept = 0
        for i in range(n_links):
            link = links[i]
            if n_open[link]:
                level = min(level, room[link] / n_open[link])
                links[kept] = link
                kept += 1
        n_links = kept
        if lowest_ceiling <= level * (1 + SAME):
            level = min(level, lowest_ceiling)
            lowest_ceiling = np.inf
            for i in range(n_live):
                flow = live[i]
                if rate[flow] < 0:
                    if ceiling[flow] <= level * (1 + SAME):
                        n_left -= 1
                        _stop(flow, level, paths, n_hops, rate, room, n_open)
                    else:
                        lowest_ceiling = min(lowest_ceiling, ceiling[flow])
        for i in range(n_links):
            full = links[i]
            if n_open[full] and room[full] <= level * n_open[full] * (1 + SAME):
                for place in range(first[full], first[full + 1]):
                    flow = flows[place]
                    if left[flow] > 0 and rate[flow] < 0:
                        n_left -= 1
                        _stop(flow, level, paths, n_hops, rate, room, n_open)


@njit(cache=True)
def _stop(flow: int, level: float, paths: Any, n_hops: int, rate: Any, room: Any, n_open: Any) -> None:
    rate[flow] = level
    for hop in range(n_hops):
        link = paths[flow, hop]
        if link >= 0:
            room[link] -= level
            n_open[link] -= 1
