"""Segmented ring allreduce: a ring whose reduce-scatter reduces one segment while the next one arrives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from collectives.hierarchy import Stage
from collectives.parameters import MOST_CHOSEN, segments_at_least
from commsim import COMMUTATIVE, SCRATCH, Exchange, Groups, Rank, Step, algorithm, chunk, exchange

SEGMENT_BYTES = 1 << 20  # as in Open MPI 4.0's fixed decision


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """α + mβ + ((p-1)S - 1)·max(α + mβ, mγ) + mγ + (p-1)(α + n/p·β), S segments a chunk, m = n/(pS); 0 for p = 1"""
    p, m = n_ranks, n_bytes / (n_ranks * segments)
    transfer, reduction = alpha + m * beta, m * gamma
    reduce_scatter_s = transfer + ((p - 1) * segments - 1) * max(transfer, reduction) + reduction
    return reduce_scatter_s + (p - 1) * (alpha + n_bytes / p * beta) if p > 1 else 0.0


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, int]:
    """Segments of 1 MiB, 2 to 1024 of them in a chunk."""
    return {"segments": min(max(-(-n_bytes // (n_ranks * SEGMENT_BYTES)), 2), MOST_CHOSEN)}


@algorithm(
    "allreduce",
    chunks=lambda n_ranks, *, segments: n_ranks * segments,
    scratch=1,
    cost=cost,
    defaults=defaults,
    constraints=(COMMUTATIVE, segments_at_least(2, "one is reduced while another arrives; ring has one")),
    source="Open MPI coll/base: allreduce_intra_ring_segmented; Gloo: allreduce_ring_chunked",
    names={"Open MPI": "5 segmented_ring", "Gloo": "ring_chunked", "SMPI": "ompi_ring_segmented"},
)
def ring_segmented(rank: Rank, n_ranks: int, *, segments: int) -> Iterator[Step]:
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    reduction: list[Exchange] = []
    for step in range(1, n_ranks):
        for segment in range(segments):
            send, receive = (who % n_ranks * segments + segment for who in (rank - step, left - step))
            yield [exchange(right, left, send=chunk(send), receive=chunk(receive, buffer=SCRATCH)), *reduction]
            arrived, kept = chunk(receive, buffer=SCRATCH), chunk(receive)
            reduction = [exchange(rank, rank, send=arrived, receive=kept, reduce=True)]
    yield reduction
    yield from Stage("allgather", "ring", [range(n_ranks)]).steps(rank, 0, n_ranks * segments)
