"""Linear alltoallv: alltoall's, with a size for each pair."""

from __future__ import annotations

from collectives.alltoall.linear import cost
from collectives.alltoall.linear import linear as of_equal_blocks
from commsim import algorithm

linear = algorithm(
    "alltoallv",
    cost=cost,
    source="Open MPI coll/base: alltoallv_intra_basic_linear",
    names={"Open MPI": "1 basic_linear", "SMPI": "ompi_basic_linear"},
)(of_equal_blocks.program)
