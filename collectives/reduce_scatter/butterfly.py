"""Butterfly reduce-scatter: recursive halving, the nearest rank first, which keeps the order of ranks.

After the round of bit b a rank keeps the blocks whose numbers agree with its own in the bits up to b. Libraries permute
the blocks by their reversed bits so that these are ranges; here they are every second, fourth … block. Any ranks by
folding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.folding import folded
from collectives.helpers import halvings, largest_power_of_two
from commsim import PROC_NULL, Rank, Selection, Step, algorithm, chunk, chunks, exchange, where


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌊log2 p⌋α + (p-1)/p·n(β + γ); plus 2α + about n(β + γ) unless p is a power of two"""
    left = largest_power_of_two(n_ranks)
    extra, block_bytes = n_ranks - left, n_bytes / n_ranks
    kept = [left // period + -(-extra // period) for period in (2 * half for half in halvings(left))]  # by rank 0
    time_s = sum(alpha + n * block_bytes * (beta + gamma) for n in kept)
    return time_s + (2 * alpha + n_bytes * (beta + gamma) + block_bytes * beta) * (extra > 0)


def _singles(index: Any, period: int, left: int, extra: int) -> tuple[Any, Selection]:
    """How many blocks that are no pair's agree with `index` modulo `period`, and which."""
    first = extra + (index - extra) % period
    count = -((first - left) // period)
    return count, chunks(first + extra, (count - 1) * period + 1, stride=period)


def _pairs(index: Any, period: int, left: int, extra: int) -> tuple[Any, Selection]:
    """The same of the pairs, two blocks each."""
    first = index % period
    count = -((first - extra) // period)
    return count, chunks(2 * first, (count - 1) * 2 * period + 2, block=2, stride=2 * period)


@algorithm(
    "reduce_scatter",
    cost=cost,
    source="Träff: An improved algorithm for (non-commutative) reduce-scatter with an application, EuroPVM/MPI 2005",
    names={"Open MPI": "4 butterfly", "MPICH": "noncommutative", "SMPI": "ompi_butterfly, mpich_noncomm"},
)
def butterfly(rank: Rank, n_ranks: int) -> Iterator[Step]:
    extra = n_ranks - largest_power_of_two(n_ranks)

    def halve(rank: Rank, left: int) -> Iterator[Step]:
        for half in reversed(halvings(left)):
            peer, step = rank ^ half, []
            for which in (_singles, _pairs) if extra else (_singles,):
                (n_sent, send), (n_kept, receive) = (which(who, 2 * half, left, extra) for who in (peer, rank))
                dst, src = where(n_sent > 0, peer, PROC_NULL), where(n_kept > 0, peer, PROC_NULL)
                step.append(exchange(dst, src, send=send, receive=receive, reduce=True, received_first=peer < rank))
            yield step

    yield from folded(rank, n_ranks, halve, n_chunks=n_ranks, back=(chunk(rank - 1), chunk(rank)))
