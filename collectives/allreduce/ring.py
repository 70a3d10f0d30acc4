"""Ring allreduce: a reduce-scatter, then an allgather, round the ring of ranks."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather, reduce_scatter
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """2(p-1)α + 2(p-1)/p·nβ + (p-1)/p·nγ"""
    p, n = n_ranks, n_bytes
    return 2 * (p - 1) * alpha + 2 * (p - 1) / p * n * beta + (p - 1) / p * n * gamma


@algorithm(
    "allreduce",
    chunks=lambda n_ranks: n_ranks,
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 69(2), 2009",
    names={
        "Open MPI": "4 ring",
        "MPICH": "ring",
        "NCCL": "Ring",
        "UCC": "ring",
        "oneCCL": "ring",
        "Gloo": "ring",
        "SMPI": "lr",
    },
)
def ring(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from reduce_scatter.ring.program(rank, n_ranks)
    yield from allgather.ring.program(rank, n_ranks)
