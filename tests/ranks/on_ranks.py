"""Runs on real ranks: started by tests/test_mpi.py through mpiexec, never collected by itself."""

import numpy as np
import pytest
from mpi4py import MPI

from collectives.mpi import LibraryPlan, Plan, execute, ranks_per_node
from collectives.registry import all_algorithms, find
from commsim import Schedule, algorithm, chunks, exchange, execute_in_process, fan_in, fan_out, verify, where
from commsim.collective import ALLREDUCE
from commsim.errors import InputError, ScheduleError

WORLD = MPI.COMM_WORLD
COUNTS = sorted({0, 1, max(WORLD.size - 1, 0), WORLD.size, WORLD.size + 1, 97, 1009})
NUMPY_OPS = {"sum": np.add, "prod": np.multiply, "max": np.maximum, "min": np.minimum}
MPI_OPS = {"sum": MPI.SUM, "prod": MPI.PROD, "max": MPI.MAX, "min": MPI.MIN}
ALGORITHMS = [pytest.param(one, id=f"{one.collective.name}-{one.name}") for one in all_algorithms()]
INTEGERS, FLOATS = ("uint8", "int16", "int32", "int64"), ("float32", "float64")


def vector(rank, count, dtype):
    rng = np.random.default_rng([rank, count])
    if dtype in FLOATS:
        return rng.standard_normal(count).astype(dtype)
    return rng.integers(0, 120 // WORLD.size, count).astype(dtype)  # no overflow: Open MPI saturates uint8 sums


def roots(one, comm):
    return sorted({0, comm.size // 2, comm.size - 1}) if one.collective.rooted else [0]


def wanted(one, comm, count, dtype, op, root):
    """The result by numpy, and by the MPI library: they must agree where arithmetic is exact."""
    everyone = [vector(rank, count, dtype) for rank in range(comm.size)]
    library = everyone[comm.rank].copy()
    if one.collective is ALLREDUCE:
        comm.Allreduce(MPI.IN_PLACE, library, MPI_OPS[op])
        by_numpy = everyone[0].copy()
        for other in everyone[1:]:
            by_numpy = NUMPY_OPS[op](by_numpy, other)
    else:
        comm.Bcast(library, root)
        by_numpy = everyone[root]
    if dtype in INTEGERS:
        np.testing.assert_array_equal(library, by_numpy)
    return by_numpy


def check(one, comm, count, dtype, op="sum", root=0):
    buffer = vector(comm.rank, count, dtype)
    plan = Plan(one, comm, buffer, op=op, root=root)
    for _ in range(2):  # a plan can run again
        buffer[:] = vector(comm.rank, count, dtype)
        plan.run()
    plan.free()
    expected = wanted(one, comm, count, dtype, op, root)
    if dtype in INTEGERS or not one.collective.reduces:
        np.testing.assert_array_equal(buffer, expected)
    else:
        np.testing.assert_allclose(buffer, expected, rtol=0, atol=8 * comm.size * np.finfo(dtype).eps)


@pytest.mark.parametrize("one", ALGORITHMS)
@pytest.mark.parametrize("dtype", INTEGERS + FLOATS if WORLD.size <= 4 else ("int32", "float64"))
def test_every_algorithm_type_and_count(one, dtype):
    for count in COUNTS:
        for root in roots(one, WORLD):
            check(one, WORLD, count, dtype, root=root)


@pytest.mark.parametrize("one", ALGORITHMS)
@pytest.mark.parametrize("op", ["prod", "max", "min"])
def test_operations(one, op):
    check(one, WORLD, 101, "int64", op=op)


@pytest.mark.parametrize("one", ALGORITHMS)
def test_every_rank_gets_the_same_bits(one):
    buffer = vector(WORLD.rank, 1009, "float32")
    execute(one, WORLD, buffer)
    assert all(bits == buffer.tobytes() for bits in WORLD.allgather(buffer.tobytes()))


@pytest.mark.parametrize("spec", ["chain:segments=7", "chain:segments=1000"])
def test_segments(spec):
    check(find("broadcast", spec), WORLD, 97, "int32", root=WORLD.size - 1)


@pytest.mark.parametrize("inter", ["ring", "rabenseifner", "recursive_doubling", "linear"])
def test_nodes_of_every_size(inter):
    for per_node in (d for d in range(1, WORLD.size + 1) if WORLD.size % d == 0):
        check(find("allreduce", f"node_split:ranks_per_node={per_node},inter={inter}"), WORLD, 103, "int64")


def test_other_communicators():
    """Reversed and halved: ranks of the communicator count, not those of the world."""
    turned = WORLD.Split(0, -WORLD.rank)
    half = WORLD.Split(WORLD.rank % 2, WORLD.rank)
    for comm in (turned, half):
        for one in all_algorithms():
            check(one, comm, 37, "int32", root=comm.size - 1 if one.collective.rooted else 0)
        comm.Free()


@algorithm("allreduce", chunks=5)
def awkward(rank, n_ranks):
    """Everything that a plan must stage: wrapped ranges, chunks sent and overwritten at once, messages to oneself."""
    right, left = (rank + 1) % n_ranks, (rank - 1) % n_ranks
    yield [exchange(right, left, send=chunks(3, 4), receive=chunks(3, 4))]
    yield [
        exchange(right, left, send=chunks(0, 2), receive=chunks(1, 2), reduce=True),
        exchange(left, right, send=chunks(1, 3), receive=chunks(4, 3), reduce=True),
        exchange(rank, rank, send=chunks(0, 1), receive=chunks(3, 1)),
    ]
    yield [fan_in(rank, n_ranks, n_ranks - 1, send=chunks(2, 3), receive=chunks(0, 3), reduce=True)]
    yield [fan_out(rank, n_ranks, n_ranks - 1, send=chunks(4, 2), receive=chunks(4, 2))]
    first = where(rank == 0, 0, -1)
    yield [exchange(first, first, send=chunks(0, 5), receive=chunks(0, 5), reduce=True)]


@pytest.mark.parametrize("count", [0, 5, 50, 1000])  # its selections pair up where all chunks have one size
def test_real_ranks_equal_the_executor_in_process(count):
    everyone = np.array([vector(rank, count, "int64") for rank in range(WORLD.size)])
    expected = execute_in_process(awkward, everyone)
    buffer = everyone[WORLD.rank].copy()
    execute(awkward, WORLD, buffer)
    np.testing.assert_array_equal(buffer, expected[WORLD.rank])


def test_refuses_buffers_that_it_cannot_use():
    for bad in (np.zeros((2, 2)), np.zeros(10)[::2]):
        with pytest.raises(InputError, match="one-dimensional and contiguous"):
            Plan(find("allreduce", "ring"), WORLD, bad)
    with pytest.raises(InputError, match="unknown op 'sun'; did you mean 'sum'"):
        Plan(find("allreduce", "ring"), WORLD, np.zeros(3), op="sun")
    with pytest.raises(InputError, match="no type for"):
        LibraryPlan(ALLREDUCE, WORLD, np.zeros(3, "V3"))


def test_half_precision_goes_through_our_own_algorithms():
    buffer = np.full(33, WORLD.rank + 1, np.float16)
    execute(find("allreduce", "ring"), WORLD, buffer)
    np.testing.assert_array_equal(buffer, WORLD.size * (WORLD.size + 1) / 2)


def test_a_message_to_oneself_needs_both_ends():
    @algorithm("allreduce", chunks=1)
    def half(rank, n_ranks):
        yield [exchange(rank, -1, send=chunks(0, 1))]

    with pytest.raises(ScheduleError, match="sends to itself"):
        Plan(half, WORLD, np.zeros(4))


def test_all_ranks_are_on_one_host():
    assert ranks_per_node(WORLD) == WORLD.size


def test_schedule_of_one_rank_is_what_is_verified():
    one = find("allreduce", "ring").resolved(WORLD.size)
    assert verify(one, WORLD.size).n_steps == len(list(Schedule(one, WORLD.size, rank=WORLD.rank)))
