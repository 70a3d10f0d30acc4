"""Rabenseifner's reduce: recursive halving reduce-scatter, then a binomial gather, both with any radix.

Any ranks by folding, as in broadcast/scatter_recursive_doubling.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.butterflies import digits, knomial_allgather, knomial_scatter, left_by_radix
from collectives.folding import to_partners, within_left
from collectives.helpers import mirrored
from collectives.parameters import RADIX
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """2⌈log_k q⌉α + (q-1)/q·n(2β + γ), k = radix, the largest q = j·k^m <= p, j < k; plus α + nβ + nγ unless q = p"""
    left = left_by_radix(n_ranks, radix)
    fold = alpha + n_bytes * (beta + gamma) if left < n_ranks else 0.0
    return 2 * len(digits(left, radix)) * alpha + (left - 1) / left * n_bytes * (2 * beta + gamma) + fold


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, radix: left_by_radix(n_ranks, radix),
    cost=cost,
    constraints=(COMMUTATIVE, RADIX),
    source="Rabenseifner: Optimization of collective reduction operations, ICCS 2004; UCC: tl/ucp reduce srg_knomial",
    names={
        "Open MPI": "7 rabenseifner",
        "MPICH": "reduce_scatter_gather",
        "UCC": "srg_knomial",
        "oneCCL": "rabenseifner",
        "SMPI": "scatter_gather",
    },
)
def scatter_gather(rank: Rank, n_ranks: int, *, root: int, radix: int = 2) -> Iterator[Step]:
    def halve_and_gather(rank: Rank, left: int) -> Iterator[Step]:
        yield from mirrored(rank, left, knomial_allgather, reduce=True, radix=radix)
        yield from mirrored(rank, left, knomial_scatter, reduce=False, radix=radix)

    left = left_by_radix(n_ranks, radix)
    yield from mirrored(rank, n_ranks, to_partners, reduce=True, root=root, left=left, n_chunks=left)
    yield from within_left(rank, n_ranks, root, left, halve_and_gather)
