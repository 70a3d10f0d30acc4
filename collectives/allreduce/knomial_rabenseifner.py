"""Rabenseifner's allreduce with any radix: in each round the range of chunks shrinks to a k-th, then grows again.

Of p ranks the largest q = j·k^m <= p with j < k take part, the last digit having j values; the others fold.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import digits, knomial_allgather, left_by_radix, there_and_back
from collectives.folding import fold_cost_s, folded
from collectives.parameters import RADIX
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """2⌈log_k q⌉α + (q-1)/q·n(2β + γ), k = radix, the largest q = j·k^m <= p, j < k; plus 2α + 2nβ + nγ unless q = p"""
    left, n = left_by_radix(n_ranks, radix), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma, left)
    return 2 * len(digits(left, radix)) * alpha + (left - 1) / left * n * (2 * beta + gamma) + fold


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, radix: left_by_radix(n_ranks, radix),
    cost=cost,
    constraints=(COMMUTATIVE, RADIX),
    source="UCC: tl/ucp allreduce sra_knomial; for powers of two Rabenseifner: Optimization of collective reduction "
    "operations, ICCS 2004",
    names={"UCC": "sra_knomial", "MPICH": "k_reduce_scatter_allgather", "Gloo": "bcube"},
)
def knomial_rabenseifner(rank: Rank, n_ranks: int, *, radix: int = 4) -> Iterator[Step]:
    def shrink_and_grow(rank: Rank, left: int) -> Iterator[Step]:
        yield from there_and_back(rank, left, knomial_allgather, radix=radix)

    left = left_by_radix(n_ranks, radix)
    yield from folded(rank, n_ranks, shrink_and_grow, n_chunks=left, left=left)
