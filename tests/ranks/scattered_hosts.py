"""Ranks of two hosts in turn, as MPICH pretends: started by test_mpi.py on 4 ranks, never collected by itself."""

import sys

import numpy as np
import pytest
from mpi4py import MPI

import collectives
from collectives.mpi import Place
from commsim.algorithm import SCATTERED
from commsim.errors import RefusedError

WORLD = MPI.COMM_WORLD
P, ME = WORLD.size, WORLD.rank
EVERYONE = np.arange(P * 50).reshape(P, 50) ** 2
place = Place.of(WORLD)

if MPI.Get_library_version().startswith("MPICH"):  # others have no such nodes
    assert (place.groups, place.host_by_host.groups) == (SCATTERED, 2)
    assert place.number(1, WORLD) == 1
    numbered = [place.host_by_host.number(rank, WORLD) for rank in range(P)]
    assert numbered == [0, 2, 1, 3], numbered
    for algorithm in ("hierarchical", "node_split", "multi_leader", "nccl_tree", "auto"):
        for _ in range(2):
            got = EVERYONE[ME].copy()
            collectives.Allreduce(WORLD, MPI.IN_PLACE, got, algorithm=algorithm)
            assert (got == EVERYONE.sum(axis=0)).all(), algorithm
    for root in range(P):
        got = EVERYONE[ME].copy()
        collectives.Bcast(WORLD, got, root, algorithm="hierarchical")
        assert (got == EVERYONE[root]).all()
        got = np.zeros(50, np.int64)
        collectives.Reduce(WORLD, EVERYONE[ME].copy(), got, root=root, algorithm="hierarchical")
        assert root != ME or (got == EVERYONE.sum(axis=0)).all()
    last = MPI.Op.Create(lambda left, right, kind: None, commute=False)
    ranks = np.array([ME])
    collectives.Allreduce(WORLD, MPI.IN_PLACE, ranks, last)  # the right one stays: the last rank's
    assert ranks[0] == P - 1
    whole = np.zeros(P, np.int64)
    for name, said, *arguments in (
        ("Alltoall", "do not follow each other", whole, whole.copy(), "node_aggregated"),
        ("Allreduce", "numbered host by host", whole, whole.copy(), last, "hierarchical:inter=linear"),
    ):
        with pytest.raises(RefusedError, match=said):
            getattr(collectives, name)(WORLD, *arguments)
    last.Free()
place.free()
sys.stdout.write("right\n")
