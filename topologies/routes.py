"""Pieces of routes: arrays (n, n_hops) of link numbers, padded with NO_LINK; and the choice by a seeded hash."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from commsim.hashing import mixed
from commsim.selection import Ints
from commsim.topology import NO_LINK, Hops


def packed(*parts: Ints) -> Ints:
    """Parts of routes one after the other, arrays (n, any) or (n,), without the gaps; padding last."""
    from commsim.hops import pack

    hops = np.concatenate([part[:, None] if part.ndim == 1 else part for part in parts], axis=1)
    return hops[:, : pack(hops)]


def where(taken: NDArray[np.bool_], links: Ints) -> Ints:
    """The links where they are taken, NO_LINK elsewhere."""
    return np.where(taken, links, NO_LINK)


def shifted(links: Hops, by: int) -> Ints:
    """Link numbers raised by a constant, padding kept."""
    return np.where(links == NO_LINK, NO_LINK, links.astype(np.int64) + by)


def pick(n: int, *words: Ints | int) -> Ints:
    """A number from 0 to n-1 for each row of the words, evenly spread; the same on any machine.

    The hash is :func:`commsim.hashing.mixed`.
    """
    return (mixed(*words) % np.uint64(n)).astype(np.int64)
