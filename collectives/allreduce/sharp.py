"""SHARP allreduce: the switches combine what all ranks send, and copy the result to all, segment by segment.

What the switches have reduced is handed to rank 0 and sent on from there, so that every cable carries the vector once
in each direction, as it does with SHARP. With a root for each chunk it would be as much, in p*p messages a step.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives import reduce
from collectives.hierarchy import Stage, stepped
from collectives.parameters import SEGMENTS, segments_in_fabric
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(S+1)(α + n/S·β), S segments; 0 for p = 1"""
    return (segments + 1) * (alpha + n_bytes / segments * beta) if n_ranks > 1 else 0.0


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments: segments,
    cost=cost,
    defaults=segments_in_fabric,
    constraints=(COMMUTATIVE, SEGMENTS),
    source=reduce.sharp.source,
    names={"Open MPI": "ucc, hcoll", "UCC": "tl/sharp", "MVAPICH": "SHARP", "NCCL": "CollNet"},
)
def sharp(rank: Rank, n_ranks: int, *, segments: int) -> Iterator[Step]:
    everyone = [range(n_ranks)]
    yield from stepped(rank, [Stage("reduce", "sharp", everyone), Stage("broadcast", "multicast", everyone)], segments)
