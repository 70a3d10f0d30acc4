"""CollNet chain: pieces pass from GPU to GPU to their head in the node, SHARP reduces them across nodes; and back.

Every GPU is the head of one chain through its node: as many heads as NIC rails, where every GPU has a NIC of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives import collnet
from collectives.parameters import EQUAL_NODES, SEGMENTS
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(
    n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, ranks_per_node: int, segments: int
) -> float:
    """(S+2l-1)α + ((2l-1)S + 1)/(lS)·nβ + (l-1)/l·nγ, l = ranks_per_node, S segments; less where l or p/l is 1"""
    hops, sizes = ranks_per_node - 1, {"ranks_per_node": ranks_per_node, "segments": segments}
    return collnet.cost_s(hops, n_ranks, n_bytes, alpha, beta, gamma, **sizes)


@algorithm(
    "allreduce",
    chunks=collnet.n_chunks,
    cost=cost,
    defaults=collnet.defaults,
    constraints=(COMMUTATIVE, EQUAL_NODES, SEGMENTS),
    source="NCCL user guide: NCCL_ALGO, CollNetChain; NCCL 2.30 src/device/all_reduce.h",
    names={"NCCL": "CollNetChain"},
)
def collnet_chain(rank: Rank, n_ranks: int, *, ranks_per_node: int, segments: int) -> Iterator[Step]:
    yield from collnet.collnet(rank, n_ranks, "ring", ranks_per_node=ranks_per_node, segments=segments)
