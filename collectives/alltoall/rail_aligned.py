"""Rail-aligned alltoall: a rank collects from its node what goes to its own index in all nodes, then sends it there.

Every message between nodes stays on one rail, and carries the blocks of a whole node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from collectives.grids import lines
from collectives.parameters import EQUAL_NODES, equal_nodes_by_machine
from commsim import DATA, OUTPUT, SCRATCH, Rank, Selection, Step, algorithm, chunks, direct, within


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, ranks_per_node: int) -> float:
    """2α + ((l-1)/l + (h-1)/h)nβ, l = ranks_per_node, h = p/l; a level of one rank is free"""
    levels = (ranks_per_node, n_ranks // ranks_per_node)
    return sum(alpha + (size - 1) / size * n_bytes * beta for size in levels if size > 1)


@algorithm(
    "alltoall",
    scratch=1,
    cost=cost,
    defaults=equal_nodes_by_machine,
    constraints=(EQUAL_NODES,),
    source="NVIDIA: Doubling all2all performance with NVIDIA Collective Communication Library 2.12, 2022 (PXN); "
    "Cowan et al.: MSCCLang, ASPLOS 2023 (two-step alltoall)",
    names={"NCCL": "PXN", "MSCCL": "two-step"},
)
def rail_aligned(rank: Rank, n_ranks: int, *, ranks_per_node: int) -> Iterator[Step]:
    node, shape = ranks_per_node, (ranks_per_node, n_ranks // ranks_per_node)

    def of_index(index: Rank, buffer: int) -> Selection:  # one block of every node
        return chunks(index, n_ranks - index, stride=node, buffer=buffer)

    def of_node(number: Rank, buffer: int) -> Selection:
        return chunks(number * node, node, buffer=buffer)

    def trade(dimension: int, blocks: Callable[[Rank, int], Selection], source: int, target: int) -> Iterator[Step]:
        def everyone(me: Rank, size: int) -> Iterator[Step]:
            send, receive = (lambda me, peer: blocks(peer, source)), (lambda me, peer: blocks(peer, target))
            yield [direct(me, size, send=send, receive=receive, distances=(0, size))]

        yield from within(lines(shape, dimension), rank, everyone)

    yield from trade(0, of_index, DATA, SCRATCH)
    yield from trade(1, of_node, SCRATCH, OUTPUT)
