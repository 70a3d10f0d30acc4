"""Linear alltoallv with a window: alltoall's, with a size for each pair."""

from __future__ import annotations

from collectives.alltoall.linear_windowed import cost
from collectives.alltoall.linear_windowed import linear_windowed as of_equal_blocks
from commsim import algorithm

linear_windowed = algorithm(
    "alltoallv",
    cost=cost,
    constraints=of_equal_blocks.constraints,
    source="MPICH: alltoallv_intra_scattered (a window of MPIR_CVAR_ALLTOALL_THROTTLE ranks, 32)",
    names={"MPICH": "scattered"},
)(of_equal_blocks.program)
