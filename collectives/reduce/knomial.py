"""K-nomial tree reduce: the k-nomial broadcast backwards; radix 2 is binomial."""

from __future__ import annotations

from collections.abc import Iterator

from collectives import broadcast
from collectives.broadcast.knomial import cost as broadcast_cost_s
from collectives.helpers import mirrored
from collectives.parameters import RADIX
from commsim import COMMUTATIVE, Rank, Step, algorithm


def cost(n_ranks: int, n_bytes: int, alpha: float, beta: float, gamma: float, *, radix: int) -> float:
    """⌈log_k p⌉(α + (k-1)n(β + γ)), k = radix; in its last round the root receives ⌈p/k^(⌈log_k p⌉-1)⌉-1 times only"""
    return broadcast_cost_s(n_ranks, n_bytes, alpha, beta + gamma, 0.0, radix=radix)


@algorithm(
    "reduce",
    cost=cost,
    constraints=(COMMUTATIVE, RADIX),
    source="Open MPI coll/base: reduce_intra_knomial",
    names={"Open MPI": "8 knomial", "UCC": "knomial", "SMPI": "mvapich2_knomial"},
)
def knomial(rank: Rank, n_ranks: int, *, root: int, radix: int = 4) -> Iterator[Step]:
    yield from mirrored(rank, n_ranks, broadcast.knomial.program, reduce=True, root=root, radix=radix)
