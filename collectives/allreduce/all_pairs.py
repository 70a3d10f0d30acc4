"""All pairs: a reduce-scatter and an allgather in one step each, everyone with everyone."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import allgather, reduce_scatter
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """2α + (p-1)/p·n(2β + γ); 0 for p = 1"""
    p, n = n_ranks, n_bytes
    return 2 * alpha + (p - 1) / p * n * (2 * beta + gamma) if p > 1 else 0.0


@algorithm(
    "allreduce",
    chunks=lambda n_ranks: n_ranks,
    cost=cost,
    source="MSCCLang examples: allreduce allpairs; NCCL 2.30, sym_kernels.cc",
    names={"MSCCL": "allpairs", "MSCCL++": "allpairs", "NCCL": "symmetric kernel RSxLD_AGxST"},
)
def all_pairs(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from reduce_scatter.linear.program(rank, n_ranks)
    yield from allgather.linear.program(rank, n_ranks)
