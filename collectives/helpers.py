"""Pieces that several algorithms are made of, each written once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from commsim.program import PROC_NULL, Program, Rank, Step, chunk, chunks, exchange, where, within


def largest_power_of_two(n_ranks: int) -> int:
    """The largest power of two that is at most `n_ranks`."""
    return 1 << (n_ranks.bit_length() - 1)


def rounds(n_ranks: int) -> int:
    """``ceil(log2 n_ranks)``: the steps after which everyone can have heard of everyone."""
    return (n_ranks - 1).bit_length()


def halvings(n_ranks: int) -> list[int]:
    """``[…, 4, 2, 1]``: the powers of two below `n_ranks`, largest first."""
    return [1 << k for k in reversed(range(rounds(n_ranks)))]


def folded(rank: Rank, n_ranks: int, program: Program, *, n_chunks: int) -> Iterator[Step]:
    """An allreduce `program` for powers of two, on any number of ranks.

    With q the power of two and ``rem = n_ranks - q``, the even ranks below ``2*rem`` hand their vector to the next rank
    before, and get the result from it after (Thakur, Rabenseifner, Gropp 2005, section 4.5).
    """
    paired = 2 * (n_ranks - largest_power_of_two(n_ranks))
    gives, takes = (rank < paired) & (rank % 2 == 0), (rank < paired) & (rank % 2 == 1)
    up, down = where(gives, rank + 1, PROC_NULL), where(takes, rank - 1, PROC_NULL)
    everything = chunks(0, n_chunks)
    if paired:
        yield [exchange(up, down, send=everything, receive=everything, reduce=True)]
    survivors = np.concatenate([np.arange(1, paired, 2), np.arange(paired, n_ranks)])
    yield from within([survivors.tolist()], rank, program)
    if paired:
        yield [exchange(down, up, send=everything, receive=everything)]


def fold_cost_s(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """What :func:`folded` adds: nothing for a power of two."""
    folds = largest_power_of_two(n_ranks) < n_ranks
    return 2 * alpha + 2 * n_bytes * beta + n_bytes * gamma if folds else 0.0


def binomial_edges(virtual: Rank, rank: Rank, n_ranks: int, half: int) -> tuple[Rank, Rank]:
    """In the round of a binomial tree that spans `half`: whom a rank sends to, and whom it receives from.

    ``virtual`` is the rank counted from the root.
    """
    gives = (virtual % (2 * half) == 0) & (virtual + half < n_ranks)
    takes = virtual % (2 * half) == half
    return where(gives, (rank + half) % n_ranks, PROC_NULL), where(takes, (rank - half) % n_ranks, PROC_NULL)


def ring_reduce_scatter(rank: Rank, n_ranks: int) -> Iterator[Step]:
    """One chunk a rank: after ``n_ranks - 1`` steps rank r holds the reduction of chunk ``(r + 1) mod n_ranks``."""
    yield from _ring(rank, n_ranks, first_chunk=rank, reduce=True)


def ring_allgather(rank: Rank, n_ranks: int, *, shift: int = 0) -> Iterator[Step]:
    """Rank r starts with chunk ``(r + shift) mod n_ranks``; after ``n_ranks - 1`` steps all have all."""
    yield from _ring(rank, n_ranks, first_chunk=rank + shift, reduce=False)


def _ring(rank: Rank, n_ranks: int, *, first_chunk: Rank, reduce: bool) -> Iterator[Step]:
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    for step in range(n_ranks - 1):
        send, receive = (first_chunk - step) % n_ranks, (first_chunk - step - 1) % n_ranks
        yield [exchange(right, left, send=chunk(send), receive=chunk(receive), reduce=reduce)]
