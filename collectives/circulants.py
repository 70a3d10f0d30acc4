"""Circulant graphs, which look the same from every rank: hops of allgathers and their mirrors, Träff's broadcasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from collectives.helpers import halvings, mirror, rounds
from commsim import PROC_NULL, Exchange, Groups, Rank, Step, chunk, chunks, exchange, where
from commsim.selection import Ints


class Hop(NamedTuple):
    """A round of an allgather: from the rank `distance` on, its blocks of the ranks `first`, `first + stride` … on.

    Everything is counted from the own rank on, cyclically; `length` is that of the range, whatever the stride.
    """

    distance: int
    first: int
    length: int
    stride: int = 1


def allgather_of(rank: Rank, n_ranks: int, hops: Sequence[Hop]) -> Iterator[Step]:
    """One block a rank, to all ranks in these hops."""
    for hop in hops:
        yield [hop_of(rank, n_ranks, hop)]


def hop_of(rank: Rank, n_ranks: int, hop: Hop) -> Exchange:
    """One hop of an allgather."""
    distance, first, length, stride = hop
    theirs, mine = (rank + first) % n_ranks, (rank + first - distance) % n_ranks
    send, receive = chunks(mine, length, stride=stride), chunks(theirs, length, stride=stride)
    return exchange((rank - distance) % n_ranks, (rank + distance) % n_ranks, send=send, receive=receive)


def reduce_scatter_of(rank: Rank, n_ranks: int, hops: Sequence[Hop]) -> Iterator[Step]:
    """The mirror of :func:`allgather_of`: the hops backwards, every message the other way and reduced."""
    for hop in reversed(hops):
        yield [mirror(hop_of(rank, n_ranks, hop), reduce=True)]


def skips(n_ranks: int) -> list[int]:
    """``[1, …, ceil(p/4), ceil(p/2), p]``: the distances of Träff's circulant graph, and p itself."""
    found = [n_ranks]
    while found[0] > 1:
        found.insert(0, -(-found[0] // 2))
    return found


def circulant_hops(n_ranks: int) -> list[Hop]:
    """Träff's: every hop about doubles the consecutive blocks that a rank has; ``ceil(log2 p)`` hops for any p."""
    return [Hop(near, near, far - near) for near, far in pairwise(skips(n_ranks))]


def pat_hops(n_ranks: int, aggregation: int) -> list[Hop]:
    """Bruck's distances from far to near, at most `aggregation` blocks in a message; explained in allgather/pat.py."""
    near = pat_stride(n_ranks, aggregation)
    far = [Hop(d, d, n_ranks - d, 2 * d) for d in halvings(n_ranks) if d >= near]
    offsets = [offset for offset in _depth_first(near) if offset < n_ranks]
    return far + [Hop(offset & -offset, offset, n_ranks - offset, near) for offset in offsets]


def pat_stride(n_ranks: int, aggregation: int) -> int:
    """The smallest power of two m with ``ceil(p/m) <= aggregation``: blocks so far apart share a message."""
    return 1 << rounds(-(-n_ranks // aggregation))


def _depth_first(below: int, node: int = 0) -> Iterator[int]:
    """The nodes of a binomial tree after its root: the farthest child first, each before its own."""
    for distance in halvings(below):
        yield node + distance
        yield from _depth_first(distance, node + distance)


def pat_n_hops(n_ranks: int, aggregation: int) -> int:
    """How many hops :func:`pat_hops` has."""
    near = pat_stride(n_ranks, aggregation)
    return rounds(-(-n_ranks // near)) + min(near, n_ranks) - 1


def pat_defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """As many blocks as 512 KiB hold: a step of NCCL's buffers (4 MiB in 8 steps)."""
    return {"aggregation": min(max(512 * 1024 * n_ranks // max(n_bytes, 1), 1), n_ranks)}


def broadcast_round(rank: Rank, n_ranks: int, root: int, segments: int, number: int) -> Exchange:
    """A round of Träff's pipelined broadcast.

    There are ``segments - 1 + ceil(log2 p)`` rounds, in phases that use each distance of the circulant graph once; so
    many are left out of the first phase that the last one is whole.
    """
    per_phase, skip = rounds(n_ranks), skips(n_ranks)
    left_out = -(segments - 1) % per_phase
    phase, turn = divmod(number + left_out, per_phase)
    virtual = (rank - root) % n_ranks
    child, parent = (virtual + skip[turn]) % n_ranks, (virtual - skip[turn]) % n_ranks
    blocks = _received_blocks(n_ranks)[:, turn] + phase * per_phase - left_out
    sent, received = blocks[child], blocks[virtual]
    dst = where((sent >= 0) & (child != 0), (child + root) % n_ranks, PROC_NULL)
    src = where((received >= 0) & (virtual != 0), (parent + root) % n_ranks, PROC_NULL)
    send, receive = (chunk(np.minimum(block, segments - 1)) for block in (sent, received))
    return exchange(dst, src, send=send, receive=receive)


@lru_cache(maxsize=4)
def _received_blocks(n_ranks: int) -> Ints:
    """Which segment a rank receives in each round of the phase that begins with segment 0, (n_ranks, rounds).

    One of them is new (0 or above), the others come from the phase before (below 0). The next phase has the next
    segments. Rank 0 is the root and receives none.
    """
    rows = [_received_by(rank, n_ranks, skips(n_ranks)) for rank in range(1, n_ranks)]
    return np.array([[0] * rounds(n_ranks), *rows], dtype=np.int64)


def _received_by(rank: int, n_ranks: int, skip: list[int]) -> list[int]:
    """A row of :func:`_received_blocks` (Träff, arXiv 2407.18004, where the proof is that rows fit together).

    Paths from the root are sums of skips, and segment e starts on skip e; walked depth first, the largest skip first.
    In round k a rank takes the next segment, not yet taken, whose path leads so far that it ends between skip k and
    skip k + 1 before the rank.
    """
    per_phase, end = len(skip) - 1, n_ranks + rank
    first = _first_round(rank, skip)
    free = [block != first for block in range(per_phase + 1)]
    taken: list[int] = []

    def walk(reached: int, largest: int, limit: int) -> None:
        for block in range(largest, -1, -1):
            place = reached + skip[block]
            if len(taken) == per_phase or not free[block] or place >= limit or place > end - skip[len(taken)]:
                continue
            if place <= end - skip[len(taken) + 1]:
                walk(place, block, limit)
            if len(taken) == per_phase or reached > end - skip[len(taken) + 1]:
                return
            taken.append(block)
            free[block] = False
            limit = place

    walk(0, per_phase, 2 * n_ranks)
    return [first if block == per_phase else block - per_phase for block in taken]


def _first_round(rank: int, skip: list[int]) -> int:
    """The smallest skip in the sum of skips that is this rank: the round in which the first segment reaches it."""
    for block in range(len(skip) - 2, -1, -1):
        if rank == skip[block]:
            return block
        rank -= skip[block] if rank > skip[block] else 0
    return len(skip) - 1
