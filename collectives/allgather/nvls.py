"""NVLS allgather: every rank stores its block once, and the switches copy it to all (multimem.st)."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, fabric_multicast


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·nβ; 0 for p = 1"""
    return alpha + (n_ranks - 1) / n_ranks * n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "allgather",
    cost=cost,
    source="NCCL user guide: NCCL_NVLS_ENABLE; PTX ISA: multimem.st",
    names={"NCCL": "NVLS, symmetric kernel STMC"},
)
def nvls(rank: Rank, n_ranks: int) -> Iterator[Step]:
    if n_ranks > 1:
        send, receive = (lambda me, peer: chunk(me)), (lambda me, peer: chunk(peer))
        yield [fabric_multicast(rank, n_ranks, None, send=send, receive=receive)]
