"""Pairwise alltoallv: alltoall's, with a size for each pair."""

from __future__ import annotations

from collectives import alltoall
from commsim import algorithm

pairwise = algorithm(
    "alltoallv",
    cost=alltoall.pairwise.cost,
    source="Open MPI coll/base: alltoallv_intra_pairwise",
    names={"Open MPI": "2 pairwise", "UCC": "pairwise", "SMPI": "pair, ring"},
)(alltoall.pairwise.program)
