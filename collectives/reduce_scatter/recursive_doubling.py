"""Recursive doubling reduce-scatter: each round ranks swap all blocks but those of their own group, and groups double.

More bytes than recursive halving, but the order of ranks is kept, and blocks are ranges. Any ranks by folding.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from collectives.folding import first_block, folded
from collectives.helpers import halvings, largest_power_of_two
from commsim import Rank, Selection, Step, algorithm, chunk, chunks, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """log2 p·α + (log2 p - (p-1)/p)n(β + γ) for p a power of two; else the clocks of all ranks, round by round"""
    left = largest_power_of_two(n_ranks)
    extra, block_bytes, rank = n_ranks - left, n_bytes / n_ranks, np.arange(left)
    clock = (rank < extra) * (alpha + n_bytes * (beta + gamma))
    for half in reversed(halvings(left)):
        peer = rank ^ half
        begin = rank & -half
        size = first_block(begin + half, extra) - first_block(begin, extra)  # of the own group, in blocks
        sent, taken = (n_ranks - size) * beta, (n_ranks - size[peer]) * (beta + gamma)
        clock = np.maximum(clock, clock[peer]) + alpha + np.maximum(sent, taken) * block_bytes
    return float(max(clock.max(), clock[:extra].max(initial=0.0) + (alpha + block_bytes * beta) * (extra > 0)))


@algorithm(
    "reduce_scatter",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.4",
    names={
        "Open MPI": "2 recursive_doubling (reduce_scatter_block)",
        "MPICH": "recursive_doubling",
        "SMPI": "mpich_rdb",
    },
)
def recursive_doubling(rank: Rank, n_ranks: int) -> Iterator[Step]:
    extra = n_ranks - largest_power_of_two(n_ranks)

    def all_but(group: Any, size: int) -> Selection:
        begin, end = first_block(group, extra), first_block(group + size, extra)
        return chunks(end % n_ranks, n_ranks - (end - begin))

    def butterfly(rank: Rank, left: int) -> Iterator[Step]:
        for half in reversed(halvings(left)):
            peer = rank ^ half
            send, receive = all_but(rank & -half, half), all_but(peer & -half, half)
            yield [exchange(peer, peer, send=send, receive=receive, reduce=True, received_first=peer < rank)]

    yield from folded(rank, n_ranks, butterfly, n_chunks=n_ranks, back=(chunk(rank - 1), chunk(rank)))
