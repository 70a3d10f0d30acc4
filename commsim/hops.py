"""Compiled passes over messages and routes: arrays (n, n_hops) of link numbers, padded with -1.

What they take of each message is an array (n,), or (1,) where it is the same for all.
"""

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


@njit(cache=True)
def along(hops: Any, latency_s: Any, bandwidth_Bps: Any, latency: Any, slowest: Any) -> None:
    """Of each route the sum of latencies and the slowest link, written into two arrays (n,)."""
    for row in range(hops.shape[0]):
        latency[row], slowest[row] = 0.0, np.inf
        for hop in range(hops.shape[1]):
            link = hops[row, hop]
            if link >= 0:
                latency[row] += latency_s[link]
                slowest[row] = min(slowest[row], bandwidth_Bps[link])


@njit(cache=True)
def ends(hops: Any, first: Any, last: Any) -> None:
    """Of each route the first link and the last, or -1, written into two arrays (n,)."""
    for row in range(hops.shape[0]):
        first[row] = last[row] = -1
        for hop in range(hops.shape[1]):
            if hops[row, hop] >= 0:
                last[row] = hops[row, hop]
                if first[row] < 0:
                    first[row] = last[row]


@njit(cache=True)
def is_any_twice(hops: Any, n_links: int) -> bool:
    """Whether some link stands twice in the routes."""
    seen = np.zeros(n_links, dtype=np.bool_)
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            link = hops[row, hop]
            if link >= 0:
                if seen[link]:
                    return True
                seen[link] = True
    return False


@njit(cache=True)
def add_up(hops: Any, amount: Any, total: Any) -> None:
    """Add the amount of each route to all of its links' totals (n_links,)."""
    each = len(amount) > 1
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            if hops[row, hop] >= 0:
                total[hops[row, hop]] += amount[row * each]


@njit(cache=True)
def raise_to(hops: Any, value: Any, highest: Any) -> None:
    """Raise what stands at all links of each route (n_links,) to at least its value."""
    each = len(value) > 1
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            link = hops[row, hop]
            if link >= 0 and highest[link] < value[row * each]:
                highest[link] = value[row * each]


@njit(cache=True)
def is_reached(hops: Any, value: Any, highest: Any) -> bool:
    """Whether what stands at some link of a route is above the route's value."""
    each = len(value) > 1
    for row in range(hops.shape[0]):
        for hop in range(hops.shape[1]):
            if hops[row, hop] >= 0 and highest[hops[row, hop]] > value[row * each]:
                return True
    return False


@njit(cache=True)
def paired(
    send_src: Any, send_dst: Any, receive_src: Any, receive_dst: Any, n_ranks: int, place: Any, order: Any
) -> int:
    """For each receive the number of its send, by a table that has a place for each source, or for each pair.

    Parameters
    ----------
    send_src, send_dst, receive_src, receive_dst : array (n,)
    n_ranks : int
    place : array (n_ranks,) or (n_ranks**2,)
        All -1. One for each source will do where no source sends twice.
    order : array (n,)
        The answer.

    Returns
    -------
    int
        1 where the answer is 0, 1, 2, …; 0 where it is not; -1 where sends and receives do not match one to one in this
        table, or an end is no rank.
    """
    by_source = len(place) == n_ranks
    for i in range(len(send_src)):
        src, dst = send_src[i], send_dst[i]
        if min(src, dst) < 0 or max(src, dst) >= n_ranks:
            return -1
        at = src if by_source else src * n_ranks + dst
        if place[at] >= 0:
            return -1
        place[at] = i
    is_same = 1
    for i in range(len(receive_src)):
        src, dst = receive_src[i], receive_dst[i]
        if min(src, dst) < 0 or max(src, dst) >= n_ranks:
            return -1
        at = src if by_source else src * n_ranks + dst
        send = place[at]
        if send < 0 or send_dst[send] != dst:
            return -1
        order[i], place[at] = send, -1
        if send != i:
            is_same = 0
    return is_same


@njit(cache=True)
def settle(
    src: Any, dst: Any, released_s: Any, delivered_s: Any, cost_s: Any, reduces: Any, done_s: Any, reduction_s: Any
) -> None:
    """When each rank has ended a step: it has sent, received, and reduced one message after the other, in order.

    Parameters
    ----------
    src, dst : array (n_messages,)
    released_s, delivered_s, cost_s, reduces : array (n_messages,) or (1,)
        ``cost_s`` is that of the reduction, where there is one.
    done_s : array (n_ranks,)
        When it entered the step; the answer.
    reduction_s : array (n_ranks,)
        Grows by what it has reduced.
    """
    free_s = np.zeros(len(done_s))
    released, delivered, cost = len(released_s) > 1, len(delivered_s) > 1, len(cost_s) > 1
    reduce = len(reduces) > 1
    for m in range(len(src)):
        done_s[src[m]] = max(done_s[src[m]], released_s[m * released])
        end_s, rank = delivered_s[m * delivered], dst[m]
        if reduces[m * reduce]:
            end_s = free_s[rank] = max(free_s[rank], end_s) + cost_s[m * cost]
            reduction_s[rank] += cost_s[m * cost]
        done_s[rank] = max(done_s[rank], end_s)
