"""Pipelined chain broadcast: segments pass down one chain of ranks, or several."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import SEGMENTS, at_least, segments_by_size
from collectives.trees import broadcast_down, k_chains
from commsim import Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int, chains: int) -> float:
    """(p+S-2)(α + n/S·β), S segments; with k chains S(α + k·n/S·β) + (⌈(p-1)/k⌉-1)(α + n/S·β); 0 for p = 1"""
    segment, others = n_bytes / segments, n_ranks - 1
    k = min(chains, others)
    hops = -(-others // k) - 1 if others else 0
    return (segments * (alpha + k * segment * beta) + hops * (alpha + segment * beta)) if others else 0.0


@algorithm(
    "broadcast",
    chunks=lambda n_ranks, *, segments, chains: segments,
    cost=cost,
    defaults=segments_by_size,
    constraints=(SEGMENTS, at_least("chains", 1)),
    source="Pjesivac-Grbovic et al.: Performance analysis of MPI collective operations, Cluster Computing 10, 2007",
    names={
        "Open MPI": "2 chain, 3 pipeline",
        "MPICH": "tsp_ring",
        "NCCL": "Ring",
        "oneCCL": "ring",
        "SMPI": "NTSL, ompi_pipeline",
    },
)
def chain(rank: Rank, n_ranks: int, *, root: int, segments: int, chains: int = 1) -> Iterator[Step]:
    yield from broadcast_down(rank, [k_chains(n_ranks, chains).rooted(root)], segments)
