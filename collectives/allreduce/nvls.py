"""NVLS allreduce: every rank loads its chunk as the switches reduce it, and stores it once for them to copy to all.

While one segment is reduced the one before it is copied, so that the two directions of a port are both used. Hardware
passes a rank's share of its own chunk through the switch too, 1/p more each way, which is not charged.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.hierarchy import split_stages, stepped
from collectives.parameters import SEGMENTS, segments_in_fabric
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(S+1)α + (S-1 + 2(p-1)/p)·n/S·β, S segments; 0 for p = 1"""
    p = n_ranks
    return (segments + 1) * alpha + (segments - 1 + 2 * (p - 1) / p) * n_bytes / segments * beta if p > 1 else 0.0


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments: n_ranks * segments,
    cost=cost,
    defaults=segments_in_fabric,
    constraints=(COMMUTATIVE, SEGMENTS),
    source="NCCL user guide: NCCL_NVLS_ENABLE; PTX ISA: multimem.ld_reduce, multimem.st",
    names={"NCCL": "NVLS, symmetric kernel RSxLDMC_AGxSTMC", "MSCCL++": "SwitchChannel"},
)
def nvls(rank: Rank, n_ranks: int, *, segments: int) -> Iterator[Step]:
    yield from stepped(rank, split_stages((n_ranks,), [0], "nvls"), segments)
