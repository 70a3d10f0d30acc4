"""Split binary tree broadcast: a half of the vector goes down each side of a binary tree, then pairs exchange."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import SEGMENTS, segments_of_halves
from collectives.trees import binary_halves, broadcast_down
from commsim import PROC_NULL, Rank, Step, algorithm, chunks, exchange, where


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(S+H-2)(α + n/S·β) + 2α + (c/S + 1)n/2·β, S segments a half, H = ⌊log2 p⌋, c = min(2, odd ranks of level H)"""
    if n_ranks == 1:
        return 0.0
    segment, side = n_bytes / 2 / segments, n_ranks // 2  # ranks on the side of the odd ones, which has more
    height, most = side.bit_length(), min(n_ranks - 1, 2)
    last = min(side + 1 - (1 << (height - 1)), 2) if height > 1 else most
    down = (segments + height - 2) * (alpha + most * segment * beta) + alpha + last * segment * beta
    return down + alpha + n_bytes / 2 * beta


@algorithm(
    "broadcast",
    chunks=lambda n_ranks, *, segments: 2 * segments,
    cost=cost,
    defaults=segments_of_halves,
    constraints=(SEGMENTS,),
    source="Pjesivac-Grbovic et al.: Performance analysis of MPI collective operations, Cluster Computing 10, 2007",
    names={"Open MPI": "4 split_binary_tree", "SMPI": "ompi_split_bintree"},
)
def split_binary(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    yield from broadcast_down(rank, [half.rooted(root) for half in binary_halves(n_ranks)], segments)
    virtual = (rank - root) % n_ranks
    odd = virtual % 2
    partner = (virtual + 2 * odd - 1) % n_ranks  # of an odd one the next; the root's is the last, if that has no other
    peer, idle = (partner + root) % n_ranks, (virtual == 0) & (n_ranks % 2 == 1)
    dst, src = where((partner == 0) | idle, PROC_NULL, peer), where(virtual == 0, PROC_NULL, peer)
    sent, received = chunks((1 - odd) * segments, segments), chunks(odd * segments, segments)
    yield [exchange(dst, src, send=sent, receive=received)]
