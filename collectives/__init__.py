"""The algorithms, one a file: ``collectives.allreduce.ring``. Found by name through :mod:`collectives.registry`.

On real ranks, in mpi4py's form: ``collectives.Allreduce(comm, sendbuf, recvbuf, op, algorithm="ring")`` and the others
of :mod:`collectives.calls`, with any :class:`Operation`.
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
from collectives.calls import (
    Allgather,
    Allreduce,
    Allreduce_init,
    Alltoall,
    Alltoallv,
    Barrier,
    Bcast,
    Gather,
    Iallreduce,
    Reduce,
    Reduce_scatter,
    Reduce_scatter_block,
    Scatter,
)
from collectives.operations import Operation
from collectives.requests import Request

__all__ = [
    "Allgather",
    "Allreduce",
    "Allreduce_init",
    "Alltoall",
    "Alltoallv",
    "Barrier",
    "Bcast",
    "Gather",
    "Iallreduce",
    "Operation",
    "Reduce",
    "Reduce_scatter",
    "Reduce_scatter_block",
    "Request",
    "Scatter",
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
