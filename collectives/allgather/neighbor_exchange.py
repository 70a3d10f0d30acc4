"""Neighbour exchange: two blocks a step, with the right and the left neighbour in turn; half the steps of a ring."""

from __future__ import annotations

from collections.abc import Iterator

from commsim import Constraint, Rank, Step, algorithm, chunk, chunks, exchange, where


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """p/2·α + (p-1)/p·nβ"""
    return n_ranks // 2 * alpha + (n_ranks - 1) / n_ranks * n_bytes * beta


def _odd(n_ranks: int) -> str | None:
    if n_ranks % 2 and n_ranks > 1:
        return "it pairs neighbours, so their number must be even; ring takes any, circulant in ceil(log2 p) steps"
    return None


@algorithm(
    "allgather",
    cost=cost,
    constraints=(Constraint("even number of ranks", _odd),),
    source="Chen et al.: Performance evaluation of allgather algorithms on terascale Linux cluster with fast Ethernet, "
    "HPC-Asia 2005",
    names={"Open MPI": "5 neighbor", "UCC": "neighbor", "SMPI": "ompi_neighborexchange"},
)
def neighbor_exchange(rank: Rank, n_ranks: int) -> Iterator[Step]:
    side = where(rank % 2 == 0, 1, -1)  # an even rank begins with its right neighbour
    pair, received = rank // 2, 0  # pair j is blocks 2j and 2j + 1
    for step in range(n_ranks // 2):
        turn = -1 if step % 2 else 1
        peer, sent, received = (rank + side * turn) % n_ranks, received, (step + 1) // 2 * turn
        send, receive = (2 * ((pair + side * offset) % (n_ranks // 2)) for offset in (sent, received))
        if step == 0:
            yield [exchange(peer, peer, send=chunk(rank), receive=chunk(peer))]
        else:
            yield [exchange(peer, peer, send=chunks(send, 2), receive=chunks(receive, 2))]
