"""Linear reduce-scatter: everyone sends everyone that rank's block in one step, reduced in the order of ranks."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Rank, Step, algorithm, chunk, direct


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """α + (p-1)/p·n(β + γ); 0 for p = 1"""
    return alpha + (n_ranks - 1) / n_ranks * n_bytes * (beta + gamma) if n_ranks > 1 else 0.0


@algorithm(
    "reduce_scatter",
    cost=cost,
    source="MSCCLang examples: the first step of allreduce allpairs",
    names={"NCCL": "symmetric kernel LD"},
)
def linear(rank: Rank, n_ranks: int) -> Iterator[Step]:
    if n_ranks > 1:
        send, receive = (lambda me, peer: chunk(peer)), (lambda me, peer: chunk(me))
        yield [direct(rank, n_ranks, send=send, receive=receive, reduce=True)]
