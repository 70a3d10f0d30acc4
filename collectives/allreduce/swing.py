"""Swing allreduce: ranks of a ring meet at the distances 1, 1, 3, 5, 11 …, now on one side and now on the other.

``latency`` swaps whole vectors, on a power of two of ranks; others fold. ``bandwidth`` is a reduce-scatter and an
allgather on any even number; of an odd one the first two fold. From the paper: peers and variants. Derived here: the
folding, and which blocks are sent: each spreads from its rank, through the steps backwards, to peers that lack it, so
that no rank gets one twice where p is no power of two. They are listed one by one (p*p/2 numbers in the largest step);
on a power of two chunks are numbered as in bine.py, so that they are ranges. ``latency`` takes the paper's steps
backwards, so that all ranks end with the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from collectives.butterflies import (
    VARIANT,
    swing_allgather,
    swing_distance,
    swing_peer,
    swing_whole_vectors,
    there_and_back,
)
from collectives.helpers import fold_cost_s, folded, largest_power_of_two, rounds
from commsim import COMMUTATIVE, Rank, Selection, Step, algorithm, exchange, listed, where
from commsim.selection import Ints


def _left(n_ranks: int, *, variant: str) -> int:
    """Ranks that go on after folding."""
    even = max(n_ranks - n_ranks % 2, 1)
    return even if variant == "bandwidth" else largest_power_of_two(n_ranks)


def _n_chunks(n_ranks: int, *, variant: str) -> int:
    return _left(n_ranks, variant=variant) if variant == "bandwidth" else 1


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, variant: str) -> float:
    """latency: L(α + nβ + nγ), q = 2^L; bandwidth: 2Lα + (q-1)/q·n(2β + γ), q even; plus 2α + 2nβ + nγ unless q = p"""
    left, n = _left(n_ranks, variant=variant), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma, left)
    if variant == "latency":
        return rounds(left) * (alpha + n * (beta + gamma)) + fold
    return 2 * rounds(left) * alpha + (left - 1) / left * n * (2 * beta + gamma) + fold


def _first_arrivals(n_ranks: int) -> list[Ints]:
    """For each step of Swing, the blocks that an even rank, counted from itself, gets in that step of the allgather."""
    held, arrivals = np.zeros(1, dtype=np.int64), []
    for step in reversed(range(rounds(n_ranks))):
        new = np.setdiff1d((swing_distance(step) - held) % n_ranks, held)
        held = np.union1d(held, new)
        arrivals.append(new)
    return arrivals[::-1]


def _listed_blocks(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """Not :func:`there_and_back`, which would keep the lists of all steps."""

    def arriving(who: Rank, new: Ints) -> Selection:
        return listed((np.asarray(who)[..., None] + np.multiply.outer(where(who % 2 == 0, 1, -1), new)) % n_ranks)

    arrivals = list(enumerate(_first_arrivals(n_ranks)))
    for step, new in arrivals:
        peer = swing_peer(rank, step, n_ranks)
        yield [exchange(peer, peer, send=arriving(rank, new), receive=arriving(peer, new), reduce=True)]
    for step, new in reversed(arrivals):
        peer = swing_peer(rank, step, n_ranks)
        yield [exchange(peer, peer, send=arriving(peer, new), receive=arriving(rank, new))]


@algorithm(
    "allreduce",
    chunks=_n_chunks,
    cost=cost,
    constraints=(COMMUTATIVE, VARIANT),
    source="De Sensi, Bonato, Saam, Hoefler: Swing: short-cutting rings for higher bandwidth allreduce, NSDI 2024",
)
def swing(rank: Rank, n_ranks: int, *, variant: str = "bandwidth") -> Iterator[Step]:
    def butterfly(rank: Rank, left: int) -> Iterator[Step]:
        if variant == "latency":
            yield from swing_whole_vectors(rank, left)
        elif left == largest_power_of_two(left):
            yield from there_and_back(rank, left, swing_allgather)
        else:
            yield from _listed_blocks(rank, left)

    left = _left(n_ranks, variant=variant)
    yield from folded(rank, n_ranks, butterfly, n_chunks=_n_chunks(n_ranks, variant=variant), left=left)
