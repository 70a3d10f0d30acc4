"""Butterflies: in every round each rank meets one other (or radix - 1 others), and what both know doubles.

The classic ones meet across one bit (digit) of the rank's number. Those of Swing and Bine meet at the distances
1, -1, 3, -5, 11 … = ``(1 - (-2)^(s+1)) / 3``, even ranks in one direction and odd ones in the other. Numbers of ranks
that a butterfly does not take are folded first: neighbours act as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from collectives.helpers import fold_edges, halvings, largest_power_of_two, left_after_fold, mirrored, rounds
from commsim import PROC_NULL, Constraint, Program, Rank, Selection, Step, chunk, chunks, exchange, where, within
from commsim.selection import Ints

Blocks: TypeAlias = Callable[[Any, Any], Selection]
"""``blocks(first, length)``: the chunks of consecutive ranks (or labels)."""


def _bad_radix(n_ranks: int, *, radix: int, **others: Any) -> str | None:
    return None if radix >= 2 else f"radix={radix} must be at least 2: so many times as much is known after each round"


def _bad_variant(n_ranks: int, *, variant: str, **others: Any) -> str | None:
    known = ("bandwidth", "latency")
    return None if variant in known else f"there is no variant={variant}; use {' or '.join(known)}"


RADIX = Constraint("radix", _bad_radix)
VARIANT = Constraint("variant", _bad_variant)


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
            dst, src = (rank + ((digit + way) % ways - digit) * distance for way in (offset, -offset))
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
    for step, half in reversed(list(enumerate(halvings(n_ranks)))):
        joint = np.minimum(lowest, lowest[swing_peer(rank, step, n_ranks)])
        label += half * (joint != lowest)
        lowest = joint
    return label


def swing_allgather(rank: Rank, n_ranks: int, *, blocks: Blocks = chunks) -> Iterator[Step]:
    """Every rank begins with the block of its label; far distances first, while messages are small."""
    label = swing_labels(n_ranks)
    for step, half in reversed(list(enumerate(halvings(n_ranks)))):
        peer = swing_peer(rank, step, n_ranks)
        mine, theirs = label[rank] & -half, label[peer] & -half
        yield [exchange(peer, peer, send=blocks(mine, half), receive=blocks(theirs, half))]


def bine_tree(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """Broadcast of chunk 0 from rank 0, the way of its block in :func:`swing_allgather`."""
    label = swing_labels(n_ranks)[rank]
    for step, half in reversed(list(enumerate(halvings(n_ranks)))):
        peer = swing_peer(rank, step, n_ranks)
        dst, src = where(label < half, peer, PROC_NULL), where((label >= half) & (label < 2 * half), peer, PROC_NULL)
        yield [exchange(dst, src, send=chunk(0), receive=chunk(0))]


def there_and_back(rank: Rank, n_ranks: int, allgather: Program) -> Iterator[Step]:
    """Allreduce: the mirror of an allgather, which is a reduce-scatter, then the allgather."""
    yield from mirrored(rank, n_ranks, allgather, reduce=True)
    yield from allgather(rank, n_ranks)


def within_left(rank: Rank, n_ranks: int, root: int, left: int, program: Program) -> Iterator[Step]:
    """A program of `left` ranks, the first of each pair and those without a partner, counted from `root` on."""
    stay = (root + first_block(np.arange(left), n_ranks - left)) % n_ranks
    yield from within([stay.tolist()], rank, program)


def to_partners(rank: Rank, n_ranks: int, root: int, left: int, n_chunks: int) -> Iterator[Step]:
    """The whole vector from the first to the second of each pair, counted as for :func:`within_left`."""
    if left < n_ranks:
        virtual = (rank - root) % n_ranks
        up, down = (where(to >= 0, (to + root) % n_ranks, PROC_NULL) for to in fold_edges(virtual, n_ranks, left))
        yield [exchange(up, down, send=chunks(0, n_chunks), receive=chunks(0, n_chunks))]


def first_block(index: Any, extra: int) -> Any:
    """The first block of the one with this index among those left after folding `extra` pairs."""
    return index + np.minimum(index, extra)


def folded_blocks(extra: int) -> Blocks:
    """The blocks of those that are left after folding `extra` pairs: two of each pair, one of each of the others."""

    def blocks(first: Any, length: Any) -> Selection:
        begin = first_block(first, extra)
        return chunks(begin, first_block(first + length, extra) - begin)

    return blocks


def placed(rank: Rank, n_ranks: int, label: Ints) -> Iterator[Step]:
    """Every block from its rank to the one of those left after folding that has the number of its pair as label."""
    left = len(label)
    extra, stays, holder = n_ranks - left, left_after_fold(n_ranks, left), np.argsort(label)
    index = where(rank < 2 * extra, rank // 2, rank - extra)  # of the pair, among those that are left
    goes_on = (rank >= 2 * extra) | (rank % 2 == 1)
    home, wanted = stays[holder[index]], label[index]
    moves, takes = goes_on & (wanted != index), goes_on & (wanted < extra)
    step = []
    if (holder != np.arange(left)).any():
        dst, src = where(moves, home, PROC_NULL), where(moves, stays[wanted], PROC_NULL)
        step.append(exchange(dst, src, send=chunk(rank), receive=chunk(stays[wanted])))
    if extra:
        dst, src = where(goes_on, PROC_NULL, home), where(takes, 2 * wanted, PROC_NULL)
        step.append(exchange(dst, src, send=chunk(rank), receive=chunk(2 * wanted)))
    if step:
        yield step


def allgather_on_any(rank: Rank, n_ranks: int, allgather: Program, label: Ints) -> Iterator[Step]:
    """``allgather(rank, n_ranks, blocks=...)`` for as many ranks as there are labels, on up to twice as many."""
    yield from placed(rank, n_ranks, label)
    yield from _gathered(rank, n_ranks, allgather, len(label))


def reduce_scatter_on_any(rank: Rank, n_ranks: int, allgather: Program, label: Ints) -> Iterator[Step]:
    """The mirror of :func:`allgather_on_any`."""
    yield from mirrored(rank, n_ranks, lambda r, n: _gathered(r, n, allgather, len(label)), reduce=True)
    yield from mirrored(rank, n_ranks, lambda r, n: placed(r, n, label), reduce=False)


def _gathered(rank: Rank, n_ranks: int, allgather: Program, left: int) -> Iterator[Step]:
    blocks = folded_blocks(n_ranks - left)
    yield from within([left_after_fold(n_ranks, left).tolist()], rank, lambda r, n: allgather(r, n, blocks=blocks))
    up, down = fold_edges(rank, n_ranks, left)
    if left < n_ranks:
        everything = chunks(0, n_ranks)
        yield [exchange(down, up, send=everything, receive=everything)]


def on_any_cost_s(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, labelled: bool) -> float:
    """Of the two above (gamma 0: the allgather); ``labelled``: where labels are not the ranks' own numbers.

    The range of labels that begins at 0 has the most pairs, and is on the critical path in all rounds.
    """
    left = largest_power_of_two(n_ranks)
    extra, block_bytes = n_ranks - left, n_bytes / n_ranks
    time_s = sum(alpha + (half + min(half, extra)) * block_bytes * (beta + gamma) for half in halvings(left))
    if extra:
        time_s += alpha + n_bytes * (beta + gamma)
    if extra or (labelled and left > 2):
        time_s += alpha + (2 if labelled and extra > 1 else 1) * block_bytes * beta
    return time_s
