"""Ranks as a grid, and as nodes of neighbouring ranks.

Of a shape (4, 2), rank = x + 4y: the first dimension is the one that varies fastest. Its lines are nodes of 4 ranks,
those of the second are rails: the ranks of one index in all nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt, prod
from typing import TypeAlias

Shape: TypeAlias = tuple[int, ...]


def as_shape(size: int | Shape) -> Shape:
    """A size alone is one dimension."""
    return (size,) if isinstance(size, int) else size


def written(shape: Shape) -> str:
    """As users write it: ``4x2``."""
    return "x".join(map(str, shape))


def near_square(n_ranks: int) -> Shape:
    """Two factors as near to each other as can be, the smaller first."""
    smaller = max(d for d in range(1, isqrt(n_ranks) + 1) if n_ranks % d == 0)
    return smaller, n_ranks // smaller


def nearest_shape(n_ranks: int, shape: Shape) -> Shape:
    """A shape whose sizes divide `n_ranks`, each the nearest to that of `shape`."""
    found, rest = [], n_ranks
    for size in shape:
        found.append(min((d for d in range(1, rest + 1) if rest % d == 0), key=lambda d: (abs(d - size), d)))
        rest //= found[-1]
    return tuple(found)


def lines(shape: Shape, dimension: int) -> list[Sequence[int]]:
    """The ranks that differ in one coordinate only, in its order; one line for each of them."""
    n_ranks, size, stride = prod(shape), shape[dimension], prod(shape[:dimension])
    starts = (first + low for first in range(0, n_ranks, size * stride) for low in range(stride))
    return [range(start, start + size * stride, stride) for start in starts]


def led_nodes(n_ranks: int, ranks_per_node: int, root: int = 0) -> list[list[int]]:
    """The ranks of every node (the last one maybe smaller), cyclically from its leader on: the root, or the first."""
    starts = range(0, n_ranks, ranks_per_node)
    nodes = [list(range(first, min(first + ranks_per_node, n_ranks))) for first in starts]
    number, place = divmod(root, ranks_per_node)
    nodes[number] = nodes[number][place:] + nodes[number][:place]
    return nodes
