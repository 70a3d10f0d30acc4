"""Ring reduce-scatter: what is to be rank r's block starts at rank r + 1 and is added to all the way round."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import COMMUTATIVE, Rank, Step, algorithm, chunk, exchange, repeat


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(p-1)(α + n/p·(β + γ))"""
    return (n_ranks - 1) * (alpha + n_bytes / n_ranks * (beta + gamma))


@algorithm(
    "reduce_scatter",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 69(2), 2009",
    names={"Open MPI": "3 ring", "NCCL": "Ring", "UCC": "ring", "oneCCL": "ring", "SMPI": "ompi_ring"},
)
def ring(rank: Rank, n_ranks: int) -> Iterator[Step]:
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    send, receive = chunk(left, size=n_ranks), chunk((rank - 2) % n_ranks, size=n_ranks)
    yield repeat(n_ranks - 1, [exchange(right, left, send=send, receive=receive, reduce=True)], shift=-1)
