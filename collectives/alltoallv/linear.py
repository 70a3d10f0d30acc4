"""Linear alltoallv: alltoall's, with a size for each pair."""

from __future__ import annotations

from collectives import alltoall
from commsim import algorithm

linear = algorithm(
    "alltoallv",
    cost=alltoall.linear.cost,
    source="Open MPI coll/base: alltoallv_intra_basic_linear",
    names={"Open MPI": "1 basic_linear", "SMPI": "ompi_basic_linear"},
)(alltoall.linear.program)
