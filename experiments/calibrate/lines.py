"""Lines ``a + b*bytes`` through measured times, robustly, and the size classes in which they hold."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from commsim.topology import Floats

MAX_CLASSES = 4
MIN_POINTS = 3  # a size class is fitted on at least so many sizes
SOFT = 0.05  # logarithms of residuals beyond count linearly (soft L1), not squared
ROUNDS = 20
EXACT = 1e-9  # relative: lines so near each other are one
FARTHEST = 3.0  # logarithms beyond are cut

Points = list[tuple[int, float]]
Line = tuple[int, float, float]
"""First size in bytes (0 for the first class), a in seconds, b in seconds per byte."""


def size_classes(points: Sequence[tuple[int, float]], least_s: float = 0.0, free_bytes: int = 0) -> list[Line]:
    """Piecewise ``a + b*bytes`` with the least soft-L1 sum of ln(line/measured), and as few pieces as pay.

    Time never falls from one piece to the next. No piece moves a further byte in less than half the time a byte that
    any whole measurement took.

    Parameters
    ----------
    points : sequence of (int, float)
        Bytes, ascending, and seconds.
    least_s : float
        No class has a smaller a.
    free_bytes : int
        So many bytes of every message cost nothing: the burst of links that have rested.
    """
    return list(_size_classes(tuple(points), least_s, free_bytes))


@functools.lru_cache(maxsize=256)
def _size_classes(points: tuple[tuple[int, float], ...], least_s: float, free_bytes: int) -> tuple[Line, ...]:
    n = len(points)
    size, seconds = np.array(points, dtype=float).T
    size = np.maximum(size - free_bytes, 0)
    ends = [(i, j) for i, j in itertools.combinations(range(n + 1), 2) if j - i >= min(MIN_POINTS, n)]
    inside = np.array([[i <= k < j for k in range(n)] for i, j in ends])
    fitted = np.stack(robust_line(size, seconds, least_s, _least_s_per_byte(size, seconds), inside), axis=1)
    pieces = dict(zip(ends, map(tuple, fitted.tolist()), strict=True))
    best = min(
        (
            cuts
            for k in range(1, MAX_CLASSES + 1)
            for cuts in itertools.combinations(range(1, n), k - 1)
            if all(pair in pieces for pair in itertools.pairwise((0, *cuts, n)))
            if all(_begin(pieces, size, *edges) is not None for edges in _triples((0, *cuts, n)))
        ),
        key=lambda cuts: _information(n, len(cuts) + 1, sum(pieces[p][2] for p in itertools.pairwise((0, *cuts, n)))),
    )
    edges = (0, *best, n)
    begins = [0, *(math.ceil(_begin(pieces, size, *three) or 0.0) + free_bytes for three in _triples(edges))]
    return tuple((first, *pieces[pair][:2]) for first, pair in zip(begins, itertools.pairwise(edges), strict=True))


def intervals(
    lines: Sequence[Line],
    sizes: Sequence[int],
    draws: Floats,
    least_s: float = 0.0,
    free_bytes: int = 0,
    level: float = 0.95,
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Confidence intervals of a and b of each class, its sizes as they are.

    Parameters
    ----------
    lines : sequence of Line
    sizes : sequence of int
        That were measured, ascending.
    draws : array (n_draws, n_sizes)
        Seconds, one bootstrap draw a row.
    least_s, free_bytes
        As :func:`size_classes` has them.
    level : float
    """
    size = np.array(sizes, dtype=float)
    last = [line[0] for line in lines[1:]] + [np.inf]
    costly = np.maximum(size - free_bytes, 0)
    least_b = _least_s_per_byte(costly, np.median(draws, axis=0))
    found = []
    for (first, _, _), end in zip(lines, last, strict=True):
        mine = (size >= first) & (size < end)
        a, b, _ = robust_line(costly[mine], draws[:, mine], least_s, least_b)
        edges = ((1 - level) / 2, (1 + level) / 2)
        found.append(tuple(tuple(float(v) for v in np.quantile(values, edges)) for values in (a, b)))
    return found  # type: ignore[return-value]


def bootstrap(samples: Sequence[Floats], n_draws: int, seed: int) -> Floats:
    """Medians of resampled repetitions (n_draws, n_sizes): each size's repetitions are drawn with replacement."""
    rng = np.random.default_rng(seed)
    return np.stack([np.median(own[rng.integers(0, len(own), (n_draws, len(own)))], axis=1) for own in samples], axis=1)


def robust_line(
    size: Floats, seconds: Floats, least_s: float, least_s_per_byte: float, inside: Any = 1.0
) -> tuple[Any, Any, Any]:
    """Intercept, slope and cost of the best line through the sizes `inside`.

    Many at once where `seconds` or `inside` have more rows: (…, n_sizes).

    Soft L1 of ln(line/measured) by iteratively reweighted least squares (Huber, Robust Statistics, 1981, section 7.8).
    """
    u, v = 1 / seconds, size / seconds
    weight = np.ones_like(u) * inside
    for _ in range(ROUNDS):
        a, b = _weighted_line(u, v, weight, least_s, least_s_per_byte)
        off = np.clip(np.log(a[..., None] * u + b[..., None] * v), -FARTHEST, FARTHEST)
        bend = np.sqrt(1 + (off / SOFT) ** 2)
        # of a*u + b*v - 1, the weight whose gradient is that of the logarithm's loss
        steep = np.where(np.abs(off) < 1e-6, 1.0, off / np.where(off == 0, 1.0, np.expm1(off))) / np.exp(off)
        weight = np.sqrt(weight * steep / bend) * inside  # half way, so that it settles
    return a, b, (2 * SOFT**2 * (bend - 1) * inside).sum(axis=-1)


def _weighted_line(u: Floats, v: Floats, weight: Floats, least_s: float, least_b: float) -> tuple[Floats, Floats]:
    """Weighted least squares of ``a*u + b*v = 1`` with a and b no less than given."""
    products = ((u, u), (u, v), (v, v), (u, 1.0), (v, 1.0))
    uu, uv, vv, u1, v1 = ((weight * left * right).sum(axis=-1) for left, right in products)
    det = uu * vv - uv**2
    flat = det <= 1e-12 * uu * vv
    safe = np.where(flat, 1.0, det)
    a = np.where(flat, least_s, (u1 * vv - v1 * uv) / safe)
    low = a < least_s
    a = np.where(low, least_s, a)
    b = np.where(low | flat, (v1 - a * uv) / np.where(vv > 0, vv, 1.0), (v1 * uu - u1 * uv) / safe)
    steep = b < least_b
    b = np.where(steep, least_b, b)
    a = np.where(steep, np.maximum(least_s, (u1 - b * uv) / uu), a)
    return a, b


def _least_s_per_byte(size: Floats, seconds: Floats) -> float:
    return float((seconds[size > 0] / size[size > 0]).min(initial=np.inf)) / 2 if (size > 0).any() else 0.0


def _triples(edges: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    yield from zip(edges, edges[1:], edges[2:], strict=False)


def _begin(
    pieces: dict[tuple[int, int], tuple[float, ...]], size: Floats, begin: int, cut: int, end: int
) -> float | None:
    """From which size on the second class holds, so that a larger message takes no less time; None: from none.

    The first that it was fitted on, where it jumps up there; else where the two lines cross on the way there.
    """
    (a, b, _), (c, d, _) = pieces[begin, cut], pieces[cut, end]
    below, above = float(size[cut - 1]), float(size[cut])
    if a + b * above <= (c + d * above) * (1 + EXACT):
        return above
    return (c - a) / (b - d) if a + b * below <= c + d * below and b > d else None


def _information(n_points: int, n_classes: int, residual: float) -> float:
    """Bayesian information criterion: another class must pay for its three figures. Below 1 % residuals are noise."""
    return n_points * float(np.log(residual / n_points + 1e-4)) + 3 * n_classes * float(np.log(n_points))
