"""Linear alltoallv with a window: alltoall's, with a size for each pair."""

from __future__ import annotations

from collectives import alltoall
from commsim import algorithm

linear_windowed = algorithm(
    "alltoallv",
    cost=alltoall.linear_windowed.cost,
    constraints=alltoall.linear_windowed.constraints,
    source="MPICH: alltoallv_intra_scattered (a window of MPIR_CVAR_ALLTOALL_THROTTLE ranks, 32)",
    names={"MPICH": "scattered"},
)(alltoall.linear_windowed.program)
