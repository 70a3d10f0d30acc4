"""Adaptive routing, compiled: route after route, at every turn over the link that carries the least so far."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(cache=True)
def least_loaded(
    start: Any, dst: Any, base: Any, candidates: Any, first: Any, order: Any, head: Any, load: Any, cost: Any, most: int
) -> Any:
    """Routes (n, most) and whether each pair has one; `load` (n_links,) grows by `cost` for each route.

    The other arrays are those of the table of ways in :mod:`commsim.routing`.
    """
    hops = np.full((len(dst), most), -1)
    found = np.ones(len(dst), dtype=np.bool_)
    for row in range(len(dst)):
        vertex, hop = start[row], 0
        while vertex != dst[row]:
            low = np.searchsorted(candidates, base[row] + first[vertex])
            high = np.searchsorted(candidates, base[row] + first[vertex + 1])
            if low == high or hop == hops.shape[1]:
                found[row] = False
                break
            best, place = -1, -1
            for at in range(low, high):
                link = order[candidates[at] - base[row]]
                if best < 0 or load[link] < load[best]:
                    best, place = link, candidates[at] - base[row]
            load[best] += cost[best]
            hops[row, hop] = best
            hop += 1
            vertex = head[place]
    return hops, found
