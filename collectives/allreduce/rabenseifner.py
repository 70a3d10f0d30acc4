"""Rabenseifner's allreduce: recursive halving reduce-scatter, recursive doubling allgather, any ranks by folding."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.helpers import fold_cost_s, folded, halvings, largest_power_of_two
from commsim.algorithm import COMMUTATIVE, algorithm
from commsim.program import Rank, Step, chunks, exchange


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """2⌊log2 p⌋α + (q-1)/q·n(2β + γ), q = 2^⌊log2 p⌋; plus 2α + 2nβ + nγ unless p is a power of two"""
    q, n = largest_power_of_two(n_ranks), n_bytes
    fold = fold_cost_s(n_ranks, n, alpha, beta, gamma)
    return 2 * (q.bit_length() - 1) * alpha + (q - 1) / q * n * (2 * beta + gamma) + fold


def _halving_doubling(rank: Rank, n_ranks: int) -> Iterator[Step]:
    distances = halvings(n_ranks)
    for half in distances:  # keep the half of the range that lies on my side of this bit
        peer = rank ^ half
        yield [exchange(peer, peer, send=chunks(peer & -half, half), receive=chunks(rank & -half, half), reduce=True)]
    for half in reversed(distances):
        peer = rank ^ half
        yield [exchange(peer, peer, send=chunks(rank & -half, half), receive=chunks(peer & -half, half))]


@algorithm(
    "allreduce",
    chunks=largest_power_of_two,
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Rabenseifner: Optimization of collective reduction operations, ICCS 2004",
    names={
        "Open MPI": "6 rabenseifner",
        "MPICH": "reduce_scatter_allgather",
        "Gloo": "halving_doubling",
        "SMPI": "rab",
    },
)
def rabenseifner(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from folded(rank, n_ranks, _halving_doubling, n_chunks=largest_power_of_two(n_ranks))
