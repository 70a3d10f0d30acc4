"""Pipelined chain broadcast: segments pass from rank to rank, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from commsim.algorithm import Constraint, Groups, algorithm
from commsim.program import PROC_NULL, Rank, Step, chunk, exchange, where

SEGMENT_BYTES = 128 * 1024  # MPICH's chunk of its pipelined broadcasts
MAX_SEGMENTS = 1 << 20


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, segments: int) -> float:
    """(p+S-2)(α + n/S·β), S segments; 0 for p = 1"""
    return (n_ranks + segments - 2) * (alpha + n_bytes / segments * beta) if n_ranks > 1 else 0.0


def defaults(n_ranks: int, n_bytes: int, groups: Groups, **given: Any) -> dict[str, Any]:
    """Segments of 128 KiB, at most 1024 of them."""
    return {"segments": min(max(-(-n_bytes // SEGMENT_BYTES), 1), 1024)}


def _no_segments(n_ranks: int, *, segments: int) -> str | None:
    return None if 1 <= segments <= MAX_SEGMENTS else f"segments={segments} must be 1 to {MAX_SEGMENTS}"


@algorithm(
    "broadcast",
    chunks=lambda n_ranks, *, segments: segments,
    cost=cost,
    defaults=defaults,
    constraints=(Constraint("segments", _no_segments),),
    source="Pjesivac-Grbovic et al.: Performance analysis of MPI collective operations, Cluster Computing 10, 2007",
    names={"Open MPI": "3 pipeline", "MPICH": "pipelined_tree (kary, k=1)", "NCCL": "Ring", "SMPI": "ompi_pipeline"},
)
def chain(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    depth = (rank - root) % n_ranks
    for step in range(n_ranks + segments - 2 if n_ranks > 1 else 0):
        send, receive = step - depth, step - depth + 1  # rank at depth d has segment s from step s + d on
        gives = (send >= 0) & (send < segments) & (depth < n_ranks - 1)
        takes = (receive >= 0) & (receive < segments) & (depth > 0)
        dst, src = where(gives, (rank + 1) % n_ranks, PROC_NULL), where(takes, (rank - 1) % n_ranks, PROC_NULL)
        yield [exchange(dst, src, send=chunk(send), receive=chunk(receive))]
