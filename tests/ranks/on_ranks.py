"""Runs on real ranks: started by tests/test_mpi.py through mpiexec, never collected by itself."""

import time

import numpy as np
import pytest
from mpi4py import MPI

from collectives import drafts
from collectives.mpi import LibraryPlan, Place, ranks_per_node
from collectives.operations import Operation
from collectives.plan import Plan, execute, execute_apart
from collectives.registry import find
from commsim import (
    OUTPUT,
    ROUNDS_APART,
    Schedule,
    algorithm,
    chunk,
    chunks,
    direct,
    exchange,
    execute_in_process,
    fabric_multicast,
    fabric_reduce,
    fan_in,
    fan_out,
    lanes,
    listed,
    same_program,
    verify,
    where,
)
from commsim.collective import ALLREDUCE
from commsim.errors import InputError, RefusedError, ScheduleError
from tests.ranks.random_steps import N_CHUNKS, random_algorithm
from tests.variants import PLAIN, SPECS, name_of, takes

WORLD = MPI.COMM_WORLD
PLACE = Place.of(WORLD)  # a plan on a communicator asks who shares a host, which takes longer here than the plan does
CROWDED = WORLD.size > 3  # ranks share cores, and messages wait for their turn: fewer cases
FEW = {0: "int32", WORLD.size + 1: "uint8", 97: "float64"}
ALL = dict.fromkeys(sorted({0, 1, max(WORLD.size - 1, 0), WORLD.size, WORLD.size + 1, 97}), "int32")
COUNTS = FEW if CROWDED else ALL  # and the type of each
CASES = [case for case in (PLAIN if CROWDED else SPECS) if takes(find(*case), WORLD.size)]
ALGORITHMS = [pytest.param(find(*case), id=name_of(case)) for case in CASES]
REDUCING = [one for one in ALGORITHMS if one.values[0].collective.reduces]
INTEGERS, FLOATS = ("uint8", "int16", "int32", "int64"), ("float32", "float64")


def affine(left, right):
    """Composition of maps x -> a*x + b modulo 2^16, packed in an integer: associative, and does not commute."""
    mask = np.int64(0xFFFF)
    a, b, c, d = left >> 16, left & mask, right >> 16, right & mask
    return ((a * c) & mask) << 16 | ((a * d + b) & mask)


def vector(rank, count, dtype):
    rng = np.random.default_rng([rank, count])
    if dtype in FLOATS:
        return rng.standard_normal(count).astype(dtype)
    return rng.integers(0, 120 // WORLD.size, count).astype(dtype)  # no overflow: Open MPI saturates uint8 sums


def roots(one, comm):
    if not one.collective.rooted:
        return [0]
    return [comm.size // 2] if CROWDED else sorted({0, comm.size // 2, comm.size - 1})


class Made:
    """A plan on fresh buffers, of an algorithm or (None) of the MPI library."""

    def __init__(self, one, comm, count, dtype, op="sum", root=0, library=False):
        kind = one.collective
        self.counts, self.data = None, vector(comm.rank, count * comm.size if kind.has_output else count, dtype)
        if kind.joins:
            self.data = self.data[:0]
        n_output = len(self.data)
        if kind.sizes_each:
            self.counts = np.random.default_rng(count).integers(0, count + 1, (comm.size, comm.size))
            self.data = vector(comm.rank, int(self.counts[comm.rank].sum()), dtype)
            n_output = int(self.counts[:, comm.rank].sum())
        self.buffer = self.data.copy()
        output = np.zeros(n_output, dtype) if kind.has_output else None
        options = {"op": op, "root": root, "counts": self.counts}
        if library:
            self.plan = LibraryPlan(kind, comm, self.buffer, output, **options)
        else:
            self.plan = Plan(one, PLACE if comm is WORLD else comm, self.buffer, output, **options)

    def result(self, times=1):
        for _ in range(times):
            self.buffer[:] = self.data
            self.plan.run()
        done = self.plan.result.copy()
        self.plan.free()
        return done


def check(one, comm, count, dtype, op="sum", root=0):
    """The same as the MPI library's own collective, bit for bit where arithmetic is exact; in a second run too."""
    ours = Made(one, comm, count, dtype, op, root).result(times=2)
    library = Made(one, comm, count, dtype, op, root, library=True).result()
    if dtype in INTEGERS or not one.collective.reduces:
        np.testing.assert_array_equal(ours, library)
    else:
        np.testing.assert_allclose(ours, library, rtol=0, atol=8 * comm.size * np.finfo(dtype).eps)


@pytest.mark.parametrize("one", ALGORITHMS)
def test_every_algorithm_count_and_root(one):
    for count, dtype in COUNTS.items():
        for root in roots(one, WORLD):
            check(one, WORLD, count, dtype, root=root)


if not CROWDED:

    @pytest.mark.parametrize("one", ALGORITHMS)
    @pytest.mark.parametrize("dtype", INTEGERS + FLOATS)
    def test_every_type(one, dtype):
        check(one, WORLD, 101, dtype)


@pytest.mark.parametrize("one", REDUCING)
@pytest.mark.parametrize("op", ["prod"] if CROWDED else ["prod", "max", "min"])
def test_operations(one, op):
    check(one, WORLD, 37, "int64", op=op, root=roots(one, WORLD)[-1])


@pytest.mark.parametrize("one", REDUCING)
def test_a_function_of_the_users(one):
    """Only what keeps the order of ranks takes an operation that does not commute, and keeps it."""
    gcd = Operation(lambda a, b: np.gcd(a, b), commutative=True)
    check(one, WORLD, 37, "int64", op=gcd)
    if Schedule(one.resolved(WORLD.size), WORLD.size).keeps_order:
        check(one, WORLD, 37, "int64", op=Operation(affine), root=roots(one, WORLD)[-1])
    else:
        with pytest.raises(RefusedError, match="does not commute"):
            Plan(one, WORLD, np.zeros(3, np.int64), op=affine)


@pytest.mark.parametrize("one", [one for one in REDUCING if one.values[0].collective is ALLREDUCE])
def test_every_rank_gets_the_same_bits(one):
    if ROUNDS_APART in one.resolved(WORLD.size).constraints:
        return
    buffer = vector(WORLD.rank, 1009, "float32")
    execute(one, PLACE, buffer)
    assert all(bits == buffer.tobytes() for bits in WORLD.allgather(buffer.tobytes()))


@pytest.mark.parametrize("one", [one for one in ALGORITHMS if not one.values[0].collective.joins])
def test_two_buffers_as_mpi_has_them(one):
    """Out of place: what is sent stays as it is, and each rank gives and gets what MPI's own call would."""
    kind, p, me = one.collective, WORLD.size, WORLD.rank
    counts = np.full((p, p), 3) if kind.sizes_each else None
    for root in roots(one, WORLD):
        whole, block = vector(me, 3 * p, "int64"), vector(me, 3, "int64")
        has_root = me == root or not kind.rooted
        gives = block if kind.name in ("allgather", "gather") else whole
        gives = gives if kind.name not in ("broadcast", "scatter") or has_root else None
        n_got = 3 if kind.name in ("reduce_scatter", "scatter") else 3 * p
        got = np.full(n_got, -1) if kind.name not in ("reduce", "gather") or has_root else None
        before = None if gives is None else gives.copy()
        execute_apart(one, WORLD, gives, got, root=root, counts=counts)
        assert before is None or (gives == before).all()
        expected = np.full(n_got, -1)
        if kind.name == "broadcast":
            expected = whole if has_root else expected
        by_mpi(kind.name, gives, expected, expected if has_root else None, root)
        assert got is None or (got == expected).all()


def by_mpi(name, gives, gets, gets_at_root, root):
    """MPI's own collective."""
    return {
        "allreduce": lambda: WORLD.Allreduce(gives, gets),
        "broadcast": lambda: WORLD.Bcast(gets, root),
        "reduce": lambda: WORLD.Reduce(gives, gets_at_root, MPI.SUM, root),
        "reduce_scatter": lambda: WORLD.Reduce_scatter_block(gives, gets),
        "allgather": lambda: WORLD.Allgather(gives, gets),
        "gather": lambda: WORLD.Gather(gives, gets_at_root, root),
        "scatter": lambda: WORLD.Scatter(gives, gets, root),
        "alltoall": lambda: WORLD.Alltoall(gives, gets),
        "alltoallv": lambda: WORLD.Alltoall(gives, gets),
    }[name]()


def test_a_longer_buffer_gets_its_beginning():
    got = np.full(5, -1)
    execute_apart(find("allreduce", "ring"), WORLD, np.array([WORLD.rank]), got)
    assert got.tolist() == [sum(range(WORLD.size)), -1, -1, -1, -1]


@pytest.mark.parametrize("one", [one for one in ALGORITHMS if one.values[0].collective.joins])
def test_nobody_leaves_a_barrier_before_the_last_has_come(one):
    plan = Made(one, WORLD, 0, "int32").plan
    for late in range(WORLD.size):
        if WORLD.rank == late:
            time.sleep(0.02)
        came = time.monotonic()
        plan.run()
        assert time.monotonic() >= max(WORLD.allgather(came))
    plan.free()


@pytest.mark.parametrize("spec", ["chain:segments=7", "chain:segments=1000"])
def test_segments(spec):
    check(find("broadcast", spec), WORLD, 97, "int32", root=WORLD.size - 1)


@pytest.mark.parametrize("inter", ["ring", "rabenseifner", "recursive_doubling", "linear"])
def test_nodes_of_every_size(inter):
    for per_node in (d for d in range(1, WORLD.size + 1) if WORLD.size % d == 0):
        check(find("allreduce", f"node_split:ranks_per_node={per_node},inter={inter}"), WORLD, 103, "int64")


@algorithm("allreduce", chunks=lambda n_ranks: 2 * n_ranks)
def two_rings(rank, n_ranks):
    """On two lanes, in opposite directions; and a third that has nothing to do, and a fork in a fork."""

    def ring(direction, first):
        to, source = (rank + direction) % n_ranks, (rank - direction) % n_ranks
        for step in range(2 * (n_ranks - 1)):
            send = (rank - direction * step) % n_ranks
            receive = (rank - direction * (step + 1)) % n_ranks
            reduce = step < n_ranks - 1
            yield [exchange(to, source, send=chunk(first + send), receive=chunk(first + receive), reduce=reduce)]

    def inner():
        yield lanes(ring(-1, n_ranks), iter([]))

    yield lanes(ring(1, 0), inner(), iter([]), stagger=1)


def test_lanes():
    for count in COUNTS:
        everyone = np.array([vector(rank, count, "int64") for rank in range(WORLD.size)])
        buffer = everyone[WORLD.rank].copy()
        execute(two_rings, WORLD, buffer)
        np.testing.assert_array_equal(buffer, everyone.sum(axis=0))


def test_other_communicators():
    """Reversed and halved: ranks of the communicator count, not those of the world."""
    for comm in [WORLD.Split(WORLD.rank % 2, -WORLD.rank), *([] if CROWDED else [WORLD.Split(0, -WORLD.rank)])]:
        for one in [find(*case) for case in PLAIN if takes(find(*case), comm.size)]:
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
    yield [
        direct(
            rank, n_ranks, send=lambda me, peer: chunk(peer % 5), receive=lambda me, peer: chunk(me % 5), reduce=True
        ),
        exchange(rank, rank, send=listed([4, 0, 2]), receive=listed([0, 2, 4]), reduce=True, received_first=True),
    ]
    yield [exchange(right, left, send=chunks(1, 4, block=1, stride=2), receive=chunks(2, 4, block=1, stride=2))]
    first = where(rank == 0, 0, -1)
    yield [exchange(first, first, send=chunks(0, 5), receive=chunks(0, 5), reduce=True)]


@pytest.mark.parametrize("count", [0, 5, 50, 1000])  # its selections pair up where all chunks have one size
def test_real_ranks_equal_the_executor_in_process(count):
    everyone = np.array([vector(rank, count, "int64") for rank in range(WORLD.size)])
    expected = in_process(awkward, everyone)
    buffer = everyone[WORLD.rank].copy()
    execute(awkward, WORLD, buffer)
    np.testing.assert_array_equal(buffer, expected[WORLD.rank])


def in_process(one, everyone, op=np.add):
    """What the executor makes of all ranks' vectors. One rank has it run while the others sleep: cores are few."""
    expected = execute_in_process(one, everyone, op=op) if WORLD.rank == 0 else None
    all_came = WORLD.Ibarrier()
    while not all_came.Test():
        time.sleep(0.001)
    return WORLD.bcast(expected)


def equals_executor(one, each, op=np.add, late_s=0.0):
    """Real ranks end as the executor does, twice; also when the last rank comes late."""
    everyone = np.random.default_rng(each).integers(0, 2**31, (WORLD.size, each))
    expected = in_process(one, everyone, op)
    buffer = everyone[WORLD.rank].copy()
    plan = Plan(one, PLACE, buffer, op=Operation(op))
    for _ in range(2):
        buffer[:] = everyone[WORLD.rank]
        WORLD.Barrier()
        time.sleep(late_s * (WORLD.rank == WORLD.size - 1))
        plan.run()
        np.testing.assert_array_equal(buffer, expected[WORLD.rank])
    plan.free()


@pytest.mark.parametrize("seed", range(20 if CROWDED else 60))
def test_random_steps_equal_the_executor_in_process(seed):
    """In the order of ranks too: the operation does not commute."""
    equals_executor(random_algorithm(seed), N_CHUNKS * (seed % 3), affine)


@algorithm("allreduce", chunks=3)
def handed_on(rank, n_ranks):
    """Every rank's own text leaves out the exchanges that it takes no part in: they have other numbers everywhere."""
    pairs = [(k, k + 1) for k in range(n_ranks - 1)] + [(k + 1, k) for k in range(n_ranks - 1)]
    yield [
        exchange(where(rank == a, b, -1), where(rank == b, a, -1), send=chunk(0), receive=chunk(0), reduce=True)
        for a, b in pairs
        if np.any((rank == a) | (rank == b))
    ]


def test_exchanges_that_a_rank_leaves_out():
    for rank in range(WORLD.size):
        same_program(handed_on, WORLD.size, rank)
    equals_executor(handed_on, 9)


@algorithm("allreduce", chunks=4)
def beside_the_fabric(rank, n_ranks):
    """What the switches write is sent at the same time, by messages, by themselves and to oneself: as it was before."""
    left, right = (rank - 1) % n_ranks, (rank + 1) % n_ranks
    yield [
        fabric_multicast(rank, n_ranks, 0, send=chunk(1), receive=chunk(0)),
        exchange(right, left, send=chunk(0), receive=chunk(2)),
        exchange(rank, rank, send=chunk(0), receive=chunk(3)),
    ]
    yield [
        fabric_multicast(rank, n_ranks, n_ranks - 1, send=chunk(1), receive=chunk(0)),
        fabric_reduce(rank, n_ranks, 0, send=chunk(0), receive=chunk(3)),
        exchange(left, right, send=chunk(3), receive=chunk(2)),
    ]


@pytest.mark.parametrize("each", [4, 400000])
def test_fabric_operations_read_what_was_there_before(each):
    equals_executor(beside_the_fabric, each, late_s=0.05)


def test_many_lanes_one_after_the_other_and_at_the_same_time():
    def ring(rank, n_ranks, c):
        for _ in range(2):
            yield [exchange((rank + 1) % n_ranks, (rank - 1) % n_ranks, send=chunk(c), receive=chunk(c), reduce=True)]

    many = 60 if CROWDED else 300

    @algorithm("allreduce", chunks=many)
    def crowd(rank, n_ranks):
        def deep(c):
            for _ in range(many // 3):
                yield lanes(ring(rank, n_ranks, c), ring(rank, n_ranks, c + 1))

        yield lanes(deep(0), deep(2))
        yield lanes(*(ring(rank, n_ranks, c) for c in range(many)))

    @algorithm("allreduce", chunks=600)
    def too_many(rank, n_ranks):
        yield lanes(*(ring(rank, n_ranks, c) for c in range(600)))

    equals_executor(crowd, 2 * many)
    with pytest.raises(ScheduleError, match="too_many runs more than 511 lanes"):
        Plan(too_many, WORLD, np.zeros(600))


def test_a_plan_of_too_many_messages_is_refused(monkeypatch):
    """Before their requests have used up the memory."""
    monkeypatch.setattr(drafts, "MOST_MESSAGES", 10)
    tree = find("allreduce", "double_binary_tree:segments=1000000")
    if WORLD.size > 1:
        with pytest.raises(RefusedError, match="segments=1000000 sends and receives more than 10 messages on rank"):
            Plan(tree, WORLD, np.zeros(1))


@algorithm("alltoallv", defaults=lambda n_ranks, n_bytes, groups: {"window": n_bytes})
def by_size(rank, n_ranks, *, window):
    place = {"send": lambda me, peer: chunk(peer), "receive": lambda me, peer: chunk(peer, buffer=OUTPUT)}
    yield [direct(rank, n_ranks, **place), exchange(rank, rank, send=chunk(rank), receive=chunk(rank, buffer=OUTPUT))]


def test_all_ranks_of_an_alltoallv_choose_alike():
    """Their vectors have sizes of their own; parameters follow the largest."""
    counts = np.arange(WORLD.size**2).reshape(WORLD.size, -1)
    counts[0] = 0
    there, here = counts[WORLD.rank], counts[:, WORLD.rank]
    output = np.zeros(here.sum(), np.int32)
    plan = Plan(by_size, WORLD, np.full(there.sum(), WORLD.rank, np.int32), output, counts=counts)
    assert plan.algorithm.params == {"window": 4 * int(counts.sum(axis=1).max())}
    plan.run()
    assert output.tolist() == np.repeat(np.arange(WORLD.size), here).tolist()
    plan.free()


def test_what_was_made_is_freed_when_a_plan_fails(monkeypatch):
    """The last request of a plan cannot be made."""
    made, freed = [], []

    class Counted:
        def __init__(self, request):
            made.append(request)
            self.Free = lambda: (freed.append(request), request.Free())

    class Failing:
        def __init__(self, left):
            self.left = left

        def __getattr__(self, name):
            found = getattr(WORLD, name)
            return found if not name.endswith("_init") else lambda *args: self.one(found, args)

        def one(self, init, args):
            self.left -= 1
            if not self.left:
                raise MemoryError("no more requests")
            return Counted(init(*args))

    if WORLD.size > 1:
        with pytest.raises(MemoryError):
            Plan(find("allreduce", "ring"), Failing(4 * (WORLD.size - 1)), np.zeros(WORLD.size))
        assert len(made) == 4 * (WORLD.size - 1) - 1
    assert freed == made


def test_refuses_buffers_that_it_cannot_use():
    for bad in (np.zeros((2, 2)), np.zeros(10)[::2], np.array([None, 1])):
        with pytest.raises(InputError, match="one-dimensional and contiguous"):
            Plan(find("allreduce", "ring"), WORLD, bad)
    vector = np.zeros(2 * WORLD.size)
    with pytest.raises(InputError, match="output of its own"):
        Plan(find("alltoall", "pairwise"), WORLD, vector, vector)
    with pytest.raises(InputError, match="needs counts"):
        Plan(find("alltoallv", "pairwise"), WORLD, vector, np.zeros(2 * WORLD.size))
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
