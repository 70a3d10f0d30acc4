"""Pieces of routes: arrays (n, n_hops) of link numbers, padded with NO_LINK; and the choice by a seeded hash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commsim.selection import Ints
from commsim.topology import NO_LINK


def packed(*parts: Ints) -> Ints:
    """Parts of routes one after the other, arrays (n, any) or (n,), without the gaps; padding last."""
    hops = np.concatenate([part[:, None] if part.ndim == 1 else part for part in parts], axis=1)
    used = hops != NO_LINK
    lengths = used.sum(axis=1)
    out = np.full((len(hops), int(lengths.max(initial=0))), NO_LINK)
    out[np.arange(out.shape[1]) < lengths[:, None]] = hops[used]
    return out


def where(taken: NDArray[np.bool_], links: Ints) -> Ints:
    """The links where they are taken, NO_LINK elsewhere."""
    return np.where(taken, links, NO_LINK)


def shifted(links: Ints, by: int) -> Ints:
    """Link numbers raised by a constant, padding kept."""
    return np.where(links == NO_LINK, NO_LINK, links + by)


def pick(n: int, *words: Ints | int) -> Ints:
    """A number from 0 to n-1 for each row of the words, evenly spread; the same on any machine.

    SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), chained over words.
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        bits = np.uint64(word % 2**64) if isinstance(word, int) else word.astype(np.uint64)
        state = _mixed(state ^ bits)
    return (state % np.uint64(n)).astype(np.int64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
