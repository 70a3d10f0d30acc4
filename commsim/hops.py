"""Compiled passes over messages and routes: arrays (n, n_hops) of link numbers, padded with -1."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def pack(hops: Any) -> int:
    """Move the padding of each route behind its links, in place; the longest route's number of links."""
    n, width = hops.shape
    longest = 0
    for row in range(n):
        kept = 0
        for hop in range(width):
            link = hops[row, hop]
            if link >= 0:
                if kept < hop:
                    hops[row, hop] = -1
                    hops[row, kept] = link
                kept += 1
        longest = max(longest, kept)
    return longest


def ends(hops: Any, latency_s: Any, bandwidth_Bps: Any) -> tuple[Any, Any, Any, Any]:
    """Of each route the sum of latencies, the slowest link, the first link and the last: four arrays (n,)."""
    n = len(hops)  # arrays are made outside of compiled code: numpy asks the system for large pages
    found = np.zeros(n), np.full(n, np.inf), np.full(n, -1), np.full(n, -1)
    _ends(hops, latency_s, bandwidth_Bps, *found)
    return found


@njit(cache=True)
def _ends(hops: Any, latency_s: Any, bandwidth_Bps: Any, latency: Any, slowest: Any, first: Any, last: Any) -> None:
    n, width = hops.shape
    for row in range(n):
        for hop in range(width):
            link = hops[row, hop]
            if link >= 0:
                latency[row] += latency_s[link]
                slowest[row] = min(slowest[row], bandwidth_Bps[link])
                if first[row] < 0:
                    first[row] = link
                last[row] = link


@njit(cache=True)
def most_on_one(hops: Any, n_links: int) -> int:
    """The most times that any link stands in the routes."""
    count = np.zeros(n_links, dtype=np.int64)
    most = 0
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            link = hops[row, hop]
            if link >= 0:
                count[link] += 1
                most = max(most, count[link])
    return most


@njit(cache=True)
def add_up(hops: Any, amount: Any, total: Any) -> None:
    """Add the amount of each route (n,) to all of its links' totals (n_links,)."""
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            if hops[row, hop] >= 0:
                total[hops[row, hop]] += amount[row]


@njit(cache=True)
def raise_to(hops: Any, value: Any, highest: Any) -> None:
    """Raise what stands at all links of each route (n_links,) to at least its value (n,)."""
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            link = hops[row, hop]
            if link >= 0 and highest[link] < value[row]:
                highest[link] = value[row]


@njit(cache=True)
def is_reached(hops: Any, value: Any, highest: Any) -> bool:
    """Whether what stands at some link of a route is above the route's value."""
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            if hops[row, hop] >= 0 and highest[hops[row, hop]] > value[row]:
                return True
    return False


@njit(cache=True)
def settle(
    src: Any, dst: Any, released_s: Any, delivered_s: Any, cost_s: Any, reduces: Any, done_s: Any, reduction_s: Any
) -> None:
    """When each rank has ended a step: it has sent, received, and reduced one message after the other, in order.

    Parameters
    ----------
    src, dst, released_s, delivered_s, cost_s, reduces : array (n_messages,)
        ``cost_s`` is that of the reduction, where there is one.
    done_s : array (n_ranks,)
        When it entered the step; the answer.
    reduction_s : array (n_ranks,)
        Grows by what it has reduced.
    """
    free_s = np.zeros(len(done_s))
    for m in range(len(src)):
        done_s[src[m]] = max(done_s[src[m]], released_s[m])
        end_s, rank = delivered_s[m], dst[m]
        if reduces[m]:
            end_s = free_s[rank] = max(free_s[rank], end_s) + cost_s[m]
            reduction_s[rank] += cost_s[m]
        done_s[rank] = max(done_s[rank], end_s)
