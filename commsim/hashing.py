"""A seeded hash: the same number on any machine and with any version of numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commsim.selection import Ints


def mixed(*words: Ints | int) -> NDArray[np.uint64]:
    """64 bits for each row of the words, arrays (n,) or numbers.

    SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014), chained over words.
    """
    state = np.zeros(1, dtype=np.uint64)
    for word in words:
        bits = np.uint64(word % 2**64) if isinstance(word, int) else np.asarray(word).astype(np.uint64)
        state = _scrambled(state ^ bits)
    return state


def _scrambled(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
