"""Folding: a program for fewer ranks on any number up to twice as many, neighbours acting as one.

Of the ranks below ``2 * extra`` each even one and the next are a pair, ``extra = n_ranks - left``. One of a pair goes
on, and so do the ranks that have no partner.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from collectives.helpers import halvings, largest_power_of_two, mirrored
from commsim import PROC_NULL, Program, Rank, Selection, Step, chunk, chunks, exchange, where, within
from commsim.selection import Ints

Blocks: TypeAlias = Callable[[Any, Any], Selection]
"""``blocks(first, length)``: the chunks of consecutive ranks (or labels)."""


def left_after_fold(n_ranks: int, left: int) -> Ints:
    """The `left` ranks that go on: of every pair the odd one, and those that have no partner."""
    index = np.arange(left)
    return index + np.minimum(index + 1, n_ranks - left)


def first_block(index: Any, extra: int) -> Any:
    """The first rank (and block) of the pair, or of the one without a partner, with this index."""
    return index + np.minimum(index, extra)


def fold_edges(rank: Rank, n_ranks: int, left: int) -> tuple[Rank, Rank]:
    """The partner of an even rank of a pair, and the partner of an odd one."""
    paired = rank < 2 * (n_ranks - left)
    return where(paired & (rank % 2 == 0), rank + 1, PROC_NULL), where(paired & (rank % 2 == 1), rank - 1, PROC_NULL)


def folded(
    rank: Rank,
    n_ranks: int,
    program: Program,
    *,
    n_chunks: int,
    left: int | None = None,
    back: tuple[Selection, Selection] | None = None,
) -> Iterator[Step]:
    """A reducing `program`: the even rank of a pair hands its vector on before, and gets the result after.

    As Thakur, Rabenseifner and Gropp (2005) have it. The order of ranks is kept if the program keeps it.

    Parameters
    ----------
    rank, n_ranks
        As the program that is folded has them.
    program : callable
        ``program(rank, n_ranks)``, called for `left` ranks.
    n_chunks : int
        In the vector.
    left : int, optional
        None: the largest power of two.
    back : (Selection, Selection), optional
        The result that is sent and received after. None: the whole vector.
    """
    left = largest_power_of_two(n_ranks) if left is None else left
    if left == n_ranks:
        yield from program(rank, n_ranks)
        return
    up, down = fold_edges(rank, n_ranks, left)
    everything = chunks(0, n_chunks)
    send, receive = back or (everything, everything)
    yield [exchange(up, down, send=everything, receive=everything, reduce=True, received_first=True)]
    yield from within([left_after_fold(n_ranks, left).tolist()], rank, program)
    yield [exchange(down, up, send=send, receive=receive)]


def fold_cost_s(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, left: int | None = None) -> float:
    """What :func:`folded` adds: nothing where all ranks are left."""
    left = largest_power_of_two(n_ranks) if left is None else left
    return 2 * alpha + 2 * n_bytes * beta + n_bytes * gamma if left < n_ranks else 0.0


def within_left(rank: Rank, n_ranks: int, root: int, left: int, program: Program) -> Iterator[Step]:
    """A program of the first rank of each pair, and of those without a partner, counted from `root` on."""
    stay = (root + first_block(np.arange(left), n_ranks - left)) % n_ranks
    yield from within([stay.tolist()], rank, program)


def to_partners(rank: Rank, n_ranks: int, root: int, left: int, n_chunks: int) -> Iterator[Step]:
    """The whole vector from the first to the second of each pair, counted as for :func:`within_left`."""
    if left < n_ranks:
        virtual = (rank - root) % n_ranks
        up, down = (where(to >= 0, (to + root) % n_ranks, PROC_NULL) for to in fold_edges(virtual, n_ranks, left))
        yield [exchange(up, down, send=chunks(0, n_chunks), receive=chunks(0, n_chunks))]


def allgather_on_any(rank: Rank, n_ranks: int, allgather: Program, label: Ints) -> Iterator[Step]:
    """``allgather(rank, n_ranks, blocks=...)`` for as many ranks as there are labels, on up to twice as many.

    A rank that is left begins with the block, or the two of a pair, that its label is the index of.
    """
    yield from _placed(rank, n_ranks, label)
    yield from _gathered(rank, n_ranks, allgather, len(label))


def reduce_scatter_on_any(rank: Rank, n_ranks: int, allgather: Program, label: Ints) -> Iterator[Step]:
    """The mirror of :func:`allgather_on_any`."""
    yield from mirrored(rank, n_ranks, _gathered, reduce=True, allgather=allgather, left=len(label))
    yield from mirrored(rank, n_ranks, _placed, reduce=False, label=label)


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


def _gathered(rank: Rank, n_ranks: int, allgather: Program, left: int) -> Iterator[Step]:
    blocks = _blocks_of_pairs(n_ranks - left)
    yield from within([left_after_fold(n_ranks, left).tolist()], rank, lambda r, n: allgather(r, n, blocks=blocks))
    up, down = fold_edges(rank, n_ranks, left)
    if left < n_ranks:
        everything = chunks(0, n_ranks)
        yield [exchange(down, up, send=everything, receive=everything)]


def _blocks_of_pairs(extra: int) -> Blocks:
    """The blocks of those that are left: two of each pair, one of each of the others."""

    def blocks(first: Any, length: Any) -> Selection:
        begin = first_block(first, extra)
        return chunks(begin, first_block(first + length, extra) - begin)

    return blocks


def _placed(rank: Rank, n_ranks: int, label: Ints) -> Iterator[Step]:
    """Every block from its rank to the one of those left that has the number of its pair as label."""
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
