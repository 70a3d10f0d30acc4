"""Trivance allreduce: ranks of a ring meet one at 3^s on either side in step s: what they know grows threefold.

``latency`` swaps whole vectors and adds both to its own, on 3^m or 2·3^m ranks (2: the last step is one swap with the
opposite rank); others fold. ``bandwidth`` is a reduce-scatter and an allgather on any ranks. From the paper: peers and
joint reduction. Derived here: whatever is for other p than powers of 3, and the blocks: before the allgather's round of
distance d a rank has those of the ranks at multiples of 3d on both sides, after it those at multiples of d, cut to as
many as there are. In the ``latency`` variant every rank adds in an order of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import digits, left_by_radix, there_and_back
from collectives.circulants import Hop, hop_of
from collectives.folding import fold_cost_s, folded
from collectives.helpers import rounds
from collectives.parameters import VARIANT
from commsim import COMMUTATIVE, ROUNDS_APART, Rank, Step, algorithm, chunk, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, variant: str) -> float:
    """latency: log3 p·(α + 2n(β + γ)), n for 2n in a last round of two; bandwidth: 2⌈log3 p⌉α + (p-1)/p·n(2β + γ)"""
    n = n_bytes
    if variant == "bandwidth":
        return 2 * rounds(n_ranks, 3) * alpha + (n_ranks - 1) / n_ranks * n * (2 * beta + gamma)
    left = left_by_radix(n_ranks, 3)
    swaps = sum(alpha + (ways - 1) * n * (beta + gamma) for _, ways in digits(left, 3))
    return swaps + fold_cost_s(n_ranks, n, alpha, beta, gamma, left)


def _meets_two(n_ranks: int, *, variant: str) -> bool:
    """Whether a rank adds two whole vectors in a round: to its own, in an order of its own."""
    return variant == "latency" and any(ways > 2 for _, ways in digits(left_by_radix(n_ranks, 3), 3))


def _whole_vectors(rank: Rank, n_ranks: int) -> Iterator[Step]:
    for distance, ways in digits(n_ranks, 3):
        right, left = (rank + distance) % n_ranks, (rank - distance) % n_ranks
        turns = [(right, left), (left, right)][: ways - 1]  # of two halves of the ring, right and left are the same
        yield [exchange(dst, src, send=chunk(0), receive=chunk(0), reduce=True) for dst, src in turns]


def _hops(n_ranks: int) -> Iterator[list[Hop]]:
    """Rounds of the allgather, from the farthest distance to the nearest, with what comes from below and from above."""
    before = after = 0  # how many blocks are known on either side, at three times the distance
    for distance in (3**step for step in reversed(range(rounds(n_ranks, 3)))):
        known, stride = before + after + 1, 3 * distance
        beyond = 3 * known - -(-n_ranks // distance)  # 0 to 2 blocks would come from both sides
        less_below = beyond == 2 or (beyond == 1 and before >= after)
        less_above = beyond == 2 or (beyond == 1 and before < after)
        below, above = known - less_below, known - less_above
        from_below = Hop(-distance, (less_below - before) * stride - distance, (below - 1) * stride + 1, stride)
        from_above = Hop(distance, distance - before * stride, (above - 1) * stride + 1, stride)
        yield [hop for hop, n_blocks in ((from_below, below), (from_above, above)) if n_blocks]
        before, after = 3 * before + 1 - less_below, 3 * after + 1 - less_above


def _allgather(rank: Rank, n_ranks: int) -> Iterator[Step]:
    for hops in _hops(n_ranks):
        yield [hop_of(rank, n_ranks, hop) for hop in hops]


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, variant: n_ranks if variant == "bandwidth" else 1,
    cost=cost,
    constraints=(COMMUTATIVE, ROUNDS_APART.only("variant=latency", _meets_two), VARIANT),
    source="Trivance, arXiv 2602.17254, 2026",
)
def trivance(rank: Rank, n_ranks: int, *, variant: str = "bandwidth") -> Iterator[Step]:
    if variant == "bandwidth":
        yield from there_and_back(rank, n_ranks, _allgather)
    else:
        yield from folded(rank, n_ranks, _whole_vectors, n_chunks=1, left=left_by_radix(n_ranks, 3))
