"""Butterflies: in every round each rank meets one other (or radix - 1 others), and what both know doubles.

The classic ones meet across one bit (digit) of the rank's number. Those of Swing and Bine meet at the distances
1, -1, 3, -5, 11 … = ``(1 - (-2)^(s+1)) / 3``, even ranks in one direction and odd ones in the other. Numbers of ranks
that a butterfly does not take are folded first (:mod:`collectives.folding`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from collectives.folding import Blocks
from collectives.helpers import halvings, mirrored, rounds
from commsim import PROC_NULL, Program, Rank, Selection, Step, chunk, chunks, exchange, listed, where
from commsim.selection import Ints


def left_by_radix(n_ranks: int, radix: int) -> int:
    """The largest ``j * radix^m`` with ``j < radix`` that is at most `n_ranks`: more than half of them."""
    power: int = 1
    while power * radix <= n_ranks:
        power *= radix
    return n_ranks // power * power


def digits(n_ranks: int, radix: int) -> list[tuple[int, int]]:
    """``(distance, ways)`` of each digit of a rank's number, lowest first: all to base `radix`, the last maybe less.

    ``n_ranks`` is one of :func:`left_by_radix`.
    """
    found, distance = [], 1
    while distance < n_ranks:
        ways = min(radix, n_ranks // distance)
        found.append((distance, ways))
        distance *= ways
    return found


def swing_distance(step: int) -> int:
    """1, -1, 3, -5, 11 …: whose neighbours are a power of two apart."""
    power: int = (-2) ** (step + 1)
    return (1 - power) // 3


def swing_peer(rank: Rank, step: int, n_ranks: int) -> Rank:
    """The rank at Swing's distance on the ring: of even ranks up, of odd ones down. `n_ranks` is even."""
    return (rank + where(rank % 2 == 0, 1, -1) * swing_distance(step)) % n_ranks


def whole_vectors(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """Allreduce of chunk 0 on a power of two of ranks, one bit after the other; the order of ranks is kept."""
    for half in reversed(halvings(n_ranks)):
        peer = rank ^ half
        yield [exchange(peer, peer, send=chunk(0), receive=chunk(0), reduce=True, received_first=peer < rank)]


def knomial_allgather(rank: Rank, n_ranks: int, *, radix: int = 2, blocks: Blocks = chunks) -> Iterator[Step]:
    """Ranks that differ in one digit swap all that they have, lowest digit first; `n_ranks` as for :func:`digits`."""
    for distance, ways in digits(n_ranks, radix):
        digit = rank // distance % ways
        step = []
        for offset in range(1, ways):
            dst = rank + where(digit < ways - offset, offset, offset - ways) * distance
            src = dst if 2 * offset == ways else rank - where(digit >= offset, offset, offset - ways) * distance
            mine, theirs = (who // distance * distance for who in (rank, src))
            step.append(exchange(dst, src, send=blocks(mine, distance), receive=blocks(theirs, distance)))
        yield step


def knomial_scatter(rank: Rank, n_ranks: int, *, radix: int = 2) -> Iterator[Step]:
    """Chunk r from rank 0 to rank r, one digit after the other, the highest first; `n_ranks` as for :func:`digits`."""
    for distance, ways in reversed(digits(n_ranks, radix)):
        place, step = rank % (distance * ways), []
        for far in range(distance, distance * ways, distance):
            dst, src = where(place == 0, rank + far, PROC_NULL), where(place == far, rank - far, PROC_NULL)
            step.append(exchange(dst, src, send=chunks(rank + far, distance), receive=chunks(rank, distance)))
        yield step


def _far_first(n_ranks: int) -> list[tuple[int, int]]:
    """Swing's steps from the farthest distance to the nearest, each with how many know the same before it."""
    return list(enumerate(halvings(n_ranks)))[::-1]


def swing_whole_vectors(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """Allreduce of chunk 0 on a power of two of ranks.

    Far distances come first: groups of ranks that know the same then nest, and all of a group have added alike, to the
    last bit. (The near ones first take as long, but every rank would add in an order of its own.)
    """
    for step in reversed(range(rounds(n_ranks))):
        peer = swing_peer(rank, step, n_ranks)
        yield [exchange(peer, peer, send=chunk(0), receive=chunk(0), reduce=True)]


def swing_labels(n_ranks: int) -> Ints:
    """Numbers for the ranks, so that whose blocks a rank gathers is always a range of labels (array by rank).

    Backwards through the steps, the ranks that know the same fall into two halves of a range: the half with the lowest
    rank comes first. Rank 0 keeps the label 0. `n_ranks` is a power of two: on others what ranks know overlaps.
    """
    rank = np.arange(n_ranks)
    label, lowest = np.zeros(n_ranks, dtype=np.int64), rank
    for step, half in _far_first(n_ranks):
        joint = np.minimum(lowest, lowest[swing_peer(rank, step, n_ranks)])
        label += half * (joint != lowest)
        lowest = joint
    return label


def swing_allgather(rank: Rank, n_ranks: int, *, blocks: Blocks = chunks) -> Iterator[Step]:
    """Every rank begins with the block of its label; far distances first, while messages are small."""
    label = swing_labels(n_ranks)
    for step, half in _far_first(n_ranks):
        peer = swing_peer(rank, step, n_ranks)
        mine, theirs = label[rank] & -half, label[peer] & -half
        yield [exchange(peer, peer, send=blocks(mine, half), receive=blocks(theirs, half))]


def swing_any_even(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """Allreduce of a chunk for each rank, on an even number of ranks: whose chunks are no ranges, but listed.

    Each chunk spreads from its rank, through the steps backwards, to peers that lack it: no rank gets one twice. This
    is not :func:`there_and_back`, which would keep the lists of all steps.
    """

    def arriving(who: Rank, new: Ints) -> Selection:
        return listed((np.asarray(who)[..., None] + np.multiply.outer(where(who % 2 == 0, 1, -1), new)) % n_ranks)

    arrivals = list(enumerate(_first_arrivals(n_ranks)))
    for step, new in arrivals:
        peer = swing_peer(rank, step, n_ranks)
        yield [exchange(peer, peer, send=arriving(rank, new), receive=arriving(peer, new), reduce=True)]
    for step, new in reversed(arrivals):
        peer = swing_peer(rank, step, n_ranks)
        yield [exchange(peer, peer, send=arriving(peer, new), receive=arriving(rank, new))]


def _first_arrivals(n_ranks: int) -> list[Ints]:
    """For each step of Swing, the chunks that an even rank, counted from itself, gets in that step of the allgather."""
    held, arrivals = np.zeros(1, dtype=np.int64), []
    for step in reversed(range(rounds(n_ranks))):
        new = np.setdiff1d((swing_distance(step) - held) % n_ranks, held)
        held = np.union1d(held, new)
        arrivals.append(new)
    return arrivals[::-1]


def bine_tree(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """Broadcast of chunk 0 from rank 0, the way of its block in :func:`swing_allgather`."""
    label = swing_labels(n_ranks)[rank]
    for step, half in _far_first(n_ranks):
        peer = swing_peer(rank, step, n_ranks)
        dst, src = where(label < half, peer, PROC_NULL), where((label >= half) & (label < 2 * half), peer, PROC_NULL)
        yield [exchange(dst, src, send=chunk(0), receive=chunk(0))]


def there_and_back(rank: Rank, n_ranks: int, allgather: Program, **params: Any) -> Iterator[Step]:
    """Allreduce: the mirror of an allgather, which is a reduce-scatter, then the allgather."""
    yield from mirrored(rank, n_ranks, allgather, reduce=True, **params)
    yield from allgather(rank, n_ranks, **params)
