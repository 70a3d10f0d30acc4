"""The algorithms, one a file: ``collectives.allreduce.ring``. Found by name through :mod:`collectives.registry`.

On real ranks: :mod:`collectives.plan`, with any :class:`Operation`.
"""

from collectives import (
    allgather,
    allreduce,
    alltoall,
    alltoallv,
    barrier,
    broadcast,
    gather,
    reduce,
    reduce_scatter,
    scatter,
)
from collectives.operations import Operation

__all__ = [
    "Operation",
    "allgather",
    "allreduce",
    "alltoall",
    "alltoallv",
    "barrier",
    "broadcast",
    "gather",
    "reduce",
    "reduce_scatter",
    "scatter",
]
