"""Ranks as a grid: a reduce-scatter along one dimension after the other, and an allgather back.

Of a shape (4, 2), rank = x + 4y: the first dimension is the one that varies fastest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod

from commsim import Algorithm, Rank, Step, Window, within

Shape = tuple[int, ...]


def written(shape: Shape) -> str:
    """As users write it: ``4x2``."""
    return "x".join(map(str, shape))


def near_square(n_ranks: int) -> Shape:
    """Two factors as near to each other as can be, the smaller first."""
    smaller = max(d for d in range(1, n_ranks + 1) if n_ranks % d == 0 and d * d <= n_ranks)
    return smaller, n_ranks // smaller


def nearest_shape(n_ranks: int, shape: Shape) -> Shape:
    """A shape whose sizes divide `n_ranks`, each the nearest to that of `shape`."""
    found, rest = [], n_ranks
    for size in shape:
        found.append(min((d for d in range(1, rest + 1) if rest % d == 0), key=lambda d: (abs(d - size), d)))
        rest //= found[-1]
    return tuple(found)


def lines(n_ranks: int, shape: Shape, dimension: int) -> list[range]:
    """The ranks that differ in one coordinate only, in its order; one line for each of them."""
    size, stride = shape[dimension], prod(shape[:dimension])
    starts = (first + low for first in range(0, n_ranks, size * stride) for low in range(stride))
    return [range(start, start + size * stride, stride) for start in starts]


def inside(groups: Sequence[Sequence[int]], rank: Rank, inner: Algorithm, first: Rank, n_chunks: int) -> Iterator[Step]:
    """Run an algorithm in groups of one size, on the `n_chunks` chunks from `first` on (an array: of each rank)."""
    chosen = inner.resolved(len(groups[0]))
    n_inner = chosen.space(len(groups[0])).n_data
    window = Window(first, n_inner, n_chunks // n_inner)
    yield from within(groups, rank, lambda r, n: chosen.program(r, n, **chosen.params), window)


def there_and_back(
    rank: Rank,
    shape: Shape,
    order: Sequence[int],
    halves: tuple[Algorithm, Algorithm],
    middle: Callable[[Rank, int], Iterator[Step]],
    first: Rank,
    n_chunks: int,
    *,
    backwards: bool = False,
) -> Iterator[Step]:
    """Reduce-scatter along the dimensions in this order, do `middle` with what each rank is left with, allgather back.

    Parameters
    ----------
    rank : int or array
    shape : tuple of int
        Of all ranks.
    order : sequence of int
        Dimensions.
    halves : (Algorithm, Algorithm)
        A reduce_scatter and an allgather.
    middle : callable
        ``middle(first, n_chunks)``: the steps between them, on these chunks of each rank.
    first : int or array
        First of the chunks to begin with.
    n_chunks : int
        How many they are.
    backwards : bool
        Whether lines are walked from their last rank to their first.
    """
    if not order:
        yield from middle(first, n_chunks)
        return
    dimension, *others = order
    size, stride = shape[dimension], prod(shape[:dimension])
    groups = [line[:: -1 if backwards else 1] for line in lines(prod(shape), shape, dimension)]
    place = rank // stride % size
    piece, mine = n_chunks // size, size - 1 - place if backwards else place
    yield from inside(groups, rank, halves[0], first, n_chunks)
    yield from there_and_back(rank, shape, others, halves, middle, first + mine * piece, piece, backwards=backwards)
    yield from inside(groups, rank, halves[1], first, n_chunks)
