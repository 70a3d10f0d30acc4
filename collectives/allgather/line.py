"""Line allgather: every block goes up and down the line of ranks, one rank a step; nothing closes the line to a ring.

On a mesh a ring comes back over the links that it went; here the link above rank k carries k + 1 blocks up, and the
others down.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from collectives.step_clocks import steps_cost_s
from commsim import PROC_NULL, Exchange, Rank, Step, algorithm, chunk, exchange, where


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float) -> float:
    """(p-1)(α + n/p·β), each direction on a port of its own; on one port a rank that passes on both ways takes twice"""
    return steps_cost_s(_steps(np.arange(n_ranks), n_ranks), n_ranks, n_bytes / n_ranks, alpha, beta, gamma)


@algorithm(
    "allgather",
    cost=cost,
    source="Barnett et al.: Global combine on mesh architectures with wormhole routing, IPPS 1993, both ways at once",
)
def line(rank: Rank, n_ranks: int) -> Iterator[Step]:
    yield from _steps(rank, n_ranks)


def _steps(rank: Rank, n_ranks: int) -> Iterator[Step]:
    for step in range(n_ranks - 1):
        yield [_passed_on(rank, n_ranks, step, way) for way in (1, -1)]


def _passed_on(rank: Rank, n_ranks: int, step: int, way: int) -> Exchange:
    """One rank further `way`: the block that is as many ranks behind as there were steps."""
    ahead, behind = rank + way, rank - way
    sent, received = rank - way * step, behind - way * step
    sends = _on_the_line(ahead, n_ranks) & _on_the_line(sent, n_ranks)
    receives = _on_the_line(behind, n_ranks) & _on_the_line(received, n_ranks)
    return exchange(
        where(sends, ahead, PROC_NULL),
        where(receives, behind, PROC_NULL),
        send=chunk(sent % n_ranks),
        receive=chunk(received % n_ranks),
    )


def _on_the_line(rank: Rank, n_ranks: int) -> Any:
    return (rank >= 0) & (rank < n_ranks)
