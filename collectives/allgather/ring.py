"""Ring allgather: every block goes round the ring of ranks, one rank a step."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, exchange, repeat


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(p-1)(α + n/p·β)"""
    return (n_ranks - 1) * (alpha + n_bytes / n_ranks * beta)


@algorithm(
    "allgather",
    cost=cost,
    source="Thakur, Rabenseifner, Gropp: Optimization of collective communication operations in MPICH, IJHPCA 19(1), "
    "2005, section 4.1",
    names={"Open MPI": "4 ring", "MPICH": "ring", "NCCL": "Ring", "UCC": "ring", "SMPI": "NTSLR"},
)
def ring(rank: Rank, n_ranks: int) -> Iterator[Step]:
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    send, receive = chunk(rank, size=n_ranks), chunk(left, size=n_ranks)
    yield repeat(n_ranks - 1, [exchange(right, left, send=send, receive=receive)], shift=-1)
