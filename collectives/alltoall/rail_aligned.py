"""Rail-aligned alltoall: a rank collects from its node what goes to its own index in all nodes, then sends it there.

Every message between nodes stays on one rail, and carries the blocks of a whole node.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.nodes import EQUAL_NODES, node_ranks, nodes_of, rails_of
from commsim import DATA, OUTPUT, SCRATCH, Rank, Selection, Step, algorithm, chunks, direct, within


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, ranks_per_node: int) -> float:
    """2α + ((l-1)/l + (h-1)/h)nβ, l = ranks_per_node, h = p/l; a level of one rank is free"""
    levels = (ranks_per_node, n_ranks // ranks_per_node)
    return sum(alpha + (size - 1) / size * n_bytes * beta for size in levels if size > 1)


@algorithm(
    "alltoall",
    scratch=1,
    cost=cost,
    defaults=node_ranks,
    constraints=(EQUAL_NODES,),
    source="NVIDIA: Doubling all2all performance with NVIDIA Collective Communication Library 2.12, 2022 (PXN); "
    "Cowan et al.: MSCCLang, ASPLOS 2023 (two-step alltoall)",
    names={"NCCL": "PXN", "MSCCL": "two-step"},
)
def rail_aligned(rank: Rank, n_ranks: int, *, ranks_per_node: int) -> Iterator[Step]:
    node = ranks_per_node

    def of_index(index: Rank, buffer: int) -> Selection:  # one block of every node
        return chunks(index, n_ranks - index, stride=node, buffer=buffer)

    def of_node(number: Rank, buffer: int) -> Selection:
        return chunks(number * node, node, buffer=buffer)

    def inside(me: Rank, size: int) -> Iterator[Step]:
        send, receive = (lambda me, peer: of_index(peer, DATA)), (lambda me, peer: of_index(peer, SCRATCH))
        yield [direct(me, size, send=send, receive=receive, distances=(0, size))]

    def across(me: Rank, size: int) -> Iterator[Step]:
        send, receive = (lambda me, peer: of_node(peer, SCRATCH)), (lambda me, peer: of_node(peer, OUTPUT))
        yield [direct(me, size, send=send, receive=receive, distances=(0, size))]

    yield from within(nodes_of(n_ranks, node), rank, inside)
    yield from within(rails_of(n_ranks, node), rank, across)
