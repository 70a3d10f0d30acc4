"""Recursive multiplying: whole vectors, with the radix - 1 ranks that differ in one digit; any ranks by folding.

Of p ranks the largest j·k^m <= p with j < k take part, the last digit having j values: the others are less than half.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import digits, left_by_radix
from collectives.folding import fold_cost_s, folded
from collectives.parameters import RADIX
from commsim import ROUNDS_APART, Rank, Step, algorithm, chunk, direct, within


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """log_k p·(α + (k-1)n(β + γ)), k = radix; in a last round j for k if p = j·k^m; plus 2α + 2nβ + nγ for other p"""
    left, n = left_by_radix(n_ranks, radix), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma, left)
    return sum(alpha + (ways - 1) * n * (beta + gamma) for _, ways in digits(left, radix)) + fold


def _meets_two(n_ranks: int, *, radix: int) -> bool:
    """Whether a rank adds several whole vectors in a round: to its own, from the nearest below on."""
    return any(ways > 2 for _, ways in digits(left_by_radix(n_ranks, radix), radix))


def _everyone_to_everyone(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield [direct(rank, n_ranks, send=lambda me, peer: chunk(0), receive=lambda me, peer: chunk(0), reduce=True)]


@algorithm(
    "allreduce",
    cost=cost,
    constraints=(ROUNDS_APART.only("radix above 2", _meets_two), RADIX),
    source="Ruefenacht, Bull, Booth: Generalisation of recursive doubling for AllReduce: now with simulation, "
    "Parallel Computing 69, 2017",
    names={"MPICH": "recursive_multiplying, recexch", "UCC": "knomial"},
)
def recursive_multiplying(rank: Rank, n_ranks: int, *, radix: int = 4) -> Iterator[Step]:
    def multiply(rank: Rank, left: int) -> Iterator[Step]:
        for distance, ways in digits(left, radix):
            span = distance * ways
            groups = [
                range(first, first + span, distance)
                for low in range(0, left, span)
                for first in range(low, low + distance)
            ]
            yield from within(groups, rank, _everyone_to_everyone)

    yield from folded(rank, n_ranks, multiply, n_chunks=1, left=left_by_radix(n_ranks, radix))
