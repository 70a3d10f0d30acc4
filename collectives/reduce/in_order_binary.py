"""In-order binary tree reduce: below every rank stand those before it on the left, those after it on the right.

Open MPI roots its tree at the last rank, which sends the result on; here the root stands where its rank belongs. How
long it takes depends on where that is, so there is no formula for all roots.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.parameters import SEGMENTS, segments_by_size
from collectives.trees import in_order_tree, reduce_up
from commsim import Rank, Step, algorithm


@algorithm(
    "reduce",
    chunks=lambda n_ranks, *, segments: segments,
    defaults=segments_by_size,
    constraints=(SEGMENTS,),
    source="Open MPI coll/base: reduce_intra_in_order_binary",
    names={"Open MPI": "6 in-order_binary", "SMPI": "ompi_in_order_binary"},
)
def in_order_binary(rank: Rank, n_ranks: int, *, root: int, segments: int) -> Iterator[Step]:
    yield from reduce_up(rank, [in_order_tree(n_ranks, root)], segments)
