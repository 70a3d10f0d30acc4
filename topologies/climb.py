"""The routes of :mod:`topologies.fat_tree`, compiled."""

from __future__ import annotations

from typing import Any

from numba import njit


@njit(cache=True)
def highest(src: Any, dst: Any, down: Any) -> int:
    """The level of the highest switch on any route; 0 where none leaves its host."""
    level, size = 0, 1  # hosts below a switch of this level
    for row in range(len(src)):
        while src[row] // size != dst[row] // size:
            size *= down[level]
            level += 1
            if level == len(down):
                return level
    return level


@njit(cache=True)
def climb(
    src: Any, dst: Any, turns: Any, hops: Any, down: Any, up: Any, parallel: Any, copies: Any, cables: Any
) -> None:
    """Up to the first common subtree and down again.

    Parameters
    ----------
    src, dst : array (n,)
        Hosts.
    turns : array (n, n_levels) or (0, n_levels)
        Which way each route takes upwards: over all parents first, then over their cables. Without rows it is D-mod-k:
        a digit of the destination (Zahavi: D-mod-k routing providing non-blocking traffic for shift permutations on fat
        trees, 2010).
    hops : array (n, 2 * highest)
        The answer: links, padded with -1.
    down, up, parallel, copies, cables : array (n_levels,)
        Of each level: children, parents, cables between the two, copies of a vertex, cables of the level.
    """
    n, width = hops.shape
    for row in range(n):
        a, b = src[row], dst[row]  # subtrees of the level
        copy, base, height, digits = 0, 0, 0, dst[row]
        while a != b:
            turn = turns[row, height] if len(turns) else digits % (up[height] * parallel[height])
            digits //= up[height]
            which, cable = turn % up[height], turn // up[height]
            ports, port = up[height] * parallel[height], which * parallel[height] + cable
            hops[row, height] = base + (a * copies[height] + copy) * ports + port
            hops[row, width - 1 - height] = base + cables[height] + (b * copies[height] + copy) * ports + port
            copy += which * copies[height]
            base += 2 * cables[height]
            a //= down[height]
            b //= down[height]
            height += 1
        for level in range(height):  # downwards, behind the way up
            hops[row, height + level] = hops[row, width - height + level]
        for hop in range(2 * height, width):
            hops[row, hop] = -1
