"""NVLS reduce-scatter: every rank loads its block as the switches reduce it (multimem.ld_reduce)."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import COMMUTATIVE, Rank, Step, algorithm, chunk, fabric_reduce


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·nβ; 0 for p = 1"""
    return alpha + (n_ranks - 1) / n_ranks * n_bytes * beta if n_ranks > 1 else 0.0


@algorithm(
    "reduce_scatter",
    cost=cost,
    constraints=(COMMUTATIVE,),
    source="NCCL user guide: NCCL_NVLS_ENABLE; PTX ISA: multimem.ld_reduce",
    names={"NCCL": "NVLS, symmetric kernel LDMC"},
)
def nvls(rank: Rank, n_ranks: int) -> Iterator[Step]:
    if n_ranks > 1:
        send, receive = (lambda me, peer: chunk(peer)), (lambda me, peer: chunk(me))
        yield [fabric_reduce(rank, n_ranks, None, send=send, receive=receive)]
