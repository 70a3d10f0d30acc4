"""Node-aggregated alltoall: leaders collect the blocks of their nodes, trade them, and hand them out.

One message goes from node to node, with all that the ranks of the one have for those of the other.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import EQUAL_NODES, equal_nodes_by_machine
from commsim import (
    OUTPUT,
    PROC_NULL,
    SCRATCH,
    Rank,
    Selection,
    Step,
    algorithm,
    chunks,
    direct,
    exchange,
    where,
    within,
)


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, ranks_per_node: int) -> float:
    """3α + (2(l-1) + l(h-1)/h)nβ, l = ranks_per_node, h = p/l; 2α less for l = 1, α less for h = 1"""
    node, n_nodes = ranks_per_node, n_ranks // ranks_per_node
    in_node = 2 * (alpha + (node - 1) * n_bytes * beta) if node > 1 else 0.0
    return in_node + (alpha + node * (n_nodes - 1) / n_nodes * n_bytes * beta if n_nodes > 1 else 0.0)


@algorithm(
    "alltoall",
    scratch=lambda n_ranks, *, ranks_per_node: 2 * ranks_per_node,
    cost=cost,
    defaults=equal_nodes_by_machine,
    constraints=(EQUAL_NODES,),
    source="Open MPI coll/han: alltoall (smsc)",
    names={"Open MPI": "han"},
)
def node_aggregated(rank: Rank, n_ranks: int, *, ranks_per_node: int) -> Iterator[Step]:
    node, local = ranks_per_node, rank % ranks_per_node
    collected, traded = SCRATCH, SCRATCH + node  # a leader's: by other node, then sending rank, then receiving rank
    all_of_node = node * n_ranks
    gather, scatter = [], []
    for index in range(node):
        leader, member = where(local == index, rank - index, PROC_NULL), where(local == 0, rank + index, PROC_NULL)
        first, length = index * node, all_of_node - node**2 + node
        sent = chunks(first, length, block=node, stride=node**2, buffer=collected, size=all_of_node)
        taken = chunks(index, all_of_node - node + 1, stride=node, buffer=traded, size=all_of_node)
        gather.append(exchange(leader, member, send=chunks(0, n_ranks), receive=sent))
        scatter.append(exchange(member, leader, send=taken, receive=chunks(0, n_ranks, buffer=OUTPUT)))

    def of_node(number: Rank, buffer: int) -> Selection:
        return chunks(number * node**2, node**2, buffer=buffer, size=all_of_node)

    def trade(me: Rank, size: int) -> Iterator[Step]:
        send, receive = (lambda me, peer: of_node(peer, collected)), (lambda me, peer: of_node(peer, traded))
        yield [direct(me, size, send=send, receive=receive, distances=(0, size))]

    yield gather
    yield from within([range(0, n_ranks, node)], rank, trade)
    yield scatter
