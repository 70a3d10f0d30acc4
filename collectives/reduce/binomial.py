"""Binomial tree reduce: the binomial broadcast backwards."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import broadcast
from collectives.helpers import mirrored, rounds
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """⌈log2 p⌉(α + nβ + nγ)"""
    return rounds(n_ranks) * (alpha + n_bytes * (beta + gamma))


@algorithm(
    "reduce",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.5",
    names={"Open MPI": "5 binomial", "MPICH": "binomial", "UCC": "knomial (radix 2)", "SMPI": "binomial"},
)
def binomial(rank: Rank, n_ranks: int, *, root: int) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, broadcast.binomial.program, reduce=True, root=root)
