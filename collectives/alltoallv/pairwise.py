"""Pairwise alltoallv: alltoall's, with a size for each pair."""

from __future__ import annotations

from collectives.alltoall.pairwise import cost
from collectives.alltoall.pairwise import pairwise as of_equal_blocks
from commsim import algorithm

pairwise = algorithm(
    "alltoallv",
    cost=cost,
    source="Open MPI coll/base: alltoallv_intra_pairwise",
    names={"Open MPI": "2 pairwise", "UCC": "pairwise", "SMPI": "pair, ring"},
)(of_equal_blocks.program)
